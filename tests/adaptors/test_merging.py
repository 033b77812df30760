"""Merged pipelines are refused where the weights are not the sums, or were not saved as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, SoftTokens, merging
from fairlit.cli import main


@pytest.fixture
def saved(
    tiny_pipeline: StableDiffusionPipeline, tiny_pipeline_folder: Path, train: Callable[[Adaptor], None], tmp_path: Path
) -> Path:
    for adaptor in (SoftTokens(count=2), Lora(rank=2, alpha=3, unet=True)):
        adaptor.attach(tiny_pipeline)
        train(adaptor)
        adaptor.save(tmp_path / "saved", tiny_pipeline, AdaptorMetadata(str(tiny_pipeline_folder)))
    return tmp_path / "saved"


def refused(source: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(source), "--merge", "--out", str(out)])
    assert stopped.value.code == 2
    assert sorted(path.name for path in out.parent.iterdir()) == ["saved"]  # no half, no hidden folder
    return capsys.readouterr().err


def test_sums_and_saved_files_are_checked(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", str(saved), "--merge", "--out", str(tmp_path / "out")])
    assert "read back, every layer is the sum" in capsys.readouterr().out


def test_weights_that_are_not_the_sum_are_refused(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fuse = StableDiffusionPipeline.fuse_lora

    def fuse_too_little(self: StableDiffusionPipeline, **settings: Any) -> None:
        fuse(self, lora_scale=0.999, **settings)

    monkeypatch.setattr(StableDiffusionPipeline, "fuse_lora", fuse_too_little)
    message = refused(saved, tmp_path / "out", capsys)
    assert f"{tmp_path / 'out'}: layer 'text_encoder." in message
    assert "its weights are not the sum" in message


@pytest.mark.parametrize("part", ["text_encoder", "unet"])
def test_files_that_are_not_the_model_are_refused(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    save = merging.save_pipeline

    def save_with_a_flipped_number(pipeline: StableDiffusionPipeline, folder: Path) -> None:
        save(pipeline, folder)
        (file,) = (folder / part).glob("*.safetensors")
        tensors = load_file(file)
        name = sorted(tensors)[-1]
        save_file({**tensors, name: torch.nextafter(tensors[name], torch.tensor(9.0))}, file, {"format": "pt"})

    monkeypatch.setattr(merging, "save_pipeline", save_with_a_flipped_number)
    message = refused(saved, tmp_path / "out", capsys)
    assert f"{tmp_path / 'out' / part}: read back, tensor" in message
    assert f"{tmp_path / 'out'} is as it was before" in message
