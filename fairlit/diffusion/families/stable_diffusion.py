"""Stable Diffusion 1 and 2: a U-Net that reads the last hidden state of one CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fairlit.diffusion.families.family import Family, Part
from fairlit.io.model_folders import read_json

if TYPE_CHECKING:
    from torch import Tensor

    from fairlit.diffusion.chain import EncodedPrompts
    from fairlit.errors import Problems

_ADDITIONS = ("text_time", "text_image", "image", "image_hint")  # `text` asks for nothing but the prompt
_CONDITIONS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")
_SIZES = ("cross_attention_dim", "in_channels", "out_channels", "sample_size")
_REMEDY = "give a text-to-image pipeline of Stable Diffusion 1.x or 2.x"


class StableDiffusion(Family):
    """Stable Diffusion 1.x and 2.x."""

    title = "Stable Diffusion 1.x or 2.x"
    pipelines = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
    inpainting = "StableDiffusionInpaintPipeline"
    parts = MappingProxyType(
        {
            "tokenizer": Part(("CLIPTokenizer", "CLIPTokenizerFast")),
            "text_encoder": Part(("CLIPTextModel",), "model"),
            "unet": Part(("UNet2DConditionModel",), "diffusion_pytorch_model"),
            "vae": Part(("AutoencoderKL",), "diffusion_pytorch_model"),
        }
    )
    denoiser = "unet"
    tokenizers = MappingProxyType({"text_encoder": "tokenizer"})
    side_multiple = 8
    single_file = MappingProxyType(
        {"text_encoder": "cond_stage_model.", "unet": "model.diffusion_model.", "vae": "first_stage_model."}
    )
    absent = MappingProxyType({"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False})

    def check_configs(self, folder: Path, problems: Problems, subject: str) -> None:
        """See `Family`: a condition beside the prompt, an inpainting U-Net, a VAE or text encoder of another model."""
        found = {
            part: read_json(folder / part / "config.json", subject, problems)
            for part in ("unet", "vae", "text_encoder")
        }
        unet, vae, text = found["unet"], found["vae"], found["text_encoder"]
        if unet is None or vae is None or text is None:
            return
        _check_unet(unet, folder / "unet" / "config.json", problems, subject)
        file = folder / "vae" / "config.json"
        channels, latent = unet.get("in_channels"), vae.get("latent_channels", 4)
        if isinstance(channels, int) and channels == unet.get("out_channels") and channels != latent:
            problems.add(
                f"{subject}: {file} has {latent} latent_channels, the U-Net {channels}; give parts of one model"
            )
        for name in ("shift_factor", "latents_mean", "latents_std"):
            if vae.get(name) not in (None, 0):
                problems.add(f"{subject}: {file} has {name}, which fairlit does not apply; {_REMEDY}")
        scale = vae.get("scaling_factor", 0.18215)
        if not isinstance(scale, int | float) or isinstance(scale, bool) or not scale > 0:
            problems.add(f"{subject}: {file} has scaling_factor {scale!r}; expected a number above 0; copy it again")
        width, cross = text.get("hidden_size"), unet.get("cross_attention_dim")
        if isinstance(width, int) and isinstance(cross, int) and width != cross:
            problems.add(
                f"{subject}: the U-Net of {folder} takes embeddings of width {cross} (cross_attention_dim), the text "
                f"encoder makes {width} (hidden_size); give parts of one model"
            )

    def embed(self, parts: Any, texts: Sequence[str], ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return prompt_embeds [P, L, D], the text encoder's last hidden state."""
        return {"prompt_embeds": parts.text_encoder(ids["text_encoder"])[0]}

    def denoise(self, parts: Any, states: Tensor, timesteps: Tensor, prompts: EncodedPrompts) -> Tensor:
        """See `Family`."""
        output: Tensor = parts.unet(
            states, timesteps, encoder_hidden_states=prompts["prompt_embeds"], return_dict=False
        )[0]
        return output

    def decode(self, parts: Any, latents: Tensor) -> Tensor:
        """See `Family`; the latents are divided by the autoencoder's scaling factor."""
        weight = next(parts.vae.parameters())
        decoded: Tensor = parts.vae.decode(
            latents.to(weight.dtype) / parts.vae.config.scaling_factor, return_dict=False
        )[0]
        return decoded.to(latents.dtype) / 2 + 0.5


def _check_unet(unet: Mapping[str, Any], file: Path, problems: Problems, subject: str) -> None:
    if missing := [name for name in _SIZES if unet.get(name) is None]:
        problems.add(f"{subject}: {file} has no {', '.join(missing)}; copy it again")
        return
    channels, out = unet["in_channels"], unet["out_channels"]
    if channels != out:
        told = " (an inpainting model)" if channels == 9 else ""
        problems.add(f"{subject}: {file} has in_channels {channels} and out_channels {out}{told}; {_REMEDY}")
    if unet.get("addition_embed_type") in _ADDITIONS:
        problems.add(f"{subject}: {file} has addition_embed_type {unet['addition_embed_type']!r}; {_REMEDY}")
    for name in _CONDITIONS:
        if unet.get(name) is not None:
            problems.add(f"{subject}: {file} has {name} {unet[name]!r}, a condition beside the prompt; {_REMEDY}")
