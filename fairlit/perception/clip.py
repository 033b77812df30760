"""CLIP: images and texts in one space (Radford et al., arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer, CLIPModel, PreTrainedTokenizerBase
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from fairlit.errors import CheckpointError, surroundings_error
from fairlit.io.tokenizer_files import require_words
from fairlit.perception.loading import load_frozen, resolve_encoder
from fairlit.perception.pixels import PixelNormalizer


class ClipEncoder(nn.Module):
    """A frozen CLIP model. Use `load`.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        pixels: From images in [0, 1] to the model's input.
    """

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerBase, pixels: PixelNormalizer) -> None:
        super().__init__()
        self.model, self.tokenizer, self.pixels = model, tokenizer, pixels

    @classmethod
    def load(cls, path: str, *, local_files_only: bool = False) -> ClipEncoder:
        """Opens a CLIP model with its tokenizer, in float32.

        Args:
            path: Folder or hub id.
            local_files_only: Never ask the hub; nobody does for a folder.

        Raises:
            CheckpointError: Nothing is there, or it is damaged.
            ConfigurationError: It is not a CLIP model.
        """
        path = resolve_encoder(path, local_files_only=local_files_only)
        local_files_only = local_files_only or Path(path).is_dir()
        model = load_frozen(path, CLIPModel, ("clip",), local_files_only=local_files_only)
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local_files_only)
        except Exception as error:  # of a damaged file, tokenizers raises bare exceptions
            if surroundings_error(error) is not None and not Path(path).is_dir():
                raise
            raise CheckpointError(
                f"encoder {path!r} has no tokenizer that can be read ({type(error).__name__}): save the model's "
                "tokenizer beside it"
            ) from error
        require_words(tokenizer, path)
        size = model.config.vision_config.image_size
        pixels = PixelNormalizer.from_pretrained(
            path, size, tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD), local_files_only
        )
        return cls(model, tokenizer, pixels)

    def train(self, mode: bool = True) -> ClipEncoder:
        """Stays in eval mode."""
        return super().train(False)

    @property
    def dim(self) -> int:
        """Width D of the features."""
        return int(self.model.config.projection_dim)

    def image_features(self, images: Tensor) -> Tensor:
        """Directions of images.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1]; N may be 0.

        Returns:
            [N, D] of length 1, differentiable with respect to `images`.
        """
        if len(images) == 0:
            return images.new_zeros(0, self.dim)
        pooled = self.model.vision_model(pixel_values=self.pixels(images)).pooler_output
        return functional.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Directions of texts, cut off at the model's longest.

        Args:
            texts: N texts; N may be 0.

        Returns:
            [N, D] of length 1, on the model's device.
        """
        if not texts:
            return torch.zeros(0, self.dim, device=self.model.device)
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        pooled = self.model.text_model(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return functional.normalize(self.model.text_projection(pooled), dim=-1)

    forward = image_features
