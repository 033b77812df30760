"""The published files of Shen et al.: which tensor is whose, and what is none of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fairlit.adaptors.formats.published import read_published
from fairlit.errors import CheckpointError

TEXT = "text_model.encoder.layers.{0}.{1}.lora_linear_layer.{2}.weight"
UNET = "up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_{0}_lora.{1}.weight"


def test_every_layer_of_the_text_encoder_and_of_the_unet() -> None:
    layers = [*(f"self_attn.{kind}_proj" for kind in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2"]
    tensors = {}
    for layer in layers:
        tensors[TEXT.format(11, layer, "down")] = torch.randn(50, 768)
        tensors[TEXT.format(11, layer, "up")] = torch.randn(768, 50)
    updates, rows = read_published("te.pth", tensors)
    assert rows is None
    assert set(updates) == {f"text_encoder.text_model.encoder.layers.11.{layer}" for layer in layers}
    for layer in layers:
        found = updates[f"text_encoder.text_model.encoder.layers.11.{layer}"]
        down, up = tensors[TEXT.format(11, layer, "down")], tensors[TEXT.format(11, layer, "up")]
        assert (found.rank, found.alpha) == (50, 50)
        assert torch.equal(found.delta(), up @ down)
        assert found.origin == ("te.pth", TEXT.format(11, layer, "down"), TEXT.format(11, layer, "up"))
    tensors = {UNET.format(kind, way): torch.ones(3, 3) for kind in ("q", "k", "v", "out") for way in ("down", "up")}
    updates, _ = read_published("unet.pth", tensors, alpha=6)
    block = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1"
    assert set(updates) == {f"{block}.{kind}" for kind in ("to_q", "to_k", "to_v", "to_out.0")}
    assert torch.equal(updates[f"{block}.to_q"].delta(), 6 / 3 * torch.full((3, 3), 3.0))


def test_soft_tokens_without_their_unused_row() -> None:
    weight = torch.randn(6, 8)
    frozen = {"position_embedding.weight": torch.zeros(77, 8), "position_ids": torch.arange(77)[None]}
    updates, rows = read_published("prefix.pth", {**frozen, "token_embedding.weight": weight})
    assert updates == {}
    assert rows is not None
    assert torch.equal(rows, weight[1:])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds no tensors"),
        ({"conv_in.weight": torch.zeros(2, 3)}, r"'conv_in.weight' of shape \[2, 3\] is in none of the published"),
        ({TEXT.format(0, "mlp.fc3", "up"): torch.zeros(2, 3)}, r"mlp\.fc3\..* of shape \[2, 3\] is in none"),
        ({UNET.format("q", "up"): torch.zeros(2, 3)}, "has no counterpart: the down factor"),
        (
            {UNET.format("q", "up"): torch.zeros(8, 3), UNET.format("q", "down"): torch.zeros(2, 8)},
            r"of shape \[8, 3\] does not fit .* of shape \[2, 8\]",
        ),
        ({"token_embedding.weight": torch.zeros(1, 8)}, r"has shape \[1, 8\]; expected \[1 \+ tokens, width\]"),
        ({"token_embedding.weight": torch.zeros(3, 8), "x": torch.zeros(2)}, r"'x' of shape \[2\] is in no published"),
    ],
)
def test_other_files_are_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"some\.pth: .*{message}"):
        read_published("some.pth", tensors)
