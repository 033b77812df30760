"""Masked img2img in latent space: part of a finished image made anew by another prompt."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairlit.diffusion.backbone import Backbone
from fairlit.diffusion.finiteness import check_finite
from fairlit.errors import Problems
from fairlit.functional.sampling.noise import keyed_generator


class Inpainter:
    """The stock inpainting pipeline around a base model (no copy of it), which needs no inpainting weights.

    Outside the mask the latents are, at every step, the original's at that step's noise (Avrahami et al., Blended
    Latent Diffusion, SIGGRAPH 2023; where it starts: SDEdit, Meng et al., ICLR 2022).

    Args:
        backbone: the model.
        steps: solver steps of a whole chain; of these the last share `strength` is taken.
        guidance_scale: of classifier-free guidance.
        strength: how much noise the original gets, in (0, 1]: 1 forgets what was there.

    Raises:
        ConfigurationError: so few steps that none of them is taken.
    """

    def __init__(self, backbone: Backbone, steps: int, guidance_scale: float, *, strength: float) -> None:
        with Problems("inpainting") as problems:
            check_steps(steps, strength, problems)
        self.backbone, self.steps, self.guidance_scale, self.strength = backbone, steps, guidance_scale, strength
        self._pipeline = backbone.family.inpainting_pipeline(backbone, copy.deepcopy(backbone.scheduler))
        self._pipeline.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def __call__(
        self, images: Tensor, masks: Tensor, prompts: Sequence[str], keys: Sequence[tuple[int, ...]]
    ) -> Tensor:
        """Makes the masked parts anew.

        Args:
            images: float [n, 3, H, W], RGB in [0, 1], any size.
            masks: [n, H, W]; every latent cell with a pixel above 0 is made anew.
            prompts: one an image.
            keys: of the noise, one an image, see `functional.sampling.noise`.

        Returns:
            float32 [n, 3, H, W] in [0, 1] on the device of `images`. All pixels have been through the autoencoder,
            those outside the masks too.
        """
        height, width = images.shape[-2:]
        multiple = self.backbone.family.side_multiple
        beyond = (0, -width % multiple, 0, -height % multiple)
        device, dtype = self.backbone.device, next(self.backbone.denoiser.parameters()).dtype
        padded = functional.pad(images.float().to(device), beyond, mode="replicate")
        with _same_weights(self.backbone.vae):
            # No negative prompt is given: stock pipelines then take the empty one as `Backbone.encode` makes it.
            made = self._pipeline(
                prompt=list(prompts),  # padded to the tokenizer's length, so that none depends on the others
                image=padded.to(dtype),
                mask_image=self._cells(functional.pad(masks[:, None].float().to(device), beyond)),
                height=padded.shape[-2],
                width=padded.shape[-1],
                strength=self.strength,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance_scale,
                generator=[keyed_generator(key) for key in keys],
                output_type="pt",
            ).images
        check_finite(self.backbone, made, "denoiser")
        return made[..., :height, :width].float().to(images.device)

    def _cells(self, masks: Tensor) -> Tensor:
        """Masks [n, 1, H, W] of 0 and 1, the same within every latent cell."""
        scale = self.backbone.vae_scale
        return functional.interpolate((functional.max_pool2d(masks, scale) > 0).float(), scale_factor=scale)


@contextmanager
def _same_weights(module: nn.Module) -> Iterator[None]:
    """Give a module its weights back after the block.

    The stock pipeline of Stable Diffusion XL (diffusers 0.42.1) turns the autoencoder into the denoiser's precision and
    leaves it so; in float16 its next image overflows.
    """
    weights = [(parameter, parameter.data) for parameter in module.parameters()]
    try:
        yield
    finally:
        for parameter, values in weights:
            parameter.data = values


def check_steps(steps: int, strength: float, problems: Problems) -> None:
    """Notes so few steps that the share `strength` of them is less than one."""
    if int(steps * strength) < 1:
        problems.add(f"strength: got {strength} of {steps} steps, which is none; give more of either")
