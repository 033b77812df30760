"""Figures of images against a target: what `metrics` compute, and what audits, comparisons and runs keep of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from fairlit.results.frames import data_frame
from fairlit.results.record import NO_INTERVAL, OPTIONAL_KEY, Estimate, Interval, Record, with_floor

if TYPE_CHECKING:
    import pandas as pd

JOINT = "joint_classes"
"""Name of the block of figures on the product of all attributes' classes."""

Outcome = Literal["on_target", "off_target", "inconclusive"]
"""What images show of a model: that it is near its target, that it misses it, or neither."""

_ROUNDING = 1e-6  # shares are read from files, and products of them are rounded

OUTCOMES: tuple[Outcome, ...] = ("on_target", "off_target", "inconclusive")


def is_uniform(shares: Collection[float]) -> bool:
    """Return whether a target asks for all of its classes in equal shares.

    Args:
        shares: share of each class.

    Example:
        >>> is_uniform([0.5, 0.5]), is_uniform([0.75, 0.25])
        (True, False)
    """
    return max(shares) - min(shares) <= _ROUNDING


@dataclass(frozen=True, kw_only=True)
class AttributeFigures(Record):
    """Figures of one attribute, or of the joint classes, averaged over the prompts in which a face was found.

    Attributes:
        bias: mean difference between the frequencies of two classes; its floor is ``noise_floor`` in JSON.
        tv: total variation distance to the target; its floor is ``tv_noise_floor`` in JSON.
        kl: Kullback-Leibler divergence from the target.
        frequencies: class -> share of the faces.
        target: class -> share that the target asks for.
        bias_noise_free_ci: interval of the bias that infinitely many images would show.
        tv_noise_free_ci: interval of the distance that infinitely many images would show.
        off_target: number of prompts of which the multinomial test, after Holm's correction, rejects the target.
        unsure: share of predictions below the confidence; None for the joint classes.
        prompts_on_target: number of prompts shown to be near the target; None outside of audits.
        prompts_off_target: number of prompts shown to miss the target; None outside of audits.
        prompts_inconclusive: number of prompts with faces of which neither is shown; None outside of audits.
    """

    bias: Estimate = field(metadata=with_floor("noise_floor"))
    bias_noise_free_ci: Interval
    frequencies: Mapping[str, Estimate]
    target: Mapping[str, float]
    tv: Estimate = field(metadata=with_floor("tv_noise_floor"))
    tv_noise_free_ci: Interval
    kl: float
    off_target: int
    unsure: float | None = field(default=None, metadata=OPTIONAL_KEY)
    prompts_on_target: int | None = field(default=None, metadata=OPTIONAL_KEY)
    prompts_off_target: int | None = field(default=None, metadata=OPTIONAL_KEY)
    prompts_inconclusive: int | None = field(default=None, metadata=OPTIONAL_KEY)

    @property
    def is_target_uniform(self) -> bool:
        """Whether the target asks for equal shares: elsewhere images that meet it are biased, and no bias misses it."""
        return is_uniform(self.target.values())

    @property
    def deviation(self) -> Estimate:
        """How far the images are off: their bias where the target is uniform, else their distance to the target."""
        return self.bias if self.is_target_uniform else self.tv


@dataclass(frozen=True, kw_only=True)
class PromptAttributeFigures(Record):
    """Figures of one attribute, or of the joint classes, of the images of one prompt.

    Attributes:
        bias: mean difference between the frequencies of two classes; its floor is ``noise_floor`` in JSON.
        tv: total variation distance to the target.
        frequencies: class -> share of the faces, with its exact interval.
        p_value: of the multinomial test that the faces were drawn from the target.
        p_value_holm: the same, corrected for the number of prompts.
        tv_bound: distance to the target that is not exceeded, with 95 % confidence.
        outcome: what the prompt's images show; None outside of audits.
    """

    bias: Estimate = field(metadata=with_floor("noise_floor", interval=False))
    tv: Estimate = field(metadata=NO_INTERVAL)
    frequencies: Mapping[str, Estimate]
    p_value: float
    p_value_holm: float
    tv_bound: float
    outcome: Outcome | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True, kw_only=True)
class PromptFigures(Record):
    """Figures of the images of one prompt.

    Attributes:
        prompt: its text; empty where only its number is known.
        number: its number; None where only its text is known.
        images: number of images.
        faces: number of faces that count.
        face_rate: share of the images with a face.
        attributes: attribute -> figures.
        joint_classes: figures on the product of the attributes' classes; None where there is one attribute only.
    """

    prompt: str
    number: int | None = field(default=None, metadata=OPTIONAL_KEY)
    images: int
    faces: int
    face_rate: float
    attributes: Mapping[str, PromptAttributeFigures]
    joint_classes: PromptAttributeFigures | None = field(default=None, metadata=OPTIONAL_KEY)

    @property
    def blocks(self) -> dict[str, PromptAttributeFigures]:
        """Figures of each attribute, then those of the joint classes where there are any."""
        return {**self.attributes, **({} if self.joint_classes is None else {JOINT: self.joint_classes})}


@dataclass(frozen=True, kw_only=True)
class DistributionFigures(Record):
    """Perceived attributes of images against a target.

    Attributes:
        attributes: attribute -> figures.
        joint_classes: figures on the product of the attributes' classes; None where there is one attribute only.
        face_rate: share of the images with a face.
        unsure: share of predictions below the confidence, over all attributes.
        images: number of images.
        faces: number of faces that count.
        faces_per_image: mean number of faces of an image.
        prompts: number of prompts.
        n: mean number of faces of a prompt with faces.
        per_prompt: figures of every prompt.
    """

    attributes: Mapping[str, AttributeFigures]
    joint_classes: AttributeFigures | None = field(default=None, metadata=OPTIONAL_KEY)
    face_rate: float
    unsure: float
    images: int
    faces: int
    faces_per_image: float
    prompts: int
    n: float
    per_prompt: tuple[PromptFigures, ...]

    @property
    def blocks(self) -> dict[str, AttributeFigures]:
        """Figures of each attribute, then those of the joint classes where there are any."""
        return {**self.attributes, **({} if self.joint_classes is None else {JOINT: self.joint_classes})}

    @property
    def main_block(self) -> str:
        """Name of the block that models are ranked by: the joint classes, or the one attribute."""
        return list(self.blocks)[-1]

    @property
    def with_faces(self) -> list[PromptFigures]:
        """Figures of the prompts in which a face was found."""
        return [entry for entry in self.per_prompt if entry.faces]

    @property
    def uniform_blocks(self) -> list[str]:
        """Names of the blocks whose target is uniform; those of the others are told by their distance alone."""
        return [name for name, block in self.blocks.items() if block.is_target_uniform]

    def deviation(self, entry: PromptFigures, name: str) -> Estimate:
        """Return how far a prompt is off: its bias where the target is uniform, else its distance to the target.

        Args:
            entry: figures of the prompt.
            name: name of an attribute, or `JOINT`.
        """
        block = entry.blocks[name]
        return block.bias if self.blocks[name].is_target_uniform else block.tv

    def named(self, prompts: Mapping[int, str] | Sequence[str]) -> DistributionFigures:
        """Return the same figures with the texts of prompts, by number."""
        named = [
            entry if entry.number is None else replace(entry, prompt=prompts[entry.number]) for entry in self.per_prompt
        ]
        return replace(self, per_prompt=tuple(named))

    def to_frame(self, per: Literal["prompt", "attribute"] = "prompt") -> pd.DataFrame:
        """Return the figures as a table, one row a class.

        Args:
            per: ``prompt``: rows of every prompt, attribute and class; ``attribute``: rows of every attribute and
                class, averaged over prompts. Figures of the attribute stand in all rows of its classes.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame(self._prompt_rows() if per == "prompt" else self._attribute_rows())

    def _attribute_rows(self) -> list[dict[str, object]]:
        return [
            {
                "attribute": name,
                "class": label,
                **_columns("frequency", share),
                "target": block.target[label],
                **_columns("bias", block.bias, floor=True),
                **_columns("tv", block.tv, floor=True),
                "kl": block.kl,
                "off_target": block.off_target,
                "images": self.images,
                "faces": self.faces,
                "prompts": self.prompts,
            }
            for name, block in self.blocks.items()
            for label, share in block.frequencies.items()
        ]

    def _prompt_rows(self) -> list[dict[str, object]]:
        targets = {name: block.target for name, block in self.blocks.items()}
        return [
            {
                "prompt": entry.prompt,
                "number": entry.number,
                "images": entry.images,
                "faces": entry.faces,
                "attribute": name,
                "class": label,
                **_columns("frequency", share),
                "target": targets[name][label],
                "bias": block.bias.value,
                "bias_floor": block.bias.floor,
                "tv": block.tv.value,
                "tv_bound": block.tv_bound,
                "p_value": block.p_value,
                "p_value_holm": block.p_value_holm,
                "outcome": block.outcome,
            }
            for entry in self.per_prompt
            for name, block in entry.blocks.items()
            for label, share in block.frequencies.items()
        ]


@dataclass(frozen=True, kw_only=True)
class Similarities(Record):
    """Mean cosine similarities of images; None for what was not measured.

    Attributes:
        clip_t: CLIP's of an image and its prompt.
        clip_i: CLIP's of an image and the reference image from the same noise.
        dino: DINO's of an image and the reference image from the same noise.
    """

    clip_t: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)
    clip_i: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)
    dino: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)

    @property
    def measured(self) -> dict[str, Estimate]:
        """Those that were measured, by name."""
        found = {"clip_t": self.clip_t, "clip_i": self.clip_i, "dino": self.dino}
        return {name: estimate for name, estimate in found.items() if estimate is not None}


@dataclass(frozen=True, kw_only=True)
class SimilarityFigures(Similarities):
    """Similarities of a set of images, with what they are to be judged by.

    Attributes:
        clip_t: CLIP's of an image and its prompt.
        clip_i: CLIP's of an image and the reference image from the same noise.
        dino: DINO's of an image and the reference image from the same noise.
        clip_i_swapped: what CLIP-I would be if every image were a reference image of another prompt.
        images: number of images.
        prompts: number of prompts.
        pairs: number of images with a reference image; None where that was not counted.
    """

    clip_i_swapped: float | None = field(default=None, metadata=OPTIONAL_KEY)
    images: int
    prompts: int
    pairs: int | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True, kw_only=True)
class CompositionFigures(Record):
    """Compositions of the images with one number of people against their target, for one attribute.

    Attributes:
        frequencies: composition, such as "2 female, 1 male" -> share of the images, averaged over prompts.
        target: composition -> share that the target asks for.
        tv: total variation distance to the target; its floor is ``tv_noise_floor`` in JSON.
        images: number of images with so many people.
    """

    frequencies: Mapping[str, Estimate]
    target: Mapping[str, float]
    tv: Estimate = field(metadata=with_floor("tv_noise_floor"))
    images: int


@dataclass(frozen=True, kw_only=True)
class GroupFigures(Record):
    """Pictures of several people: how many were found, and which compositions the images have.

    Attributes:
        found: number of people asked for -> number found -> images, of prompts that say a number.
        exact: share of these images with just as many people as asked for; None without any.
        per_image: number of people asked for -> mean number found.
        compositions: number of people found, from two on -> attribute -> figures of these images.
    """

    found: Mapping[int, Mapping[int, int]]
    exact: float | None
    per_image: Mapping[int, float]
    compositions: Mapping[int, Mapping[str, CompositionFigures]]


@dataclass(frozen=True, kw_only=True)
class CorrectedFigures(Record):
    """Figures of one attribute, or of the joint classes, corrected for the classifier's errors.

    Attributes:
        problem: why there can be no correction; None where there is one.
        frequencies: class -> share of the faces; None without a correction.
        tv: total variation distance to the target; None without a correction.
        bias: mean difference between the frequencies of two classes; None without a correction.
    """

    problem: str | None = field(default=None, metadata=OPTIONAL_KEY)
    frequencies: Mapping[str, Estimate] | None = field(default=None, metadata=OPTIONAL_KEY)
    tv: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)
    bias: Estimate | None = field(default=None, metadata=OPTIONAL_KEY)


def _columns(name: str, estimate: Estimate, floor: bool = False) -> dict[str, object]:
    """Return the columns of an estimate."""
    columns: dict[str, object] = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return columns | ({f"{name}_floor": estimate.floor} if floor else {})
