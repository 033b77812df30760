"""What the stages of a build learn from: drawings of scenes, and what finished stages make of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTokenizer

from fairlit.io.atomic import atomic_path
from fairlit_miniature.dataset import Drawings, draw
from fairlit_miniature.generator import Generator
from fairlit_miniature.recipe import Recipe
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_diffusion import Captioned, caption_tokens, head_weights
from fairlit_miniature.training_vae import encode, reconstruct
from fairlit_miniature.world import balanced_scene, full_caption, sample_scene

FACES_FROM = 10_000_000  # numbers of balanced scenes, apart for training and for everything held out
HELD_OUT_FROM = 20_000_000
UNNAMED_FROM = 30_000_000
FACES_STEPS = 8  # about as many as finetuning samples with


class Materials:
    """Data of a build, each made when it is first asked for, of the stages that are finished then.

    Args:
        recipe: how much of everything.
        workdir: where finished parts are and data are kept.
        device: where networks run.
        progress: where to show bars.
    """

    def __init__(self, recipe: Recipe, workdir: Path, device: str, *, progress: Progress) -> None:
        self.recipe, self.workdir, self.device, self.progress = recipe, workdir, device, progress
        self.tokenizer: CLIPTokenizer = build_tokenizer()

    @cached_property
    def drawings(self) -> Drawings:
        """The captioned scenes."""
        return draw(
            "drawings",
            lambda index: sample_scene(self.recipe.seed, index),
            self.recipe.drawings,
            self.workdir / "drawings.npz",
            self.progress,
        )

    def _balanced(self, name: str, count: int, start: int) -> Drawings:
        return draw(
            name,
            lambda index: balanced_scene(self.recipe.seed, start + index),
            count,
            self.workdir / f"{name.replace(' ', '_')}.npz",
            self.progress,
        )

    @cached_property
    def faces(self) -> Drawings:
        """Balanced scenes that the classifiers train on."""
        return self._balanced("balanced drawings", self.recipe.faces, FACES_FROM)

    @cached_property
    def held_out(self) -> Drawings:
        """Balanced scenes that nothing trains on."""
        return self._balanced("held-out drawings", self.recipe.held_out, HELD_OUT_FROM)

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The finished autoencoder."""
        vae = AutoencoderKL.from_pretrained(self.workdir / "vae", dtype=torch.float32)
        vae.register_to_config(_name_or_path="vae")  # the pipeline's config would name this machine's folder
        return vae.to(self.device).requires_grad_(False)

    @cached_property
    def versions(self) -> Tensor:
        """The first drawings, as drawn and as they come out of the autoencoder: uint8 [2, N, 3, 64, 64]."""
        file = self.workdir / "passed.safetensors"
        if not file.exists():
            images = self.drawings.images(slice(self.recipe.passed))
            with atomic_path(file) as path:
                save_file({"pixels": self.passed(images)}, path)
        passed = load_file(file)["pixels"]
        return torch.stack([self.drawings.pixels[: len(passed)], passed])

    def passed(self, images: Tensor) -> Tensor:
        """Pictures as they come out of the autoencoder: uint8 of the shape of `images`, which are in 0-1."""
        return (reconstruct(self.vae, images) * 255).round().to(torch.uint8)

    @cached_property
    def texts(self) -> Tensor:
        """Tokens of what each drawing may be called."""
        return caption_tokens(self.tokenizer, self.drawings.scenes)

    @cached_property
    def captioned(self) -> Captioned:
        """What the U-Net learns from."""
        file = self.workdir / "latents.safetensors"
        if not file.exists():
            both = torch.stack([encode(self.vae, self.drawings, mirrored=mirrored) for mirrored in (False, True)])
            with atomic_path(file) as path:
                save_file({"latents": (both * self.vae.config.scaling_factor).half().contiguous()}, path)
        return Captioned(load_file(file)["latents"], head_weights(self.drawings.boxes), self.texts)

    def pipeline(self, part: str) -> StableDiffusionPipeline:
        """The pipeline of a stage, in float32."""
        return StableDiffusionPipeline.from_pretrained(self.workdir / part, dtype=torch.float32).to(self.device)

    @cached_property
    def generated(self) -> Tensor:
        """Pictures that the finished pipeline generates of the balanced scenes, uint8 [N, 3, 64, 64].

        They are what the classifiers will judge. Drawings alone teach two classifiers to rely on different signs of
        the same attribute, which in drawings agree and in generated pictures need not.
        """
        return self._generated("generated", [full_caption(scene) for scene in self.faces.scenes], FACES_FROM)

    @cached_property
    def unnamed(self) -> Tensor:
        """Pictures that the finished pipeline generates of captions without attribute words, uint8 [N, 3, 64, 64].

        Many of their faces lie between two classes, where only the panel says on which side.
        """
        seed = self.recipe.seed
        captions = [balanced_scene(seed, UNNAMED_FROM + index).caption for index in range(self.recipe.unnamed)]
        return self._generated("unnamed", captions, UNNAMED_FROM)

    def _generated(self, name: str, captions: list[str], first: int) -> Tensor:
        file = self.workdir / f"{name}.safetensors"
        if not file.exists():
            generate = Generator(self.pipeline("refined"), self.progress, noise=first, steps=FACES_STEPS)
            images = generate(f"generating faces ({name})", captions)
            with atomic_path(file) as path:
                save_file({"pixels": (images * 255).round().to(torch.uint8)}, path)
        return load_file(file)["pixels"]
