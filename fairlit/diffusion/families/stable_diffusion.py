"""Stable Diffusion 1 and 2: a U-Net that reads the last hidden state of one CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fairlit.diffusion.families.family import Family, Part
from fairlit.diffusion.families.unet_configs import check_unet, check_vae, check_width, read_configs

if TYPE_CHECKING:
    from torch import Tensor

    from fairlit.diffusion.chain import EncodedPrompts
    from fairlit.errors import Problems


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
        found = read_configs(folder, ("unet", "vae", "text_encoder"), problems, subject)
        if found is None:
            return
        unet, remedy = found["unet"], f"give a text-to-image pipeline of {self.title}"
        file = folder / "unet" / "config.json"
        check_unet(unet, file, problems, subject=subject, additions=(None, "text"), remedy=remedy)
        file = folder / "vae" / "config.json"
        check_vae(found["vae"], unet, file, problems, subject=subject, remedy=remedy)
        check_width(unet, {"text_encoder": found["text_encoder"]}, folder, problems, subject)

    def embed(self, parts: Any, texts: Sequence[str], ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return prompt_embeds [P, L, D], the text encoder's last hidden state."""
        return {"prompt_embeds": parts.text_encoder(ids["text_encoder"])[0]}

    def denoise(self, parts: Any, states: Tensor, timesteps: Tensor, prompts: EncodedPrompts) -> Tensor:
        """See `Family`."""
        output: Tensor = parts.unet(
            states, timesteps, encoder_hidden_states=prompts["prompt_embeds"], return_dict=False
        )[0]
        return output
