"""What every mitigation method can do: be checked, be prepared on a loaded model, and turn noise into latents.

A method is settings alone, so a config can describe it; what it changes in a model lasts as long as its `prepare`
block. All methods are given the same noise, so their images can be compared one by one.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from fairlit.diffusion.settings import check_guidance_scale
from fairlit.errors import ConfigurationError, Problems

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from fairlit.diffusion import Backbone, Chain
    from fairlit.diffusion.families.family import Family
    from fairlit.functional.alignment.target_distribution import TargetDistribution
    from fairlit.results.edits import EditRecord

Need = Literal["training", "classifier", "words"]
"""What a user must have before a method can be used: a finetuning run, a classifier of faces, words for classes."""


@dataclass(frozen=True)
class SamplingPlan:
    """How images are sampled, the same for all methods of a comparison.

    Attributes:
        steps: number of solver steps.
        guidance_scale: scale of classifier-free guidance.
        batch_size: maximum number of images that go through the model together; it changes memory and speed, not
            images.
    """

    steps: int = 30
    guidance_scale: float = 7.5
    batch_size: int = 16

    def __post_init__(self) -> None:
        with Problems("sampling") as problems:
            problems.at_least("steps", self.steps, 1)
            check_guidance_scale(self.guidance_scale, problems)
            problems.at_least("batch_size", self.batch_size, 1)

    def chain(self, backbone: Backbone, guidance_scale: float | None = None) -> Chain:
        """Return the sampling chain of a model by this plan.

        Args:
            backbone: loaded model with the scheduler to sample with.
            guidance_scale: scale to use instead of the plan's; None: the plan's.

        Raises:
            ConfigurationError: the scheduler is not linear, see `functional.sampling.solver.linear_solver`.
        """
        from fairlit.diffusion import Chain
        from fairlit.functional.sampling.solver import linear_solver

        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        return Chain(backbone, linear_solver(backbone.scheduler, self.steps), scale)


@dataclass(frozen=True, kw_only=True)
class Wording:
    """A text that a method gives to the text encoder, which reads its beginning alone where it is long.

    Attributes:
        text: the whole text.
        needed: beginning of it that has to be read, lest the method does nothing; empty: none.
    """

    text: str
    needed: str = ""


@dataclass(frozen=True)
class Chunk:
    """Some of the images of one prompt, and their positions in the whole set of its images.

    What a method does to an image depends on its position and the size of the set, never on the chunk that it comes
    in: so the target's shares hold over the set, and batch sizes do not change images.

    Attributes:
        prompt: text of the prompt.
        positions: places of the n images in the set, each in 0..count - 1.
        count: number of images in the whole set.

    Raises:
        ConfigurationError: a position outside the set, or one twice.
    """

    prompt: str
    positions: Sequence[int]
    count: int

    def __post_init__(self) -> None:
        outside = [position for position in self.positions if not 0 <= position < self.count]
        with Problems("chunk") as problems:
            if outside:
                problems.add(
                    f"positions: got {outside[0]}; expected 0..{self.count - 1}; raise count, or number from 0"
                )
            if len(set(self.positions)) < len(self.positions):
                problems.add(
                    f"positions: got {list(self.positions)}; expected each once; give every image its own position"
                )

    @classmethod
    def whole(cls, prompt: str, count: int) -> Chunk:
        """Return all images of a prompt at once."""
        return cls(prompt, range(count), count)


ImageEditor: TypeAlias = "Callable[[Chunk, Tensor], tuple[Tensor, list[list[EditRecord]]]]"
"""(a chunk of n images, these images uint8 [n, 3, H, W]) -> the images after editing, and the edits of each."""

Sampler: TypeAlias = "Callable[[Chunk, Tensor], Tensor]"
"""(a chunk of n images, their noise on the model's device) -> final latents [n, C, h, w], no gradient.

The noise is unit noise [n, C, h, w], or [n, 1 + F, C, h, w] where the solver draws fresh noise, see
`functional.sampling.solver.LinearSolver.draws`.
"""

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""What JSON can hold."""


class Method(ABC):
    """A way to bring the people that a model draws closer to a target distribution, or, to compare with, none.

    A subclass gives a `name`, keeps its constructor's arguments under their own names, and implements `prepare`.

    Attributes:
        name: what files call the method.
        needs: what a user must have; empty: nothing but the model.
        needs_target: whether the method works towards a target, and so has to be given one.
        needs_full_batch: whether it moves the images of a prompt together, and so has to be given all in one chunk
            (`Chunk.whole`).
        is_unchanged_model: whether it leaves the model as it is, so that other methods are compared with it.
        needs_one_text_encoder: whether it works on models that read prompts through one text encoder alone.
        takes_adaptor: whether it samples with the adaptor of a finetuning run, given as `path`.
        former_arguments: constructor arguments that only old configs use; they are no settings.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[Need, ...]] = ()
    needs_target: ClassVar[bool] = True
    needs_full_batch: ClassVar[bool] = False
    is_unchanged_model: ClassVar[bool] = False
    needs_one_text_encoder: ClassVar[bool] = False
    takes_adaptor: ClassVar[bool] = False
    former_arguments: ClassVar[tuple[str, ...]] = ()

    @property
    def display_name(self) -> str:
        """What reports call the method."""
        return self.name

    def settings(self) -> dict[str, Plain]:
        """Return what fixes the method, as plain data that is equal in every process.

        It is written with every image: a run that was stopped goes on only with equal settings. By default it holds
        the constructor's arguments, each read from the attribute of its name. Override it where arguments are objects.

        Raises:
            ConfigurationError: an argument is not plain data, or not kept under its name.
        """
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = inspect.signature(type(self)).parameters.values()
        names = [parameter.name for parameter in parameters if parameter.kind in kinds]
        return {name: self._setting(name) for name in names if name not in self.former_arguments}

    def describe(self) -> dict[str, Plain]:
        """Return name and settings as plain data: methods of equal descriptions make equal images."""
        return {"name": self.name, **self.settings()}

    def digests(self) -> dict[str, str]:
        """Return digests of the models that the settings name: what lies at a path may change, and images with it.

        They are noted beside the settings. By default there are none.

        Raises:
            CheckpointError: a model is missing or damaged.
            ConfigurationError: a model cannot be opened.
        """
        return {}

    def _setting(self, name: str) -> Plain:
        owner = type(self).__name__
        if not hasattr(self, name):
            raise ConfigurationError(
                f"{owner}: the argument {name!r} is not kept in an attribute of its name, so images cannot tell how "
                f"they were made; keep it, or override settings() of {owner}"
            )
        value = getattr(self, name)
        try:
            return as_plain(value)
        except TypeError as error:
            raise ConfigurationError(
                f"{owner}: {name}: got {error}; expected plain data (None, bool, number, text, lists, mappings or "
                f"dataclasses of these), equal in every process; override settings() of {owner} to describe it"
            ) from error

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:  # noqa: B027  most have none
        """Note settings that do not fit a target, and missing files, without loading any weights.

        Args:
            target: distribution to work towards; None where the method needs none.
            problems: collector of the messages.
        """

    def check_family(self, family: Family, problems: Problems) -> None:
        """Note a model of a family that the method does not work on.

        Args:
            family: family of the model.
            problems: collector of the messages.
        """
        if self.needs_one_text_encoder and len(family.tokenizers) > 1:
            problems.add(
                f"method: got {self.name!r} for {family.title}, which has {len(family.tokenizers)} text encoders; "
                "expected a model with one; take another method or model"
            )

    def check_scheduler(self, scheduler: Any, steps: int, problems: Problems) -> None:  # noqa: B027  most take any
        """Note a scheduler that samples, but that the method does not work with.

        Args:
            scheduler: a diffusers scheduler.
            steps: number of solver steps.
            problems: collector of the messages.
        """

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the texts that the model reads for a prompt; a method that adds words says how far they reach.

        Args:
            prompt: prompt as it was given.
            target: distribution to work towards; None where the method needs none.
        """
        return [Wording(text=prompt)]

    def dealt_classes(self, chunk: Chunk, target: TargetDistribution | None) -> list[dict[str, str]] | None:
        """Return the classes that each image is asked to show, as attribute -> class; None: the method deals none out.

        They are noted beside the settings: `fairlit classifier crop` takes them for labels.

        Args:
            chunk: images of one prompt.
            target: distribution to work towards; None where the method needs none.
        """
        return None

    @abstractmethod
    def prepare(
        self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None
    ) -> AbstractContextManager[Sampler]:
        """Ready a loaded model: attach what is to be attached, edit what is to be edited.

        Args:
            backbone: loaded model; after the block it is again what it was before, bit for bit. One method at a time.
            plan: how to sample.
            target: distribution that the people in the images are to follow; None only where `needs_target` is False.
                Prompts with another target want another block.

        Returns:
            A context manager that gives the sampler, which may be called any number of times inside the block.

        Raises:
            ConfigurationError: the settings do not fit the model or the target, or a target is missing.
            CheckpointError: a file is missing, damaged or made for another model.
        """

    def image_editor(
        self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None
    ) -> ImageEditor | None:
        """Return what edits the images once they are finished; None: nothing does.

        Args:
            backbone: loaded model, inside the block of `prepare`.
            plan: how to sample.
            target: distribution as given to `prepare`.
        """
        return None

    def required(self, target: TargetDistribution | None) -> TargetDistribution:
        """Return the target of a method that needs one.

        Raises:
            ConfigurationError: there is none.
        """
        if target is None:
            raise ConfigurationError(
                f"{self.name}: target: got none; expected a distribution to work towards; give --target"
            )
        return target


def as_plain(value: Any) -> Plain:
    """Return a value as JSON can hold it: dataclasses and mappings as dictionaries, sequences as lists.

    Args:
        value: plain data, paths, or dataclasses, mappings and sequences of it.

    Raises:
        TypeError: something in it is none of these; the message shows it.

    Example:
        >>> as_plain({2: (1.5, None)})
        {'2': [1.5, None]}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    raise TypeError(f"{value!r}, a {type(value).__name__}")


def check_wordings(
    method: Method,
    prompts: Mapping[str, TargetDistribution | None],
    tokenizer: PreTrainedTokenizerBase,
    problems: Problems,
) -> None:
    """Note prompts so long that the words which a method adds are cut off, so that it does nothing.

    Args:
        method: checked method.
        prompts: prompt -> target of its images.
        tokenizer: tokenizer of the model.
        problems: collector of the messages.
    """
    from fairlit.diffusion.text_length import cut_tokens, shown

    found = {}
    for prompt, target in prompts.items():
        cut = max(cut_tokens(tokenizer, wording.needed) for wording in method.wordings(prompt, target))
        if cut:
            found[prompt] = cut
    if found:
        prompt, cut = next(iter(found.items()))
        others = f" ({len(found) - 1} others too)" if len(found) > 1 else ""
        problems.add(
            f"prompts: got {shown(prompt)!r}{others}, which is so long that words of the method {method.name!r} are "
            f"{cut} tokens beyond what the text encoder reads; expected room for them; shorten the prompt, or have the "
            "method put its words further to the front"
        )


def require_full_batch(name: str, chunk: Chunk) -> None:
    """Raise `ValueError` where a method with `needs_full_batch` is given part of a set, or a set out of order."""
    if list(chunk.positions) != list(range(chunk.count)):
        raise ValueError(f"{name} moves the images of a prompt together: give all {chunk.count} in one chunk, in order")
