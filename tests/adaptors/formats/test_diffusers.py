"""LoRA files of diffusers: there and back, alpha by layer, and what is no such file."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairlit.adaptors.files import LORA_CONFIG_KEY
from fairlit.adaptors.formats import diffusers
from fairlit.adaptors.formats.low_rank import LowRank, LowRankUpdates, Origin
from fairlit.adaptors.formats.reading import read_lora

Q = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
FC1 = "text_encoder.text_model.encoder.layers.1.mlp.fc1"
TO_K = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def update(rank: int, alpha: float, width: int = 32, out: int = 32) -> LowRank:
    return LowRank(torch.randn(rank, width), torch.randn(out, rank), alpha, Origin("file", "down", "up"))


def same(found: LowRankUpdates, expected: LowRankUpdates) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name].down, expected[name].down)
        and torch.equal(found[name].up, expected[name].up)
        and found[name].alpha == expected[name].alpha
        for name in expected
    )


def test_there_and_back_with_a_rank_and_alpha_for_each_layer() -> None:
    updates = {Q: update(2, 5.0), FC1: update(3, 1.0, out=64), TO_K: update(4, 4.0, out=16)}
    tensors, header = diffusers.write_lora(updates)
    found = read_lora("file", tensors, json.loads(header[LORA_CONFIG_KEY]))
    assert same(found, updates)
    assert found[Q].origin == Origin("file", f"{Q}.lora_A.weight", f"{Q}.lora_B.weight")
    assert torch.allclose(found[Q].delta(), 2.5 * updates[Q].up @ updates[Q].down, atol=1e-5)


def test_stock_diffusers_takes_each_layer_s_alpha(tiny_pipeline: StableDiffusionPipeline) -> None:
    updates = {Q: update(2, 5.0), FC1: update(3, 1.0, out=64), TO_K: update(4, 4.0, out=16)}
    tensors, header = diffusers.write_lora(updates)
    metadata = json.loads(header[LORA_CONFIG_KEY])
    tiny_pipeline.load_lora_into_unet(tensors, None, tiny_pipeline.unet, metadata=metadata, _pipeline=tiny_pipeline)
    tiny_pipeline.load_lora_into_text_encoder(
        tensors, None, tiny_pipeline.text_encoder, metadata=metadata, _pipeline=tiny_pipeline
    )
    for name, expected in updates.items():
        component, layer = name.split(".", 1)
        module = getattr(tiny_pipeline, component).get_submodule(layer.removeprefix("text_model."))
        assert torch.allclose(module.get_delta_weight("default_0"), expected.delta(), atol=1e-5), name
