"""peft folders: what the config says."""

from __future__ import annotations

import json

import torch

from fairlit.adaptors.formats import peft
from fairlit.adaptors.formats.low_rank import LowRank, Origin


def test_one_folder_a_part_with_its_own_rank_and_alpha() -> None:
    origin = Origin("file", "down", "up")
    updates = {
        "text_encoder.text_model.encoder.layers.0.mlp.fc1": LowRank(torch.ones(2, 8), torch.ones(4, 2), 3.0, origin),
        "unet.mid_block.attentions.0.proj_in": LowRank(torch.ones(5, 8), torch.ones(4, 5), 1.0, origin),
    }
    contents = peft.write_lora(updates, "some/model")
    assert set(contents) == {"text_encoder", "unet"}
    tensors, config = contents["text_encoder"]
    assert set(tensors) == {  # transformers 5 and 4
        f"base_model.model.{level}encoder.layers.0.mlp.fc1.lora_{factor}.weight"
        for level in ("", "text_model.")
        for factor in "AB"
    }
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (2, 3.0, "LORA")
    assert config["target_modules"] == ["encoder.layers.0.mlp.fc1"]
    assert config["base_model_name_or_path"] == "some/model"
    assert (contents["unet"][1]["r"], contents["unet"][1]["lora_alpha"]) == (5, 1.0)
    assert json.loads(json.dumps(config)) == config
