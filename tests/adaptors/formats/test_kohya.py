"""kohya files: names, the true alpha, and what diffusers' own kohya reader makes of them."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairlit.adaptors.formats import kohya
from fairlit.adaptors.formats.low_rank import LowRank, LowRankUpdates, Origin

QKV = [f"text_encoder.text_model.encoder.layers.0.self_attn.{kind}_proj" for kind in "qkv"]
OUT = "text_encoder.text_model.encoder.layers.0.self_attn.out_proj"
UNET = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


def updates_of(*layers: str, width: int = 6, alpha: float = 3.0) -> LowRankUpdates:
    return {
        layer: LowRank(torch.randn(2, width), torch.randn(6, 2), alpha, Origin("file", "down", "up"))
        for layer in layers
    }


def test_names_and_alpha() -> None:
    updates = updates_of(QKV[0], OUT, UNET)
    tensors, header = kohya.write_lora(updates, sdxl=False)
    names = [
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te_text_model_encoder_layers_0_self_attn_out_proj",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
    ]
    parts = ("lora_down.weight", "lora_up.weight", "alpha")
    assert set(tensors) == {f"{name}.{part}" for name in names for part in parts}
    assert torch.equal(tensors[f"{names[2]}.lora_down.weight"], updates[UNET].down)
    assert torch.equal(tensors[f"{names[2]}.lora_up.weight"], updates[UNET].up)
    assert all(tensors[f"{name}.alpha"].shape == () and tensors[f"{name}.alpha"] == 3 for name in names)
    assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("2", "3.0")


@pytest.mark.parametrize(("sdxl", "prefixes"), [(False, {"lora_te"}), (True, {"lora_te1", "lora_te2"})])
def test_prefixes_of_text_encoders(sdxl: bool, prefixes: set[str]) -> None:
    updates = updates_of(OUT, OUT.replace("text_encoder", "text_encoder_2")) if sdxl else updates_of(OUT)
    tensors, _ = kohya.write_lora(updates, sdxl)
    assert {name.split("_text_model")[0] for name in tensors} == prefixes


@pytest.mark.parametrize(
    ("width", "sdxl", "name"),
    [(768, False, "sd_v1"), (1024, False, "sd_v2"), (768, True, "sdxl_base_v1-0"), (6, False, None)],
)
def test_base_model_is_named_where_its_width_tells_it(width: int, sdxl: bool, name: str | None) -> None:
    _, header = kohya.write_lora(updates_of(QKV[0], width=width), sdxl)
    assert header.get("ss_base_model_version") == name
    assert header.get("ss_v2") == ("True" if name == "sd_v2" else None)


@pytest.mark.parametrize("layers", [QKV[:1], QKV, [*QKV, OUT], [QKV[1], UNET], [UNET]])
def test_attention_without_outputs_is_read_by_diffusers(layers: list[str]) -> None:
    """diffusers knows the layout by out_proj: there is one, of zeros where none was trained."""
    updates = updates_of(*layers)
    tensors, _ = kohya.write_lora(updates, sdxl=False)
    added = [name for name in tensors if "out_proj" in name and name.endswith("lora_up.weight")]
    assert len(added) == any("text_encoder" in layer for layer in layers)
    if added and OUT not in layers:
        assert not tensors[added[0]].any()
    found, alphas = StableDiffusionPipeline.lora_state_dict(dict(tensors))
    assert set(alphas.values()) == {3.0}
    if QKV[0] in layers:
        name = "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.up.weight"
        assert torch.equal(found[name], updates[QKV[0]].up)
