"""Latents and images that are NaN or infinite: told before a file or a figure is made of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fairlit.diffusion.backbone import Backbone
from fairlit.errors import NotFiniteError

_Part = Literal["text encoder", "denoiser", "autoencoder"]


@torch.no_grad()
def finite_images(backbone: Backbone, latents: Tensor, batch_size: int) -> Tensor:
    """Return decoded images [N, 3, H, W] in [0, 1], float32 on the device of `latents`.

    Args:
        backbone: model that the latents come from.
        latents: final latents [N, C, h, w].
        batch_size: number of images that are decoded together.

    Raises:
        NotFiniteError: latents or images are NaN or infinite; the message names the likely cause.
    """
    check_finite(backbone, latents, "denoiser")
    parts = []
    for part in latents.split(batch_size):
        decoded = backbone.decode_unclamped(part).float()  # clamped, infinity is white
        check_finite(backbone, decoded, "autoencoder")
        parts.append(decoded.clamp(0, 1))
    return torch.cat(parts)


def check_finite(backbone: Backbone, values: Tensor, part: _Part) -> None:
    """Raise `NotFiniteError` where what a part of a model gave is not finite.

    Args:
        backbone: the model.
        values: what it gave for N images, [N, ...].
        part: the part.
    """
    bad = ~values.flatten(1).isfinite().all(dim=1)
    if bool(bad.any()):
        raise NotFiniteError(
            f"images: got NaN or infinity from the {part} for {int(bad.sum())} of {len(bad)}; expected finite "
            f"numbers; {_remedy(backbone, part)}. No file and no figure is made of them"
        )


def _remedy(backbone: Backbone, part: _Part) -> str:
    modules: list[tuple[_Part, nn.Module]] = [("text encoder", module) for module in backbone.text_encoders.values()]
    modules += [("denoiser", backbone.denoiser), ("autoencoder", backbone.vae)]
    for name, module in modules:
        for weight, values in module.named_parameters():
            if not bool(values.isfinite().all()):
                return (
                    f"the weights of the {name} are not finite themselves, {weight} first: get the model again, or "
                    "take another checkpoint of the adaptor"
                )
    kind = next(dict(modules)[part].parameters()).dtype
    if kind == torch.float16:
        return f"float16 overflows in the {part} of many models: use bfloat16 or float32 as precision"
    return "give a smaller guidance scale, more steps or another solver"
