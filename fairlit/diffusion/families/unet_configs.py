"""Checks of configs that Stable Diffusion 1, 2 and XL have in common: a U-Net over the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlit.io.model_folders import read_json

if TYPE_CHECKING:
    from fairlit.errors import Problems

_SIZES = ("cross_attention_dim", "in_channels", "out_channels", "sample_size")
_CONDITIONS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")


def read_configs(folder: Path, parts: Sequence[str], problems: Problems, subject: str) -> dict[str, Any] | None:
    """Return the configs of parts by name; None, and a note, where one cannot be read.

    Args:
        folder: folder of a pipeline with all of its parts.
        parts: names of the parts.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    found = {part: read_json(folder / part / "config.json", subject, problems) for part in parts}
    return None if None in found.values() else found


def check_unet(
    unet: Mapping[str, Any],
    file: Path,
    problems: Problems,
    *,
    subject: str,
    additions: Sequence[str | None],
    remedy: str,
) -> None:
    """Note an inpainting U-Net, and one that asks for conditions which the family does not have.

    Args:
        unet: config of the U-Net.
        file: file of the config.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
        additions: values of `addition_embed_type` that the family has.
        remedy: what to give instead.
    """
    if missing := [name for name in _SIZES if unet.get(name) is None]:
        problems.add(f"{subject}: {file} has no {', '.join(missing)}; copy it again")
        return
    channels, out = unet["in_channels"], unet["out_channels"]
    if channels != out:
        told = " (an inpainting model)" if channels == 9 else ""
        problems.add(f"{subject}: {file} has in_channels {channels} and out_channels {out}{told}; {remedy}")
    if (addition := unet.get("addition_embed_type")) not in additions:
        problems.add(f"{subject}: {file} has addition_embed_type {addition!r}; {remedy}")
    for name in _CONDITIONS:
        if unet.get(name) is not None:
            problems.add(f"{subject}: {file} has {name} {unet[name]!r}, a condition beside the prompt; {remedy}")


def check_vae(
    vae: Mapping[str, Any], unet: Mapping[str, Any], file: Path, problems: Problems, *, subject: str, remedy: str
) -> None:
    """Note an autoencoder of another model, and one whose latents are not simply scaled.

    Args:
        vae: config of the autoencoder.
        unet: config of the U-Net.
        file: file of the autoencoder's config.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
        remedy: what to give instead.
    """
    channels, latent = unet.get("in_channels"), vae.get("latent_channels", 4)
    if isinstance(channels, int) and channels == unet.get("out_channels") and channels != latent:
        problems.add(f"{subject}: {file} has {latent} latent_channels, the U-Net {channels}; give parts of one model")
    for name in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(name) not in (None, 0):
            problems.add(f"{subject}: {file} has {name}, which fairlit does not apply; {remedy}")
    scale = vae.get("scaling_factor", 0.18215)
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not scale > 0:
        problems.add(f"{subject}: {file} has scaling_factor {scale!r}; expected a number above 0; copy it again")


def check_width(
    unet: Mapping[str, Any], encoders: Mapping[str, Mapping[str, Any]], folder: Path, problems: Problems, subject: str
) -> None:
    """Note text encoders whose hidden states, one beside the other, are not as wide as the U-Net reads them.

    Args:
        unet: config of the U-Net.
        encoders: configs of the text encoders by name.
        folder: folder of the pipeline.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    widths, cross = [config.get("hidden_size") for config in encoders.values()], unet.get("cross_attention_dim")
    numbers = [width for width in widths if isinstance(width, int)]
    if len(numbers) == len(widths) and isinstance(cross, int) and sum(numbers) != cross:
        problems.add(
            f"{subject}: the U-Net of {folder} takes embeddings of width {cross} (cross_attention_dim), "
            f"{' and '.join(encoders)} make {' + '.join(map(str, numbers))} (hidden_size); give parts of one model"
        )
