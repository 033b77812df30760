"""What every family of text-to-image models tells of itself, so that one loop samples and trains all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from torch import Tensor

    from fairlit.diffusion.chain import EncodedPrompts
    from fairlit.diffusion.settings import PromptPadding
    from fairlit.errors import Problems


@dataclass(frozen=True)
class Part:
    """A part of a stock pipeline, which lies in a folder of its own.

    Attributes:
        classes: classes that the part may be of.
        weights: name of the file of its weights without variant and ending; None: it has none.
    """

    classes: tuple[str, ...]
    weights: str | None = None


class Family(ABC):
    """Facts about stock pipelines of one kind, and pure functions over their parts.

    The functions take `parts`: a stock pipeline, or a `Backbone`, which has the parts under the same names. Modules of
    this package import neither torch nor diffusers before a function is called, since settings are checked with them.

    Attributes:
        title: what people call the family.
        pipelines: classes of stock pipelines that are made of its parts, as model_index.json names them; the first one
            makes images of text.
        inpainting: class of the stock pipeline that makes part of an image anew with the same weights.
        parts: parts by name, without the scheduler.
        denoiser: name of the part that is evaluated once a solver step.
        tokenizers: text encoders by name, and the tokenizer that each reads texts through.
        side_multiple: number of pixels that sides of images are multiples of.
        single_file: parts with weights by name, and what the names of their tensors begin with in a single file.
        absent: what constructors of the stock pipelines take for parts that fairlit goes without.
        index_settings: settings that model_index.json holds beside the parts, and that constructors take.
    """

    title: ClassVar[str]
    pipelines: ClassVar[tuple[str, ...]]
    inpainting: ClassVar[str]
    parts: ClassVar[Mapping[str, Part]]
    denoiser: ClassVar[str]
    tokenizers: ClassVar[Mapping[str, str]]
    side_multiple: ClassVar[int]
    single_file: ClassVar[Mapping[str, str]]
    absent: ClassVar[Mapping[str, Any]]
    index_settings: ClassVar[tuple[str, ...]] = ()

    @property
    def weights(self) -> dict[str, str]:
        """Parts with weights, and the names of their files without variant and ending."""
        return {name: part.weights for name, part in self.parts.items() if part.weights is not None}

    @abstractmethod
    def check_configs(self, folder: Path, problems: Problems, subject: str) -> None:
        """Note what the configs of the parts ask for that the family does not have, and parts that do not fit.

        Args:
            folder: folder of a pipeline with all of its parts.
            problems: collector of the messages.
            subject: name of the parameter, begins every message.
        """

    def tokenize(self, parts: Any, texts: Sequence[str], padding: PromptPadding) -> dict[str, Tensor]:
        """Return the token ids [P, L] that each text encoder reads, by its name.

        Args:
            parts: the model.
            texts: P texts; longer ones are cut at the tokenizer's maximum, as in stock diffusers.
            padding: length to which they are padded.
        """
        ids = {}
        for encoder, name in self.tokenizers.items():
            tokenizer = getattr(parts, name)
            tokens = tokenizer(
                list(texts),
                padding=padding,
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            )
            ids[encoder] = tokens.input_ids.to(getattr(parts, encoder).device)
        return ids

    @abstractmethod
    def embed(self, parts: Any, texts: Sequence[str], ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the denoiser reads of texts, differentiable in what is trainable in the text encoders.

        Args:
            parts: the model.
            texts: P texts; the empty one is what guidance leads away from.
            ids: their tokens, see `tokenize`.

        Returns:
            Tensors [P, ...], by the names that the stock pipeline gives them.
        """

    @abstractmethod
    def denoise(self, parts: Any, states: Tensor, timesteps: Tensor, prompts: EncodedPrompts) -> Tensor:
        """Evaluate the denoiser.

        Args:
            parts: the model.
            states: [M, C, h, w], scaled as the model expects.
            timesteps: [M], one for each state.
            prompts: tensors [M, ...], rows of what `embed` gave.

        Returns:
            Its output [M, C, h, w]: noise, velocity or sample, as it was trained.
        """

    def unread(self, parts: Any) -> dict[str, str]:
        """Return layers of text encoders whose output nothing reads, so that an update of them would never learn.

        Args:
            parts: the model.

        Returns:
            Text encoders by name, and the end of the layer's name; empty where all layers are read.
        """
        return {}

    def decode(self, parts: Any, latents: Tensor) -> Tensor:
        """Return images [N, 3, H, W], from 0 to 1 but for overshoot, of final latents [N, C, h, w]; differentiable."""
        weight = next(parts.vae.parameters())
        scaled = latents.to(weight.dtype) / parts.vae.config.scaling_factor
        decoded: Tensor = parts.vae.decode(scaled, return_dict=False)[0]
        return decoded.to(latents.dtype) / 2 + 0.5

    def vae_scale(self, parts: Any) -> int:
        """Return the pixels per cell of a latent along one side."""
        blocks: Sequence[int] = parts.vae.config.block_out_channels
        return 2 ** (len(blocks) - 1)

    def pipeline(self, parts: Any, **replaced: Any) -> DiffusionPipeline:
        """Return the stock text-to-image pipeline around the very same parts (no copy).

        Args:
            parts: the model.
            **replaced: parts to take instead, by name; the scheduler is one.
        """
        import diffusers

        own = {name: getattr(parts, name) for name in (*self.parts, "scheduler") if name not in replaced}
        made: DiffusionPipeline = getattr(diffusers, self.pipelines[0])(**own, **replaced, **self.settings(parts))
        return made

    def inpainting_pipeline(self, parts: Any, scheduler: Any) -> Any:
        """Return the stock inpainting pipeline around the very same parts, but with a scheduler of its own."""
        import diffusers

        own = {name: getattr(parts, name) for name in self.parts if name != self.denoiser}
        # The denoiser comes afterwards: the constructor compares its `sample_size` with a number, and it may be two.
        made = getattr(diffusers, self.inpainting)(
            **own, **{self.denoiser: None}, scheduler=scheduler, **self.settings(parts)
        )
        made.register_modules(**{self.denoiser: getattr(parts, self.denoiser)})
        return made

    def precision(self, part: str, config: Mapping[str, Any], dtype: torch.dtype) -> torch.dtype:
        """Return the precision that a part is loaded in.

        Args:
            part: name of the part.
            config: its config.
            dtype: precision that is asked for.
        """
        return dtype

    def settings(self, parts: Any) -> dict[str, Any]:
        """Return what the constructors of the stock pipelines take beside the parts."""
        return {**self.absent, **{name: parts.config[name] for name in self.index_settings}}
