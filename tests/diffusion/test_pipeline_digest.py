from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fairlit.diffusion.pipeline_digest import pipeline_digest

UNET = "diffusion_pytorch_model"


@pytest.fixture
def copy(tiny_pipeline_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline_folder, tmp_path / "copy"))


def test_the_place_does_not_count(copy: Path, tiny_pipeline_folder: Path) -> None:
    assert pipeline_digest(copy) == pipeline_digest(tiny_pipeline_folder)
    assert pipeline_digest("organisation/model") is None


def test_what_is_not_opened_does_not_count(copy: Path) -> None:
    before = pipeline_digest(copy)
    (copy / "README.md").write_text("card")
    (copy / "unet" / f"{UNET}.fp16.safetensors").write_bytes(b"not loaded, as there are weights without a variant")
    (copy / "safety_checker").mkdir()
    (copy / "safety_checker" / "model.safetensors").touch()
    assert pipeline_digest(copy) == before


@pytest.mark.parametrize(
    "file", ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "vae/config.json"]
)
def test_descriptions_count(file: str, copy: Path) -> None:
    before = pipeline_digest(copy)
    with (copy / file).open("a") as stream:
        stream.write("\n")
    assert pipeline_digest(copy) != before


@pytest.mark.parametrize(
    "names",
    [
        [f"{UNET}.safetensors"],
        [f"{UNET}.fp16.safetensors"],
        [f"{UNET}-00001-of-00002.safetensors", f"{UNET}.safetensors.index.json"],
        [f"{UNET}.fp16-00001-of-00002.safetensors", f"{UNET}.safetensors.index.fp16.json"],
        [f"{UNET}-00001-of-00002.fp16.safetensors", f"{UNET}.safetensors.index.fp16.json"],
    ],
)
def test_weights_count_whatever_they_are_called(names: list[str], copy: Path) -> None:
    (copy / "unet" / f"{UNET}.safetensors").rename(copy / "unet" / names[0])
    for name in names[1:]:
        (copy / "unet" / name).write_text("{}")
    before = pipeline_digest(copy)
    with (copy / "unet" / names[0]).open("ab") as stream:
        stream.write(b"more")
    assert pipeline_digest(copy) != before
