"""UCE on a model: what it edits, that it goes towards the target, and that it takes everything back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from closeness import close
from stand_ins import MiddleFaces
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces import Faces
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import NoMitigation, SamplingPlan, UnifiedConceptEditing
from fairlit.mitigation.model_editing.projections import ProjectionEditor, cross_attention_projections, embed_tokens
from fairlit.mitigation.model_editing.share_measurement import ShareMeasurement

Run = Callable[..., Tensor]
State = Callable[[], dict[str, Tensor]]


class EveryMiddle(MiddleFaces):
    """A face in the middle of every image."""

    def forward(self, images: Tensor) -> Faces:
        reddened = images.clone()
        reddened[:, 0, :, : images.shape[-1] // 2] = 2.0
        return super().forward(reddened)


@pytest.fixture
def target() -> TargetDistribution:
    return TargetDistribution({"gender": {"male": 0.5, "female": 0.5}})  # not in the classifier's order


@pytest.fixture
def method(tiny_models: dict[str, str]) -> UnifiedConceptEditing:
    return UnifiedConceptEditing(
        tiny_models["classifier"],
        ["doctor", "nurse"],
        words={"gender": {"female": "woman", "male": "man"}},
        detector=f"{__name__}.EveryMiddle",
        preserved=["a photo of a chef"],
        prompt_template="a photo of the face of a {concept}",
        tokens="concept",
        iterations=2,
        images=4,
    )


def test_edits_keys_and_values_of_the_concepts_alone(
    method: UnifiedConceptEditing, backbone: Backbone, target: TargetDistribution
) -> None:
    method.ridge = 1e-8
    projections = cross_attention_projections(backbone.unet)
    names = {name for name, module in backbone.unet.named_modules() if any(module is one for one in projections)}
    wanted = ("attn2.to_k", "attn2.to_v")  # what diffusers calls cross-attention
    assert names == {name for name, _ in backbone.unet.named_modules() if name.endswith(wanted)}
    before = [projection.weight.double() for projection in projections]
    editor = method.editor(backbone, target)
    editor.edit(torch.tensor([[0.5, -0.25], [0.0, 0.0]], dtype=torch.float64))
    doctor, nurse, man, woman = (embed_tokens(backbone, text)[1] for text in ("doctor", "nurse", "man", "woman"))
    kept = embed_tokens(backbone, "a photo of a chef")
    for projection, old in zip(projections, before, strict=True):
        weight = projection.weight.double()
        assert close(weight @ doctor, old @ (doctor + 0.5 * man - 0.25 * woman), 1e-3)
        assert close(weight @ nurse, old @ nurse, 1e-3)
        assert close(kept @ weight.T, kept @ old.T, 1e-3)


def test_tokens_of_a_prompt_from_the_concept_on(method: UnifiedConceptEditing, backbone: Backbone) -> None:
    method.tokens = "prompt"
    method.prompt_template = "a photo of the {concept} face"
    rows = method._concept_rows(backbone, "young doctor")
    assert torch.equal(rows, embed_tokens(backbone, "a photo of the young doctor face")[6:])
    assert len(rows) == 3  # doctor, face, end


def test_moves_towards_the_target_and_keeps_the_best(
    method: UnifiedConceptEditing,
    backbone: Backbone,
    target: TargetDistribution,
    state: State,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in for the images: the share of men grows with the strength of their direction."""
    method.iterations, method.step_size, method.tolerance = 20, 0.5, 0.01
    strengths: list[Tensor] = []
    edit = ProjectionEditor.edit
    monkeypatch.setattr(ProjectionEditor, "edit", lambda self, s: (strengths.append(s), edit(self, s))[1])

    def shares(*_: object) -> Tensor:
        men = torch.sigmoid(torch.tensor([2.0, -1.0]) + strengths[-1][:, 0] - strengths[-1][:, 1])
        return torch.stack([men, 1 - men], dim=1)

    monkeypatch.setattr(ShareMeasurement, "__call__", shares)
    before = state()
    with method.prepare(backbone, SamplingPlan(steps=2), target):
        final = strengths[-1]
        inside = state()
    assert torch.allclose(final[:, 0] - final[:, 1], torch.tensor([-2.0, 1.0]).double(), atol=0.05)
    changed = {name for name in before if not torch.equal(before[name], inside[name])}
    assert len(changed) == len(cross_attention_projections(backbone.unet))


def test_measures_edits_samples_and_restores(
    method: UnifiedConceptEditing, run: Run, backbone: Backbone, target: TargetDistribution, state: State
) -> None:
    before = state()
    plain = run(NoMitigation())
    latents = run(method)
    assert close(run(method, chunk=1), latents)
    method.tolerance = 1.0  # everything is near enough
    assert close(run(method), plain)
    assert all(torch.equal(before[name], tensor) for name, tensor in state().items())
    with pytest.raises(RuntimeError, match="on purpose"), method.prepare(backbone, SamplingPlan(2), target):
        raise RuntimeError("on purpose")
    assert all(torch.equal(before[name], tensor) for name, tensor in state().items())


def test_measures_shares_in_the_order_of_the_target(
    method: UnifiedConceptEditing, backbone: Backbone, target: TargetDistribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SamplingPlan(steps=1, batch_size=3)
    sampler = lambda chunk, noise: noise  # noqa: E731
    measure = method.measurement(backbone, plan, target)
    shares = measure(sampler)
    swapped = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
    assert shares.shape == (2, 2)
    assert torch.allclose(shares.sum(1), torch.ones(2).double())
    assert torch.equal(shares.flip(1), method.measurement(backbone, plan, swapped)(sampler))
    monkeypatch.setattr(type(measure.detector), "forward", lambda self, images: Faces.empty(len(images)))
    assert measure(sampler).isnan().all()


def test_refuses_nonsense(tmp_path: Path, tiny_models: dict[str, str], run: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)7 problems.*concepts: got.*tokens: got 'all'.*ridge: got 0"):
        UnifiedConceptEditing(
            "folder",
            [],
            prompt_template="a",
            class_template="a",
            tokens="all",  # type: ignore[arg-type]
            iterations=0,
            ridge=0.0,
            seed=-1,
        )
    with pytest.raises(ConfigurationError, match="classifier: "):
        run(UnifiedConceptEditing(str(tmp_path), ["doctor"]))
    asked = TargetDistribution({"gender": {"female": 0.5, "other": 0.5}})
    problems = Problems("UCE")
    UnifiedConceptEditing(tiny_models["classifier"], ["doctor"]).check(asked, problems)
    assert "'other' of 'gender' is unknown" in problems.messages[0]
