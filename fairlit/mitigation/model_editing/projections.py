"""The cross-attention's keys and values of some concepts, edited and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError
from fairlit.functional.model_editing.concept_editing import edit_projection


@dataclass(kw_only=True)
class ProjectionEditor:
    """Linear maps, the inputs that are edited in all of them, and the maps' weights as they were.

    Attributes:
        projections: K linear maps from D inputs.
        concepts: embeddings [T_c, D] of each of C concepts.
        classes: embeddings of classes [K, D].
        preserved: embeddings that keep their values [P, D].
        edit_scale: weight of the concepts in the closed form, see `edit_projection`.
        preserve_scale: weight of the preserved embeddings.
        ridge: weight of the old projection.
        unedited: weights of the maps as they were.
    """

    projections: list[nn.Linear]
    concepts: list[Tensor]
    classes: Tensor
    preserved: Tensor
    edit_scale: float
    preserve_scale: float
    ridge: float

    unedited: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.unedited = [projection.weight.detach().clone() for projection in self.projections]

    @torch.no_grad()
    def edit(self, strengths: Tensor) -> None:
        """Edit the weights as they were, whatever has been edited before.

        Args:
            strengths: strength of each class's direction in each concept, float64 [C, K].
        """
        rows = torch.cat(self.concepts)
        places = torch.tensor([len(concept) for concept in self.concepts])
        shifts = (strengths.to(rows) @ self.classes).repeat_interleave(places.to(rows.device), dim=0)
        for projection, weight in zip(self.projections, self.unedited, strict=True):
            edited = edit_projection(
                weight,
                rows,
                shifts,
                preserved=self.preserved,
                edit_scale=self.edit_scale,
                preserve_scale=self.preserve_scale,
                ridge=self.ridge,
            )
            projection.weight.copy_(edited)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Give the maps their weights back after the block, bit for bit."""
        try:
            yield
        finally:
            with torch.no_grad():
                for projection, weight in zip(self.projections, self.unedited, strict=True):
                    projection.weight.copy_(weight)


def cross_attention_projections(unet: nn.Module) -> list[nn.Linear]:
    """Return the key and value projections of all cross-attention layers of a denoiser.

    Args:
        unet: denoiser of a Stable Diffusion.

    Raises:
        ConfigurationError: there are none.
    """
    from diffusers.models.attention_processor import Attention

    layers = [module for module in unet.modules() if isinstance(module, Attention) and module.is_cross_attention]
    if not layers:
        raise ConfigurationError(
            "model: got a denoiser without cross-attention, which UCE edits; expected a Stable Diffusion; give one, or "
            "take another method"
        )
    return [projection for layer in layers for projection in (layer.to_k, layer.to_v)]


@torch.no_grad()
def embed_tokens(backbone: Backbone, text: str) -> Tensor:
    """Return embeddings of a text's tokens with the marks of beginning and end but without padding, float64 [T, D].

    Args:
        backbone: loaded model.
        text: text to embed.
    """
    limit = backbone.tokenizer.model_max_length
    count = len(backbone.tokenizer(text, truncation=True, max_length=limit).input_ids)
    return backbone.encode([text])["prompt_embeds"][0, :count].double()
