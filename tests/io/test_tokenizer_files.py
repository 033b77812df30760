from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from fairlit.diffusion import check_pipeline
from fairlit.diffusion.loading import load_pipeline
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.io.tokenizer_files import has_words, require_words
from fairlit.perception import ClipEncoder


@pytest.fixture
def pipeline(tiny_pipeline_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline_folder, tmp_path / "pipeline"))


@pytest.fixture
def clip(clip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "clip"))


def remove_words(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)


def test_a_tokenizer_out_of_nothing_has_no_words(pipeline: Path) -> None:
    assert has_words(CLIPTokenizer.from_pretrained(pipeline / "tokenizer"))
    remove_words(pipeline / "tokenizer")
    with pytest.raises(ConfigurationError, match="got a tokenizer without words; expected "):
        require_words(CLIPTokenizer.from_pretrained(pipeline / "tokenizer"), pipeline / "tokenizer")


def test_pipelines_are_refused_before_and_while_they_load(pipeline: Path) -> None:
    remove_words(pipeline / "tokenizer")
    problems = Problems("test")
    check_pipeline(pipeline, problems)
    assert len(problems.messages) == 1
    assert f"{pipeline / 'tokenizer'} holds neither tokenizer.json nor vocab.json" in problems.messages[0]
    with pytest.raises(ConfigurationError, match=str(pipeline)):
        load_pipeline(pipeline, torch.float32)


def test_damaged_words_are_named(pipeline: Path) -> None:
    (pipeline / "tokenizer" / "tokenizer.json").write_text('{"version": ')
    problems = Problems("test")
    check_pipeline(pipeline, problems)
    assert any(f"{pipeline / 'tokenizer' / 'tokenizer.json'} is damaged" in message for message in problems.messages)


@pytest.mark.parametrize("content", [None, '{"version": ', "{}", '{"model": 3}'])
def test_tokenizers_of_encoders(clip: Path, content: str | None) -> None:
    remove_words(clip)
    if content is not None:
        (clip / "tokenizer.json").write_text(content)
    with pytest.raises(
        (CheckpointError, ConfigurationError), match=f"{clip}.*(without words|no tokenizer that can be)"
    ):
        ClipEncoder.load(str(clip))
