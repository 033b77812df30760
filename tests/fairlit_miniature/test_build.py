from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from fairlit.errors import ConfigurationError
from fairlit_miniature.build import PARTS, Builder, install
from fairlit_miniature.loop import Schedule
from fairlit_miniature.recipe import FULL, QUICK, Recipe

SHORT = Schedule(steps=2, lr=1e-3, warmup=1, save_every=1)
RECIPE = Recipe(
    drawings=64,
    passed=64,
    faces=24,
    held_out=8,
    epochs=1,
    vae=SHORT,
    text=SHORT,
    diffusion=SHORT,
    clip=SHORT,
    dino=SHORT,
    checked=1,
)


def builder(folder: Path, recipe: Recipe = RECIPE) -> Builder:
    return Builder(recipe, folder, "cpu", progress=Progress(disable=True))


def test_recipes_have_their_own_fingerprints() -> None:
    assert len({recipe.fingerprint() for recipe in (FULL, QUICK, RECIPE, dataclasses.replace(FULL, seed=1))}) == 4


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
    for name in PARTS:
        if name.endswith(".safetensors"):
            (work / name).write_text("bank")
        else:
            (work / name).mkdir(parents=True)
            (work / name / "new").write_text(name)
    (out / "clip").mkdir(parents=True)
    (out / "clip" / "old").write_text("stale")
    install(work, out)
    assert sorted(path.name for path in out.iterdir()) == sorted(PARTS)
    assert not (out / "clip" / "old").exists()


@pytest.mark.slow
def test_whole_build_is_deterministic(tmp_path: Path) -> None:
    """All stages but the checks, twice."""
    first = builder(tmp_path / "a")
    first.build()
    install(tmp_path / "a", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(PARTS)
    second = builder(tmp_path / "b")
    second.build()
    for name in (
        "pipeline/unet/diffusion_pytorch_model.safetensors",
        "clip/model.safetensors",
        "dino/model.safetensors",
    ):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert torch.load(tmp_path / "a" / "vae.pt", weights_only=True)["step"] == 2
