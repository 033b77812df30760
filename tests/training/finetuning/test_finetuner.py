"""The training step on the embedded miniature: real pipeline, detector, classifiers and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from finetuning import MINIATURE, finetuner, prompts, trainer
from torch import Tensor

from fairlit.adaptors import Adaptor, Lora, SoftTokens
from fairlit.data import PromptDataModule
from fairlit.errors import ConfigurationError, TrainingError
from fairlit.faces.detection import FaceDetection
from fairlit.training import FairFinetuner, Gradient, Models, Replay

Trained = tuple[FairFinetuner, PromptDataModule, L.Trainer]


def adaptor_values(module: FairFinetuner) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.adaptor.parameters().values()])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two steps of training, for tests to look at and not to change."""
    module, data, run = finetuner(), prompts(), trainer(tmp_path_factory.mktemp("trained"))
    run.fit(module, datamodule=data)
    return module, data, run


@pytest.fixture(scope="module")
def untouched() -> FairFinetuner:
    """What training begins with."""
    module = finetuner()
    module.configure_model()
    return module


def test_two_steps_train_the_adaptor_and_nothing_else(trained: Trained, untouched: FairFinetuner) -> None:
    module, _, run = trained
    trainable = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora" in name for name in trainable)
    assert not torch.equal(adaptor_values(module), adaptor_values(untouched))
    frozen = dict(untouched.backbone.named_parameters())
    for name, parameter in module.backbone.named_parameters():
        if "lora" not in name:
            assert torch.equal(parameter, frozen[name]), name
    logged = run.callback_metrics
    for name in (
        *("loss", "loss/alignment", "loss/image", "loss/face", "bias/gender", "faces/missing"),
        *("faces/confident_target", "norm/gradient", "norm/adaptor", "memory/peak_GiB", "seconds/step"),
        *(f"seconds/{phase}" for phase in ("rollout", "originals", "faces", "losses", "replay")),
    ):
        assert torch.isfinite(logged[name]), name
    parts = logged["loss/alignment"] + logged["loss/image"] + logged["loss/face"]
    torch.testing.assert_close(logged["loss"], parts)
    assert not [name for name, child in module.named_modules() if child.training and name]


@pytest.mark.parametrize(
    "adaptor", [Lora(rank=2, text_encoder=True, unet=True), SoftTokens(count=2)], ids=["both", "soft tokens"]
)
def test_replay_and_detached_graph_train_alike(tmp_path: Path, adaptor: Adaptor) -> None:
    settings = adaptor.describe()
    kind = settings.pop("kind")
    results, counts = [], []
    replays = (0.0, 0.01, "auto")  # nothing kept, a few pairs, all of them
    for mode, keep in (*(("replay", keep) for keep in replays), ("detached", 0.0), ("published", 0.0)):
        own = Lora(**settings) if kind == "lora" else SoftTokens(**settings)
        gradient = Gradient(mode=mode, loss_batch=3)
        module = finetuner(own, gradient=gradient, replay=Replay(micro_batch=7, keep=keep), ema_decay=None)
        gradients: list[Tensor] = []

        class Keep(L.Callback):
            def on_before_optimizer_step(self, run: L.Trainer, module: Any, optimizer: Any) -> None:
                kept = [parameter.grad.flatten() for parameter in module.adaptor.parameters().values()]
                gradients.append(torch.cat(kept))  # noqa: B023 - used up before the next turn

        trainer(tmp_path, max_steps=1, callbacks=[Keep()]).fit(module, datamodule=prompts(images_per_prompt=4))
        results.append(gradients[0])
        counts.append(module.chain_gradient.kept)
    assert counts[0] == counts[3] == counts[4] == 0 < counts[1] < counts[2]
    assert results[0].norm() > 0
    for other in results[1:]:
        assert (results[0] - other).norm() / other.norm() < 1e-3  # float32; exact in test_gradients


def test_no_face_anywhere_is_an_ordinary_event(tmp_path: Path) -> None:
    module = finetuner(detection=FaceDetection(scale=2.0, min_score=1.0))
    run = trainer(tmp_path)
    run.fit(module, datamodule=prompts())
    assert run.callback_metrics["faces/missing"] == 1
    assert run.callback_metrics["loss/alignment"] == 0
    assert adaptor_values(module).isfinite().all()


def test_the_original_variant_is_the_untouched_pipeline(trained: Trained, untouched: FairFinetuner) -> None:
    module, data, _ = trained
    batch = data.batch("test", 0)
    original = module.generate(batch, "original").images
    assert torch.equal(original, untouched.generate(batch, "finetuned").images)  # LoRA starts as the identity
    assert not torch.equal(original, module.generate(batch, "finetuned").images)


@pytest.mark.parametrize("network", ["audit_classifier", "clip", "dino"])
def test_evaluation_ends_where_a_network_gives_nan(trained: Trained, network: str) -> None:
    module, data, _ = trained
    models = module.frozen
    judge = models.audit_classifier.head if network == "audit_classifier" else models.encoders[network]
    hook = judge.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    try:
        with pytest.raises(TrainingError, match=r"evaluation of '.*': .*: got NaN or infinity for"):
            module.generate(data.batch("test", 0), "original")
    finally:
        hook.remove()


def test_several_attributes_at_once(tmp_path: Path) -> None:
    target = {
        "skin_tone": {"light": 0.25, "tan": 0.25, "brown": 0.25, "dark": 0.25},
        "gender": {"male": 0.5, "female": 0.5},  # neither attributes nor classes in the classifier's order
        "age": {"young": 0.75, "old": 0.25},
    }
    run = trainer(tmp_path, max_steps=1)
    run.fit(finetuner(), datamodule=prompts(target))
    for name in ("gender", "skin_tone", "age", "joint"):
        assert 0 <= run.callback_metrics[f"bias/{name}"] <= 1


def test_everything_wrong_is_said_at_once_before_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairFinetuner, "configure_model", lambda self: pytest.fail("weights were loaded"))
    module = finetuner(
        models=Models(backbone=str(tmp_path / "nowhere"), classifier=str(MINIATURE / "classifier_train")),
    )
    data = prompts({"gender": {"woman": 0.5, "male": 0.5}, "hair": {"long": 0.5, "short": 0.5}})
    with pytest.raises(ConfigurationError) as caught:
        trainer(tmp_path).fit(module, datamodule=data)
    for part in ("nowhere", "'woman'", "'hair'"):
        assert part in str(caught.value)
