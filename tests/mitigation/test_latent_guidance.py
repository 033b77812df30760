"""Latent guidance on a model: its objective, its steps, and images without a face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from closeness import close
from stand_ins import MiddleFaces
from torch import Tensor

from fairlit.diffusion import Backbone, rollout
from fairlit.errors import ConfigurationError, NotFiniteError
from fairlit.faces import Faces
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.functional.statistics.fairness import kl_divergence
from fairlit.mitigation import Chunk, LatentGuidance, NoMitigation, SamplingPlan, latent_guidance
from fairlit.mitigation.latent_guidance import SetDivergence

Run = Callable[..., Tensor]


class FacesButInTheFirst(MiddleFaces):
    """A face in the middle of every image of a batch of four but the first."""

    def forward(self, images: Tensor) -> Faces:
        reddened = images.clone()
        reddened[:, 0, :, : images.shape[-1] // 2] = 2.0
        faces = super().forward(reddened)
        return faces.select(faces.image_index > 0) if len(images) == 4 else faces


@pytest.fixture
def target() -> TargetDistribution:
    return TargetDistribution({"gender": {"male": 0.9, "female": 0.1}})


@pytest.fixture
def method(tiny_models: dict[str, str]) -> Callable[..., LatentGuidance]:
    detector = f"{__name__}.FacesButInTheFirst"
    settings: dict[str, Any] = {"detector": detector, "iterations": 3, "step_size": 0.03, "tolerance": 0.0}
    return lambda **other: LatentGuidance(tiny_models["classifier"], **{**settings, **other})


@pytest.fixture
def divergence(
    method: Callable[..., LatentGuidance], backbone: Backbone, target: TargetDistribution
) -> Callable[[int], SetDivergence]:
    detector, classifier = method().judge.load(backbone.device, target)
    return lambda batch_size: SetDivergence(backbone, detector, classifier, target, batch_size)


def test_divergence_and_its_gradient(
    divergence: Callable[[int], SetDivergence], backbone: Backbone, target: TargetDistribution
) -> None:
    latents = keyed_noise([(0, image) for image in range(4)], backbone.latent_shape())
    value, count, slope = divergence(4)(latents)
    seen = divergence(4)
    leaf = latents.clone().requires_grad_()
    images = backbone.decode(leaf)
    rows = seen.classifier.classify(images, seen.detector(images))["gender"].softmax(-1)  # female, male
    assert (count, rows.shape) == (3, (3, 2))
    assert value == pytest.approx(kl_divergence(rows.mean(0).flip(0).tolist(), [0.9, 0.1]), abs=1e-5)
    mean = rows.mean(0)
    expected = torch.autograd.grad((mean * (mean / torch.tensor([0.1, 0.9])).log()).sum(), leaf)[0]
    assert slope.abs().max() > 0
    assert close(slope, expected, 1e-3)
    assert not slope[0].any()  # no face, no gradient
    in_parts, whole = divergence(2)(latents), divergence(8)(torch.cat([latents, latents]))
    assert in_parts[1] == 4  # the stand-in finds all faces in smaller batches
    assert whole[1] == 8
    assert in_parts[0] == pytest.approx(whole[0], rel=1e-4)


@pytest.mark.parametrize("gradient", ["uniform", "natural", "full"])
def test_comes_closer_and_keeps_norms(
    gradient: str,
    method: Callable[..., LatentGuidance],
    divergence: Callable[[int], SetDivergence],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noises: list[Tensor] = []
    monkeypatch.setattr(
        latent_guidance, "rollout", lambda chain, noise, *rest: (noises.append(noise), rollout(chain, noise, *rest))[1]
    )
    plain = run(NoMitigation(), batch_size=4)
    latents = run(method(gradient=gradient), batch_size=4)
    assert divergence(4)(latents)[0] < divergence(4)(plain)[0]
    assert close(latents[:1], plain[:1])  # without a face: left alone
    assert torch.equal(noises[-1][0], noises[0][0])
    assert len(noises) == 4
    assert torch.allclose(noises[-1].flatten(1).norm(dim=1), noises[0].flatten(1).norm(dim=1), rtol=1e-5)
    steps = (noises[1] - noises[0]).square().mean(dim=(1, 2, 3)).sqrt()
    assert float(steps.max()) == pytest.approx(0.03, rel=0.05)  # but for the way back to the shell


def test_leash_and_tolerance(method: Callable[..., LatentGuidance], run: Run) -> None:
    plain = run(NoMitigation(), batch_size=4)
    assert close(run(method(leash=1e6), batch_size=4), plain)  # no step pays
    assert close(run(method(tolerance=100.0), batch_size=4), plain)


def test_needs_the_whole_set_and_refuses_nonsense(
    method: Callable[..., LatentGuidance], backbone: Backbone, target: TargetDistribution
) -> None:
    assert LatentGuidance.needs_full_batch
    noise = keyed_noise([(0, 0)], backbone.latent_shape())
    with (
        method().prepare(backbone, SamplingPlan(2), target) as sample,
        pytest.raises(ValueError, match="give all 2 in one chunk"),
    ):
        sample(Chunk("a doctor", [0], 2), noise)
    with pytest.raises(ConfigurationError, match=r"(?s)5 problems.*gradient: got 'x'.*iterations.*step_size.*leash"):
        LatentGuidance("c", gradient="x", iterations=0, step_size=0.0, leash=-1.0, tolerance=-1.0)  # type: ignore[arg-type]


def test_answers_that_are_not_finite_guide_nothing(
    divergence: Callable[[int], SetDivergence], backbone: Backbone
) -> None:
    guide = divergence(4)
    hook = guide.classifier.head.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    try:
        with pytest.raises(NotFiniteError, match="classifier: probabilities: got NaN or infinity for 3 of 3"):
            guide(keyed_noise([(0, image) for image in range(4)], backbone.latent_shape()))
    finally:
        hook.remove()
