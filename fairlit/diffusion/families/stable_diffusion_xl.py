"""Stable Diffusion XL: a U-Net that reads two CLIPs, a pooled embedding of the second, and the size of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fairlit.diffusion.families.family import Family, Part
from fairlit.diffusion.families.unet_configs import check_unet, check_vae, check_width, read_configs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fairlit.diffusion.chain import EncodedPrompts
    from fairlit.errors import Problems


class StableDiffusionXL(Family):
    """Stable Diffusion XL (Podell et al., ICLR 2024), base models; refiners have another first text encoder."""

    title = "Stable Diffusion XL"
    pipelines = ("StableDiffusionXLPipeline",)
    inpainting = "StableDiffusionXLInpaintPipeline"
    parts = MappingProxyType(
        {
            "tokenizer": Part(("CLIPTokenizer", "CLIPTokenizerFast")),
            "tokenizer_2": Part(("CLIPTokenizer", "CLIPTokenizerFast")),
            "text_encoder": Part(("CLIPTextModel",), "model"),
            "text_encoder_2": Part(("CLIPTextModelWithProjection",), "model"),
            "unet": Part(("UNet2DConditionModel",), "diffusion_pytorch_model"),
            "vae": Part(("AutoencoderKL",), "diffusion_pytorch_model"),
        }
    )
    denoiser = "unet"
    tokenizers = MappingProxyType({"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"})
    side_multiple = 8
    single_file = MappingProxyType(
        {
            "text_encoder": "conditioner.embedders.0.",
            "text_encoder_2": "conditioner.embedders.1.",
            "unet": "model.diffusion_model.",
            "vae": "first_stage_model.",
        }
    )
    absent = MappingProxyType({"feature_extractor": None, "image_encoder": None, "add_watermarker": False})
    index_settings = ("force_zeros_for_empty_prompt",)

    def check_configs(self, folder: Path, problems: Problems, subject: str) -> None:
        """See `Family`: a U-Net without sizes, an inpainting U-Net, a VAE or text encoders of another model."""
        encoders = tuple(self.tokenizers)
        found = read_configs(folder, ("unet", "vae", *encoders), problems, subject)
        if found is None:
            return
        unet, remedy = found["unet"], f"give a text-to-image pipeline of {self.title}"
        file = folder / "unet" / "config.json"
        check_unet(unet, file, problems, subject=subject, additions=("text_time",), remedy=remedy)
        file = folder / "vae" / "config.json"
        check_vae(found["vae"], unet, file, problems, subject=subject, remedy=remedy)
        check_width(unet, {name: found[name] for name in encoders}, folder, problems, subject)

    def embed(self, parts: Any, texts: Sequence[str], ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return prompt_embeds [P, L, D] and pooled_prompt_embeds [P, E], both zeros for the empty text.

        The hidden states before the last of both text encoders stand beside each other; the second one's projection is
        pooled. Models whose `force_zeros_for_empty_prompt` is false read the empty text as any other.
        """
        import torch

        hidden = []
        for name in self.tokenizers:
            output = getattr(parts, name)(ids[name], output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
        made = {"prompt_embeds": torch.cat(hidden, dim=-1), "pooled_prompt_embeds": output[0]}
        if not parts.config.force_zeros_for_empty_prompt:
            return made
        kept = torch.tensor([bool(text) for text in texts], device=output[0].device)
        return {name: tensor.where(kept.view(-1, *[1] * (tensor.ndim - 1)), 0) for name, tensor in made.items()}

    def denoise(self, parts: Any, states: Tensor, timesteps: Tensor, prompts: EncodedPrompts) -> Tensor:
        """See `Family`; the model is told that the image has its own size and is not cropped."""
        height, width = (side * self.vae_scale(parts) for side in states.shape[-2:])
        sizes = states.new_tensor([[height, width, 0, 0, height, width]]).expand(len(states), -1)
        output: Tensor = parts.unet(
            states,
            timesteps,
            encoder_hidden_states=prompts["prompt_embeds"],
            added_cond_kwargs={"text_embeds": prompts["pooled_prompt_embeds"], "time_ids": sizes},
            return_dict=False,
        )[0]
        return output

    def unread(self, parts: Any) -> dict[str, str]:
        """See `Family`: the last layer of the first text encoder, which is read before it."""
        return {"text_encoder": f"encoder.layers.{parts.text_encoder.config.num_hidden_layers - 1}"}

    def decode(self, parts: Any, latents: Tensor) -> Tensor:
        """See `Family`; an autoencoder that overflows in float16 is not cast to it by autocast either."""
        import torch

        kind = latents.device.type
        overflows = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
        with torch.autocast(kind, enabled=False) if overflows and _upcasts(parts.vae.config) else nullcontext():
            return super().decode(parts, latents)

    def precision(self, part: str, config: Mapping[str, Any], dtype: torch.dtype) -> torch.dtype:
        """See `Family`: float32 for an autoencoder that overflows in float16."""
        import torch

        overflows = part == "vae" and dtype == torch.float16 and _upcasts(config)
        return torch.float32 if overflows else dtype


def _upcasts(vae: Mapping[str, Any]) -> bool:
    """Return whether the config of an autoencoder says that it overflows in float16."""
    return bool(vae.get("force_upcast", True))
