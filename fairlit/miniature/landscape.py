"""A second model of the drawn world: landscapes of 96 x 64 pixels with one to three people, as large as in squares.

In a square of 64 pixels two or three people are so small that the autoencoder blurs their faces beyond what a detector
finds. The landscape model is the miniature's with another U-Net, trained on from the miniature's own; everything else
is shared, so classifiers, face bank, CLIP and DINO are the miniature's as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from rich.progress import Progress
from safetensors.torch import load_file, save_file

from fairlit.atomic import atomic_folder, atomic_path
from fairlit.miniature.canvas import SIZE
from fairlit.miniature.dataset import Drawings, draw
from fairlit.miniature.drawing import LANDSCAPE
from fairlit.miniature.loop import Schedule
from fairlit.miniature.training_diffusion import SCALE, Captioned, caption_tokens, head_weights, train_diffusion
from fairlit.miniature.training_vae import encode
from fairlit.miniature.world import sample_scene

SHARES = (0.30, 0.05, 0.05, 0.05, 0.55)  # of `world.FAMILIES`; groups are the last
SCENES_SEED = 1  # apart from the miniature's own drawings


@dataclass(frozen=True)
class LandscapeRecipe:
    """How much is drawn and trained.

    Attributes:
        drawings: captioned scenes.
        diffusion: schedule of the U-Net.
        seed: of the batches.
    """

    drawings: int
    diffusion: Schedule
    seed: int = 0


FULL = LandscapeRecipe(12_000, Schedule(steps=5_000, lr=1e-3, warmup=100, ema_decay=0.998))
QUICK = LandscapeRecipe(300, Schedule(steps=20, lr=1e-3, warmup=5, ema_decay=0.9))


def build_landscape(recipe: LandscapeRecipe, miniature: Path, out: Path, workdir: Path, device: str = "cpu") -> None:
    """Trains the landscape model, where it was stopped if it was.

    Args:
        recipe: how much of everything.
        miniature: the pipeline folder to start from.
        out: the pipeline folder that is written, whole or not at all; its U-Net in half precision, to be small.
        workdir: folder of intermediate results; keep it to resume.
        device: where to train.
    """
    with Progress() as progress:
        pipeline = StableDiffusionPipeline.from_pretrained(miniature, safety_checker=None).to(device)
        drawings = draw(
            "landscapes",
            lambda index: sample_scene(SCENES_SEED, index, SHARES),
            recipe.drawings,
            workdir / "landscapes.npz",
            progress,
            LANDSCAPE,
        )
        pipeline.unet = train_diffusion(
            pipeline.unet,
            _captioned(pipeline, drawings, workdir / "landscape_latents.safetensors"),
            pipeline.text_encoder.requires_grad_(False),
            recipe.diffusion,
            workdir / "landscape.pt",
            seed=recipe.seed,
            device=device,
            progress=progress,
        )
    pipeline.unet.register_to_config(sample_size=(SIZE // SCALE, LANDSCAPE // SCALE))
    pipeline.unet.half()
    with atomic_folder(out) as folder:
        pipeline.save_pretrained(folder)


def _captioned(pipeline: StableDiffusionPipeline, drawings: Drawings, file: Path) -> Captioned:
    """What the U-Net learns from; latents are kept in `file`."""
    vae = pipeline.vae
    if not file.exists():
        both = torch.stack([encode(vae, drawings, mirrored=mirrored) for mirrored in (False, True)])
        with atomic_path(file) as path:
            save_file({"latents": (both * vae.config.scaling_factor).half().contiguous()}, path)
    return Captioned(
        load_file(file)["latents"],
        head_weights(drawings.boxes, LANDSCAPE),
        caption_tokens(pipeline.tokenizer, drawings.scenes),
    )
