from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import torch
from rich.progress import Progress

from fairlit.errors import ConfigurationError
from fairlit.faces.classifier import AttributeClassifier
from fairlit_miniature.build import Builder
from fairlit_miniature.loop import Schedule
from fairlit_miniature.models import build_unet
from fairlit_miniature.recipe import FULL, QUICK, Recipe
from fairlit_miniature.stages import CLASSIFIERS, FINISHED_PARTS, PARTS, STAGES, install

SHORT = Schedule(steps=2, lr=1e-3, warmup=1, save_every=1)
RECIPE = Recipe(
    drawings=64,
    passed=64,
    faces=24,
    unnamed=20,
    held_out=8,
    epochs=1,
    vae=SHORT,
    text=SHORT,
    diffusion=SHORT,
    refinement=SHORT,
    clip=SHORT,
    dino=SHORT,
    checked=1,
)


def builder(folder: Path, recipe: Recipe = RECIPE) -> Builder:
    return Builder(recipe, folder, "cpu", progress=Progress(disable=True))


def test_recipes_have_their_own_fingerprints() -> None:
    assert len({recipe.fingerprint() for recipe in (FULL, QUICK, RECIPE)}) == 3


def test_work_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    builder(tmp_path)
    builder(tmp_path)
    with pytest.raises(ConfigurationError, match="workdir"):
        builder(tmp_path, dataclasses.replace(RECIPE, seed=1))


def test_finished_parts_are_skipped_and_unfinished_ones_redone(tmp_path: Path) -> None:
    build, made = builder(tmp_path), []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        (folder / "file").write_text("whole")

    def die(folder: Path) -> None:
        folder.mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build._part("thing", die)
    assert not (tmp_path / "thing").exists()
    build._part("thing", make)
    build._part("thing", make)
    assert len(made) == 1
    assert (tmp_path / "thing" / "file").read_text() == "whole"


def test_install_replaces_older_parts(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    parts = FINISHED_PARTS
    for name in parts:
        if name.endswith(".safetensors"):
            (work / name).write_text("bank")
        else:
            (work / name).mkdir(parents=True)
            (work / name / "new").write_text(name)
    (out / "clip").mkdir(parents=True)
    (out / "clip" / "old").write_text("stale")
    install(work, out, parts)
    assert sorted(path.name for path in out.iterdir()) == sorted(parts)
    assert not (out / "clip" / "old").exists()


def test_stages_make_all_parts_and_wait_for_those_before_them(tmp_path: Path) -> None:
    made = [part for parts in PARTS.values() for part in parts]
    assert set(FINISHED_PARTS) < set(made)
    assert len(set(made)) == len(made)
    build = builder(tmp_path)
    with pytest.raises(ConfigurationError, match=r"stage: got judges; expected vae .* build with --stage autoencoder"):
        build.build("judges")
    assert not (tmp_path / "vae").exists()


def test_a_stage_builds_its_own_parts_alone(tmp_path: Path) -> None:
    builder(tmp_path).build("autoencoder")
    assert (tmp_path / "vae").exists()
    assert not (tmp_path / "text_encoder").exists()
    builder(tmp_path).build("text_encoder")
    assert not (tmp_path / "pipeline").exists()
    names = safetensors.torch.load_file(tmp_path / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names), "as transformers 4 reads them"


def test_the_refinement_goes_on_from_the_first_training(tmp_path: Path) -> None:
    build = builder(tmp_path)
    for stage in STAGES[: STAGES.index("refinement") + 1]:
        build.build(stage)

    def weights(part: str) -> dict[str, torch.Tensor]:
        return safetensors.torch.load_file(tmp_path / part / "unet" / "diffusion_pytorch_model.safetensors")

    first, second = weights("pipeline"), weights("refined")
    assert {tensor.dtype for tensor in second.values()} == {torch.float16}
    moved = [float((second[name].float() - first[name].float()).abs().max()) for name in first]
    assert 0 < max(moved) < 0.02, "two steps of 1e-3 from where the first training ended, no other start"


def test_the_unet_has_no_part_that_stable_diffusion_1_lacks() -> None:
    unet = build_unet()
    assert unet.config.addition_embed_type is None
    assert {name.split(".")[0] for name in unet.state_dict()} == {
        "conv_in", "time_embedding", "down_blocks", "mid_block", "up_blocks", "conv_norm_out", "conv_out"
    }  # fmt: skip


@pytest.mark.slow
def test_whole_build_is_deterministic(tmp_path: Path) -> None:
    """All stages but the checks, twice."""
    first = builder(tmp_path / "a")
    first.build()
    install(tmp_path / "a", tmp_path / "out", FINISHED_PARTS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FINISHED_PARTS)
    for name in CLASSIFIERS:
        validation = AttributeClassifier.load(tmp_path / "out" / name).config.validation
        assert {sum(map(sum, entry.confusion)) for entry in validation.values()} != {0}
        assert set(validation) == {"gender", "skin_tone", "age"}
    second = builder(tmp_path / "b")
    second.build()
    for name in (
        "pipeline/unet/diffusion_pytorch_model.safetensors",
        "clip/model.safetensors",
        "dino/model.safetensors",
    ):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert torch.load(tmp_path / "a" / "vae.pt", weights_only=True)["step"] == 2
