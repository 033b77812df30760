"""What is written opens under transformers 4 too: that version's names and files, with the pipeline's own content."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextModel

from fairlit.diffusion.saving import save_pipeline, save_text_encoder, save_tokenizer


def test_a_pipeline_has_the_names_and_the_vocabulary_of_transformers_4(
    tiny_pipeline: StableDiffusionPipeline, tmp_path: Path
) -> None:
    tiny_pipeline.load_textual_inversion({"<new>": torch.ones(2, 32)})
    save_pipeline(tiny_pipeline, tmp_path)
    _check_text_encoder(tiny_pipeline.text_encoder, tmp_path / "text_encoder")
    _check_vocabulary(tiny_pipeline, tmp_path / "tokenizer")
    again = StableDiffusionPipeline.from_pretrained(tmp_path, local_files_only=True)
    text = "<new> <new>_1 a photo of a doctor"
    ids = tiny_pipeline.tokenizer(text, return_tensors="pt").input_ids
    assert torch.equal(again.tokenizer(text, return_tensors="pt").input_ids, ids)
    with torch.no_grad():
        assert torch.equal(again.text_encoder(ids)[0], tiny_pipeline.text_encoder(ids)[0])


def test_single_parts_too(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    save_text_encoder(tiny_pipeline.text_encoder, tmp_path / "text_encoder")
    save_tokenizer(tiny_pipeline.tokenizer, tmp_path / "tokenizer")
    _check_text_encoder(tiny_pipeline.text_encoder, tmp_path / "text_encoder")
    _check_vocabulary(tiny_pipeline, tmp_path / "tokenizer")
    opened = CLIPTextModel.from_pretrained(tmp_path / "text_encoder", local_files_only=True)
    save_text_encoder(opened, tmp_path / "again")  # transformers 5 itself writes the level of a model that came with it
    _check_text_encoder(opened, tmp_path / "again")


def _check_text_encoder(model: CLIPTextModel, folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    expected = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in model.state_dict().items()}
    assert set(tensors) == set(expected)
    assert all(torch.equal(tensors[name], value) for name, value in expected.items())
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}  # transformers 4 refuses a file that does not say so


def _check_vocabulary(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    tokenizer = pipeline.tokenizer
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert vocabulary == {name: index for name, index in tokenizer.get_vocab().items() if "<new>" not in name}
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    expected = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    assert merges[0].startswith("#version")  # transformers 4 passes over the first line, whatever it is
    assert [tuple(line.split(" ")) for line in merges[1:]] == [tuple(merge) for merge in expected]
