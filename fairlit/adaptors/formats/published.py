"""The weights that Shen et al. published with their paper (github.com/sail-sg/finetune-fair-diffusion)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from fairlit.adaptors.formats.low_rank import LowRankUpdates, pair
from fairlit.errors import CheckpointError

BASE_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # what all of them were finetuned from
ORIGIN = "Shen et al. (Finetuning Text-to-Image Diffusion Models for Fairness, ICLR 2024)"
_TEXT_ENCODER = re.compile(
    r"(?P<layer>text_model\.encoder\.layers\.\d+\.(?:self_attn\.(?:q|k|v|out)_proj|mlp\.fc[12]))"
    r"\.lora_linear_layer\.(?P<factor>down|up)\.weight"
)
_UNET = re.compile(r"(?P<layer>.+)\.processor\.to_(?P<kind>q|k|v|out)_lora\.(?P<factor>down|up)\.weight")
_TOKENS = "token_embedding.weight"
POSITIONS = "position_ids"  # whole numbers
_BESIDE_TOKENS = ("position_embedding.weight", POSITIONS)  # frozen copies of the base model's own


def read_published(
    source: str, tensors: Mapping[str, Tensor], alpha: float | None = None
) -> tuple[LowRankUpdates, Tensor | None]:
    """Return what a published file holds: the LoRA of the text encoder or of the U-Net, or soft tokens.

    Args:
        source: the file, for messages.
        tensors: as they are in it.
        alpha: strength of the updates relative to their rank; None: the rank itself, as in all published files.

    Returns:
        The updates, none for soft tokens; and the embeddings [K, D] of K soft tokens, None for a LoRA.

    Raises:
        CheckpointError: a tensor that no published file has, or factors that do not fit each other.
    """
    if _TOKENS in tensors:
        return {}, _read_tokens(source, tensors)
    named = []
    for name, tensor in tensors.items():
        if match := _TEXT_ENCODER.fullmatch(name):
            layer = f"text_encoder.{match['layer']}"
        elif match := _UNET.fullmatch(name):
            last = "to_out.0" if match["kind"] == "out" else f"to_{match['kind']}"
            layer = f"unet.{match['layer'].removeprefix('unet.')}.{last}"
        else:
            raise CheckpointError(
                f"{source}: tensor '{name}' of shape {list(tensor.shape)} is in none of the published files "
                "(text_encoder_lora*.pth, unet_lora*.pth, prefix_embedding*.pth); give one of those"
            )
        named.append((name, layer, match["factor"]))
    if not named:
        raise CheckpointError(f"{source}: holds no tensors; give one of the published files")
    alphas = {} if alpha is None else {layer: alpha for _, layer, _ in named}
    return pair(source, tensors, named, alphas), None


def _read_tokens(source: str, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the rows of the soft tokens: row 0 stands for all other words and is not used."""
    for name, tensor in tensors.items():
        if name not in (_TOKENS, *_BESIDE_TOKENS):
            raise CheckpointError(
                f"{source}: tensor '{name}' of shape {list(tensor.shape)} is in no published file of soft tokens"
            )
    rows = tensors[_TOKENS]
    if rows.ndim != 2 or len(rows) < 2:
        raise CheckpointError(
            f"{source}: tensor '{_TOKENS}' has shape {list(rows.shape)}; expected [1 + tokens, width], whose first "
            "row is not used"
        )
    return rows[1:]
