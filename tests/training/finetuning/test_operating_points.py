from __future__ import annotations

from pathlib import Path

import pytest
import torch
from finetuning import finetuner, prompts, trainer

from fairlit.adaptors import SoftTokens
from fairlit.errors import ConfigurationError
from fairlit.training import Sampling
from fairlit.training.finetuning.operating_points import OperatingPoint, operating_points

SAMPLING = Sampling(
    min_steps=2,
    max_steps=2,
    evaluation_steps=2,
    guidance_scale=1.5,
    evaluation_guidance_scales=(3.0, 1.5),
    evaluation_strengths=(0.0, 1.0),
    evaluation_step_counts=(2, 3),
)
USUAL, STRONG, OFF = OperatingPoint(1.5), OperatingPoint(3.0), OperatingPoint(1.5, 0.0)
LONGER = OperatingPoint(1.5, steps=3)


def test_the_usual_point_comes_first_and_none_twice() -> None:
    assert operating_points(SAMPLING) == [USUAL, STRONG, OFF, LONGER]
    assert operating_points(Sampling()) == [OperatingPoint(7.5)]
    assert [point.name for point in operating_points(SAMPLING)] == [
        "guidance_1.5",
        "guidance_3",
        "guidance_1.5_strength_0",
        "guidance_1.5_steps_3",
    ]


def test_a_test_step_samples_every_point() -> None:
    """At strength 0 the finetuned model is the original, at another guidance scale both are others."""
    module = finetuner(sampling=SAMPLING, ema_decay=None)
    module.configure_model()
    for parameter in module.adaptor.parameters().values():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    data = prompts(test_images=2)
    data.setup("test")
    with torch.no_grad():
        outputs = module.test_step(next(iter(data.test_dataloader())), 0)
    points = {point.name: point for point in (USUAL, STRONG, OFF, LONGER)}
    assert list(outputs) == list(points)
    images = {(points[point], name): made.images for point, both in outputs.items() for name, made in both.items()}
    assert torch.equal(images[OFF, "original"], images[USUAL, "original"])
    assert (images[OFF, "finetuned"] - images[USUAL, "original"]).abs().max() < 1e-5
    for name in ("original", "finetuned"):
        assert (images[USUAL, name] - images[STRONG, name]).abs().max() > 0.01
        assert (images[USUAL, name] - images[LONGER, name]).abs().max() > 0.01
    judged = outputs[USUAL.name]["finetuned"]
    assert judged.trained_against is not None
    expected = module.frozen.classifier.classify(judged.images, judged.observation.faces)
    torch.testing.assert_close(judged.trained_against["gender"], expected["gender"].softmax(dim=1))
    assert (images[USUAL, "finetuned"] - images[USUAL, "original"]).abs().max() > 0.01


def test_strengths_of_soft_tokens_are_refused(tmp_path: Path) -> None:
    module = finetuner(SoftTokens(count=2), sampling=SAMPLING)
    with pytest.raises(ConfigurationError, match=r"evaluation_strengths: got \[0\.0, 1\.0\] with SoftTokens"):
        trainer(tmp_path).test(module, datamodule=prompts())
