"""Writes pipelines such that every version of the libraries opens them, transformers 4 included."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from diffusers import DiffusionPipeline
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTokenizer

from fairlit.io.atomic import atomic_path

_LEVEL = "text_model."


def save_pipeline(pipeline: DiffusionPipeline, folder: str | Path) -> None:
    """Write a whole pipeline.

    Args:
        pipeline: the pipeline, without adaptors.
        folder: folder to write to.
    """
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name, part in pipeline.components.items():
        if isinstance(part, CLIPTextModel):
            _restore_level(Path(folder) / name)
        elif isinstance(part, CLIPTokenizer):
            _write_vocabulary(part, Path(folder) / name)


def save_text_encoder(model: CLIPTextModel, folder: str | Path) -> None:
    """Write a text encoder."""
    model.save_pretrained(folder)
    _restore_level(Path(folder))


def save_tokenizer(tokenizer: CLIPTokenizer, folder: str | Path) -> None:
    """Write a tokenizer."""
    tokenizer.save_pretrained(folder)
    _write_vocabulary(tokenizer, Path(folder))


def _restore_level(folder: Path) -> None:
    """Give the tensors of a text encoder the names that transformers 4 looks for; transformers 5 reads both.

    transformers 5.0 dropped a level of CLIPTextModel. It writes it where the weights came out of a file that has it.
    """
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata()
        tensors = safetensors.torch.load_file(file)
        if all(name.startswith(_LEVEL) for name in tensors):
            continue
        renamed = {_LEVEL + name.removeprefix(_LEVEL): tensor for name, tensor in tensors.items()}
        with atomic_path(file) as path:
            safetensors.torch.save_file(renamed, path, header)


def _write_vocabulary(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write ``vocab.json`` and ``merges.txt``, without which transformers 4 has no tokenizer; 5 writes neither."""
    tokenizer.backend_tokenizer.model.save(str(folder))
