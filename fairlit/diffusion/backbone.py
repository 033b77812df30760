"""The text-to-image model that is finetuned: a stock pipeline, taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from fairlit.diffusion.chain import EncodedPrompts
from fairlit.diffusion.families.lookup import family_in, family_of
from fairlit.diffusion.loading import load_pipeline
from fairlit.diffusion.schedulers import with_solver
from fairlit.diffusion.settings import ImageSize, PromptPadding, Solver, both_sides, check_pipeline
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import Problems


class Backbone(nn.Module):
    """A frozen latent diffusion model: prompts to tensors, states to predictions, latents to images.

    Its parts have the names that they have in the stock pipeline.

    Args:
        pipeline: a loaded pipeline; its modules are used as they are, frozen and in eval mode (no dropout, so that
            a replayed call repeats the first one).
        name: where it came from: folder, single file or hub id; written into the adaptors' metadata.
        prompt_padding: pad prompts to the ``longest`` of a batch, as Shen et al. do, or to the tokenizer's
            ``max_length``, as stock diffusers does.

    Raises:
        ConfigurationError: the pipeline is of a family that fairlit does not train and sample.
    """

    text_encoder: Any
    unet: Any
    vae: Any
    tokenizer: Any
    scheduler: Any

    def __init__(self, pipeline: DiffusionPipeline, name: str = "", prompt_padding: PromptPadding = "longest") -> None:
        super().__init__()
        self.family = family_of(pipeline)
        for part in (*self.family.parts, "scheduler"):
            setattr(self, part, getattr(pipeline, part))
        self.config = pipeline.config
        self.name = name
        self.prompt_padding = prompt_padding
        self.requires_grad_(False).eval()

    @classmethod
    def load(
        cls,
        path: str | Path,
        prompt_padding: PromptPadding = "longest",
        dtype: torch.dtype = torch.float32,
        solver: Solver = "pipeline",
    ) -> Backbone:
        """Loads a pipeline folder, or a single file, or a model from the hub.

        Args:
            path: folder, single file (see `fairlit.diffusion.single_files`) or hub id.
            prompt_padding: see the class.
            dtype: precision of the weights.
            solver: what to sample with, on the pipeline's noise schedule; `pipeline`: the scheduler that it came with,
                which is PNDM for Stable Diffusion v1-5.

        Raises:
            ConfigurationError: the folder is incomplete (see `check_pipeline`), or a config in it is damaged; or the
                model is of a family that does not work.
            CheckpointError: weights are missing, of another shape, or not finite.
        """
        with Problems("backbone") as problems:
            check_pipeline(path, problems)
        with torch.device("cpu"):  # schedulers compute with numpy, whatever default device Lightning has set
            pipeline = load_pipeline(path, dtype)
            pipeline.scheduler = with_solver(pipeline.scheduler, solver)
        return cls(pipeline, str(path), prompt_padding)

    @classmethod
    def skeleton(
        cls,
        folder: Path,
        prompt_padding: PromptPadding = "longest",
        solver: Solver = "pipeline",
    ) -> Backbone:
        """The model of a pipeline folder without its weights: parameters on torch's meta device.

        Args:
            folder: checked by `check_pipeline`.
            prompt_padding: see the class.
            solver: see `load`.
        """
        pipeline = open_skeleton(folder, tuple(family_in(folder, "backbone").weights), allocate=False)
        pipeline.scheduler = with_solver(pipeline.scheduler, solver)
        return cls(pipeline, str(folder), prompt_padding)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode whatever Lightning asks for: dropout would make replayed calls differ."""
        return super().train(False)

    @property
    def denoiser(self) -> Any:
        """The part that is evaluated once a solver step."""
        return getattr(self, self.family.denoiser)

    @property
    def text_encoders(self) -> dict[str, Any]:
        """The parts that read prompts, by name."""
        return {name: getattr(self, name) for name in self.family.tokenizers}

    @property
    def device(self) -> torch.device:
        """Where the denoiser lives."""
        return next(self.denoiser.parameters()).device

    def latent_shape(self, image_size: ImageSize | None = None) -> tuple[int, int, int]:
        """Shape (channels, height, width) of the latent of an image of `image_size` pixels (default: native)."""
        if image_size is None:
            height, width = both_sides(self.denoiser.config.sample_size)
        else:
            height, width = (side // self.vae_scale for side in both_sides(image_size))
        return (self.denoiser.config.in_channels, height, width)

    @property
    def vae_scale(self) -> int:
        """Pixels per latent cell along one side."""
        return self.family.vae_scale(self)

    def encode(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Embeds prompts, differentiable in what is trainable in the text encoders.

        Args:
            prompts: P texts; longer ones are cut at the tokenizer's maximum, as in stock diffusers.

        Returns:
            Tensors [P, ...] by the names that the stock pipeline gives them.
        """
        return self.family.embed(self, prompts, self.family.tokenize(self, prompts, self.prompt_padding))

    def encode_mixed(self, prompts: Sequence[str], others: Sequence[str], weight: float) -> dict[str, Tensor]:
        """Embeds what lies between prompts in the space of token embeddings, token by token, as `encode` does.

        Mixup of inputs (Zhang et al., ICLR 2018) at the first place where texts are continuous: the text encoders read
        the weighted mean of the two prompts' token embeddings.

        Args:
            prompts: P texts.
            others: the other text for each of them.
            weight: weight of the others, in [0, 1].

        Returns:
            What `encode` does, with tokens for the longest of all texts.
        """
        both = self.family.tokenize(self, [*prompts, *others], self.prompt_padding)
        with ExitStack() as stack:
            for name, ids in both.items():
                stack.enter_context(_mixing(self.text_encoders[name], ids[len(prompts) :], weight))
            return self.family.embed(self, prompts, {name: ids[: len(prompts)] for name, ids in both.items()})

    def forward(self, states: Tensor, timesteps: Tensor, prompts: EncodedPrompts) -> Tensor:
        """One call of the denoiser.

        Args:
            states: [M, C, h, w], scaled as the model expects.
            timesteps: [M], one for each state.
            prompts: tensors [M, ...], rows of what `encode` gave.

        Returns:
            The model's output [M, C, h, w]: noise, velocity or sample, as it was trained.
        """
        return self.family.denoise(self, states, timesteps, prompts)

    def decode(self, latents: Tensor) -> Tensor:
        """Turns latents [N, C, h, w] into images [N, 3, H, W] in [0, 1], differentiable."""
        return self.decode_unclamped(latents).clamp(0, 1)

    def decode_unclamped(self, latents: Tensor) -> Tensor:
        """Decode as `decode` does; what the autoencoder gives beyond [0, 1], infinity among it, is still there."""
        return self.family.decode(self, latents)

    def pipeline(self) -> DiffusionPipeline:
        """A stock pipeline around the very same modules (no copy)."""
        return self.family.pipeline(self)


@contextmanager
def _mixing(encoder: nn.Module, others: Tensor, weight: float) -> Iterator[None]:
    """Inside the block a text encoder reads means of its tokens' embeddings and of those of the ids `others` [P, L]."""

    def mix(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.lerp(module.forward(others), weight)

    handle = encoder.get_input_embeddings().register_forward_hook(mix)  # type: ignore[operator]
    try:
        yield
    finally:
        handle.remove()
