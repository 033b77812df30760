"""Facts about Stable Diffusion pipelines: what their files say where fairlit can use them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlit.errors import Problems
from fairlit.io.model_folders import read_json

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
"""Pipelines that fairlit trains and samples; both are made of the same parts."""

PARTS = {
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "text_encoder": ("CLIPTextModel",),
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
}
"""Parts of such a pipeline, and the classes that they may have."""

WEIGHTS_NAMES = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
"""Parts with weights, and what their files are called."""

_WORKS = "give a Stable Diffusion 1.x or 2.x text-to-image pipeline (StableDiffusionPipeline)"
_KINDS = {
    "StableDiffusionXL": "Stable Diffusion XL",
    "StableDiffusion3": "Stable Diffusion 3",
    "StableDiffusionInpaint": "an inpainting model",
    "StableDiffusionInstructPix2Pix": "an image-editing model",
    "StableDiffusionDepth2Img": "a depth-to-image model",
    "StableDiffusionUpscale": "an upscaling model",
    "StableDiffusionControlNet": "a pipeline with a ControlNet",
    "LatentConsistencyModel": "a latent consistency model",
    "Flux": "Flux",
}
_ADDITIONS = ("text_time", "text_image", "image", "image_hint")  # `text` asks for nothing but the prompt
_SIZES = ("cross_attention_dim", "in_channels", "out_channels", "sample_size")


def check_kind(index: Mapping[str, Any], folder: Path, problems: Problems, subject: str) -> bool:
    """Note that a pipeline, or a part of it, is of a class that fairlit cannot use, and return whether all can.

    Args:
        index: content of model_index.json.
        folder: folder of the pipeline.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    file, before = folder / "model_index.json", len(problems.messages)
    name = index.get("_class_name")
    if name not in PIPELINES:
        kind = next((told for start, told in _KINDS.items() if str(name).startswith(start)), None)
        problems.add(f"{subject}: got {file} of a {name}{f' ({kind})' if kind else ''}; {_WORKS}")
        return False
    for part, classes in PARTS.items():
        entry = index.get(part)
        if isinstance(entry, list) and (len(entry) != 2 or entry[1] not in classes):
            problems.add(f"{subject}: got {part} {entry} in {file}; expected {' or '.join(classes)}; {_WORKS}")
    return len(problems.messages) == before


def check_configs(folder: Path, problems: Problems, subject: str) -> None:
    """Note what the configs of the parts ask for that a Stable Diffusion does not have, and parts that do not fit.

    Args:
        folder: folder of a pipeline with all of its parts.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    found = {
        part: read_json(folder / part / "config.json", subject, problems) for part in ("unet", "vae", "text_encoder")
    }
    unet, vae, text = found["unet"], found["vae"], found["text_encoder"]
    if unet is None or vae is None or text is None:
        return
    _check_unet(unet, folder / "unet" / "config.json", problems, subject)
    file = folder / "vae" / "config.json"
    channels, latent = unet.get("in_channels"), vae.get("latent_channels", 4)
    if isinstance(channels, int) and channels == unet.get("out_channels") and channels != latent:
        problems.add(f"{subject}: {file} has {latent} latent_channels, the U-Net {channels}; give parts of one model")
    for name in ("shift_factor", "latents_mean", "latents_std"):
        if vae.get(name) not in (None, 0):
            problems.add(f"{subject}: {file} has {name}, which fairlit does not apply; {_WORKS}")
    scale = vae.get("scaling_factor", 0.18215)
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not scale > 0:
        problems.add(f"{subject}: {file} has scaling_factor {scale!r}; expected a number above 0; copy it again")
    width, cross = text.get("hidden_size"), unet.get("cross_attention_dim")
    if isinstance(width, int) and isinstance(cross, int) and width != cross:
        problems.add(
            f"{subject}: the U-Net of {folder} takes embeddings of width {cross} (cross_attention_dim), the text "
            f"encoder makes {width} (hidden_size); give parts of one model"
        )


def _check_unet(unet: Mapping[str, Any], file: Path, problems: Problems, subject: str) -> None:
    if missing := [name for name in _SIZES if unet.get(name) is None]:
        problems.add(f"{subject}: {file} has no {', '.join(missing)}; copy it again")
        return
    channels, out = unet["in_channels"], unet["out_channels"]
    if channels != out:
        told = " (an inpainting model)" if channels == 9 else ""
        problems.add(f"{subject}: {file} has in_channels {channels} and out_channels {out}{told}; {_WORKS}")
    if unet.get("addition_embed_type") in _ADDITIONS:
        problems.add(f"{subject}: {file} has addition_embed_type {unet['addition_embed_type']!r}; {_WORKS}")
    for name in ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim"):
        if unet.get(name) is not None:
            problems.add(f"{subject}: {file} has {name} {unet[name]!r}, a condition beside the prompt; {_WORKS}")
