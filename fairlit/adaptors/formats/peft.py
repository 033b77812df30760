"""The folders that peft's `PeftModel.from_pretrained` opens, one for each part of a pipeline."""

from __future__ import annotations

from typing import Any

from peft import LoraConfig
from torch import Tensor

from fairlit.adaptors.formats.low_rank import LowRankUpdates, by_component, module_name, peft_settings, peft_tensors

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


def write_lora(updates: LowRankUpdates, base_model: str) -> dict[str, tuple[dict[str, Tensor], dict[str, Any]]]:
    """Return the tensors and config of each part of the pipeline (``text_encoder``, ``unet``).

    The layers of a CLIP text encoder are there under the names of transformers 4 and of transformers 5: peft (0.21)
    passes over names that the model does not have, and leaves layers without a tensor as they were drawn.

    Args:
        updates: of one or more parts.
        base_model: folder or hub id, noted in the config; the part's own folder within it is meant.
    """
    contents = {}
    for component, part in by_component(updates).items():
        tensors: dict[str, Tensor] = {}
        for layer, update in part.items():
            for name in dict.fromkeys((module_name(component, layer), layer)):
                for key, tensor in peft_tensors(_PREFIX + name, update).items():
                    tensors[key] = tensor.clone()  # safetensors refuses two names for one piece of memory
        config = LoraConfig(
            **peft_settings(component, part), base_model_name_or_path=base_model or None, inference_mode=True
        ).to_dict()
        config["peft_type"] = config["peft_type"].value
        config["target_modules"] = sorted(config["target_modules"])
        contents[component] = (tensors, config)
    return contents
