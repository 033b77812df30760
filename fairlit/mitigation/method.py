"""What every mitigation method can do: be checked, be prepared on a loaded model, and turn noise into latents.

A method is settings alone, so a config can describe it; what it changes in a model lasts as long as its `prepare`
block. All methods are given the same noise, so their images can be compared one by one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor

from fairlit.diffusion import Backbone, Chain, check_guidance_scale
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.solver import linear_solver

Need = Literal["training", "classifier", "words"]
"""What a user must have before a method can be used: a finetuning run, a classifier of faces, words for classes."""


@dataclass(frozen=True)
class SamplingPlan:
    """How images are sampled, the same for all methods of a comparison.

    Attributes:
        steps: solver steps.
        guidance_scale: of classifier-free guidance.
        batch_size: at most so many images go through the model at once; it changes memory and speed, not images.
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
        """The sampling chain of a model by this plan.

        Args:
            backbone: the model, with the scheduler that it is to be sampled with.
            guidance_scale: instead of the plan's own; None: that one.

        Raises:
            ConfigurationError: the scheduler is not linear, see `functional.sampling.solver.linear_solver`.
        """
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        return Chain(backbone, linear_solver(backbone.scheduler, self.steps), scale)


@dataclass(frozen=True)
class Chunk:
    """Some of the images of one prompt, and where they stand in the whole set of its images.

    What a method does to an image depends on its position and the size of the set, never on the chunk that it comes
    in: so the target's shares hold over the set, and batch sizes do not change images.

    Attributes:
        prompt: the text.
        positions: of the n images, each in 0..count - 1.
        count: size of the whole set.

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
                problems.add(f"positions: {outside[0]} is not in 0..{self.count - 1}; raise count, or number from 0")
            if len(set(self.positions)) < len(self.positions):
                problems.add("positions: one stands twice; give every image of the set a position of its own")

    @classmethod
    def whole(cls, prompt: str, count: int) -> Chunk:
        """All images of a prompt at once."""
        return cls(prompt, range(count), count)


ImageEditor: TypeAlias = Callable[[Chunk, Tensor], tuple[Tensor, list[dict[str, Any]]]]
"""(a chunk of n images, these images uint8 [n, 3, H, W]) -> the same, edited, and plain data to note with each."""

Sampler: TypeAlias = Callable[[Chunk, Tensor], Tensor]
"""(a chunk of n images, unit noise [n, C, h, w] on the model's device) -> final latents [n, C, h, w], no gradient."""


class Method(ABC):
    """A way to bring what a model draws closer to a target distribution, or, to compare with, none.

    Attributes:
        name: what reports call it.
        needs: what a user must have; empty: nothing but the model.
        whole_set: it moves the images of a prompt together, so it must be given them in one chunk (`Chunk.whole`).
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[Need, ...]] = ()
    whole_set: ClassVar[bool] = False

    def check(self, target: TargetDistribution, problems: Problems) -> None:  # noqa: B027  most have nothing to check
        """Notes what is wrong with the settings for this target, and missing files, without loading any weights."""

    @abstractmethod
    def prepare(
        self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution
    ) -> AbstractContextManager[Sampler]:
        """Readies a loaded model: attaches what is to be attached, edits what is to be edited.

        Args:
            backbone: the model; after the block it is again what it was before, bit for bit. One method at a time.
            plan: how to sample.
            target: what the people in the images shall follow. Prompts with another target want another block.

        Returns:
            A context manager that gives the sampler, which may be called any number of times inside the block.

        Raises:
            ConfigurationError: the settings do not fit the model or the target.
            CheckpointError: a file is missing, damaged or made for another model.
        """

    def image_editor(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> ImageEditor | None:
        """What is done to the images once they are finished; None: nothing.

        Args:
            backbone: the model, inside the block of `prepare`.
            plan: as for `prepare`.
            target: as for `prepare`.
        """
        return None


def require_whole_set(name: str, chunk: Chunk) -> None:
    """Raises `ValueError` where a method with `whole_set` is given part of a set, or a set out of order."""
    if list(chunk.positions) != list(range(chunk.count)):
        raise ValueError(f"{name} moves the images of a prompt together: give all {chunk.count} in one chunk, in order")
