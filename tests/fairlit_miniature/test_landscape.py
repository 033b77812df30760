"""The landscape model: how it is built, and that the committed one draws groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.errors import ConfigurationError
from fairlit.faces import FaceDetector
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import SamplingPlan
from fairlit_miniature.landscape import LandscapeRecipe, build_landscape, readme
from fairlit_miniature.loop import Schedule

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
RECIPE = LandscapeRecipe(40, Schedule(steps=2, lr=1e-4, warmup=1, save_every=1), checked=1)


def test_a_build_makes_a_pipeline_of_landscapes_and_is_resumed(tmp_path: Path) -> None:
    out, workdir = tmp_path / "out", tmp_path / "work"
    figures = build_landscape(RECIPE, CHECKPOINTS / "miniature", out, workdir=workdir)
    backbone = Backbone.load(out / "pipeline")
    assert backbone.latent_shape() == (4, 16, 24)
    assert json.loads((out / "checks.json").read_text())["pictures"] == 1
    assert "| 3 |" in (out / "README.md").read_text()
    assert set(figures["word_obeyed"]) == {"female", "male", "light", "tan", "brown", "dark", "young", "old"}
    written = "".join(file.read_text() for file in out.rglob("*.json"))
    assert str(tmp_path) not in written
    assert str(CHECKPOINTS) not in written
    before = (out / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    assert build_landscape(RECIPE, CHECKPOINTS / "miniature", out, workdir=workdir) == figures
    assert (out / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == before
    with pytest.raises(ConfigurationError, match="another recipe"):
        build_landscape(LandscapeRecipe(41, RECIPE.diffusion, 1), CHECKPOINTS / "miniature", out, workdir=workdir)


def test_committed_files_are_small_and_the_readme_is_of_its_checks() -> None:
    folder = CHECKPOINTS / "landscape"
    figures = json.loads((folder / "checks.json").read_text())
    assert (folder / "README.md").read_text() == readme(figures)
    assert min(figures["word_obeyed"].values()) > 0.9
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 15 * 2**20
    for part in ("text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        ours, miniature = (CHECKPOINTS / name / "pipeline" / part for name in ("landscape", "miniature"))
        assert ours.read_bytes() == miniature.read_bytes()


@pytest.mark.parametrize(("people", "prompt"), [(2, "a photo of two lawyers"), (3, "a photo of three singers")])
def test_the_committed_model_draws_as_many_as_asked(people: int, prompt: str) -> None:
    backbone = Backbone.load(CHECKPOINTS / "landscape" / "pipeline")
    noise = keyed_noise([(7, image) for image in range(12)], backbone.latent_shape())
    chain = SamplingPlan(12, 1.1, 12).chain(backbone)
    with torch.no_grad():
        latents = rollout(chain, noise, Conditioning.of_one_prompt(backbone.encode(["", prompt]), 12)).latents
        images = backbone.decode(latents)
    counts = FaceDetector(min_size=20, scale=2.0, faces="all", min_score=0.9)(images).counts
    assert images.shape == (12, 3, 64, 96)
    assert float(counts.clamp(max=people).float().mean()) > 0.8 * people
