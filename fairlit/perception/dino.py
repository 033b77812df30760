"""DINOv2: self-supervised image features (Oquab et al., arXiv 2304.07193)."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedModel
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fairlit.perception.loading import load_frozen, resolve_encoder
from fairlit.perception.pixels import PixelNormalizer


class DinoEncoder(nn.Module):
    """A frozen DINOv2 vision transformer; its class token after the last layer norm. Use `load`.

    Args:
        model: The model.
        pixels: From images in [0, 1] to the model's input.
    """

    def __init__(self, model: PreTrainedModel, pixels: PixelNormalizer) -> None:
        super().__init__()
        self.model, self.pixels = model, pixels

    @classmethod
    def load(cls, path: str, *, local_files_only: bool = False) -> DinoEncoder:
        """Opens a DINOv2 model in float32.

        Args:
            path: Folder or hub id.
            local_files_only: Never ask the hub; nobody does for a folder.

        Raises:
            CheckpointError: Nothing is there, or it is damaged.
            ConfigurationError: It is not a DINOv2 model.
        """
        path = resolve_encoder(path, local_files_only=local_files_only)
        local_files_only = local_files_only or Path(path).is_dir()
        model = load_frozen(path, AutoModel, ("dinov2", "dinov2_with_registers"), local_files_only=local_files_only)
        pixels = PixelNormalizer.from_pretrained(
            path, model.config.image_size, tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD), local_files_only
        )
        return cls(model, pixels)

    def train(self, mode: bool = True) -> DinoEncoder:
        """Stays in eval mode."""
        return super().train(False)

    @property
    def dim(self) -> int:
        """Width D of the features."""
        return int(self.model.config.hidden_size)

    def image_features(self, images: Tensor) -> Tensor:
        """Directions of images.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1]; N may be 0.

        Returns:
            [N, D] of length 1, differentiable with respect to `images`.
        """
        if len(images) == 0:
            return images.new_zeros(0, self.dim)
        tokens = self.model(pixel_values=self.pixels(images)).last_hidden_state  # after the layer norm
        return functional.normalize(tokens[:, 0], dim=-1)

    forward = image_features
