"""What is to be generated: prompts, images of each, how, and where each image goes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlit.data.prompts.families import Prompt
from fairlit.diffusion.pipeline_digest import pipeline_digest
from fairlit.diffusion.schedulers import check_sampling
from fairlit.diffusion.settings import (
    ImageSize,
    Precision,
    PromptPadding,
    Solver,
    check_image_size,
    check_pipeline,
    family_here,
)
from fairlit.diffusion.text_length import open_tokenizer, warn_of_cut_texts
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation.former_parameters import current_parameters
from fairlit.io.digests import fairlit_version
from fairlit.io.output_places import check_writable
from fairlit.io.provenance import DIGESTS, made_otherwise
from fairlit.mitigation import Chunk, Method, NoMitigation, SamplingPlan
from fairlit.mitigation.method import as_plain, check_wordings
from fairlit.pictures.files import is_torn_png, read_parameters
from fairlit.pictures.manifest import folder_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NO_SETTINGS = {"version", "edits", "dealt_classes"}
"""Parameters of an image that do not decide it: `edits` says what a method did to it, and `dealt_classes` what it asked
for, which follows from the others."""

_TEST_STREAM = 2  # of noise keys: the noise of `fairlit test` and `fairlit predict` for the same prompts and seed


@dataclass(frozen=True)
class PlannedImage:
    """One image that shall be there in the end.

    Attributes:
        file: relative to the folder of the plan.
        prompt: what is asked for.
        position: which of the prompt's images, from 0.
        parameters: everything that it depends on, as plain data; written into the file and into the manifest.
    """

    file: str
    prompt: Prompt
    position: int
    parameters: dict[str, Any]

    @property
    def noise_key(self) -> tuple[int, ...]:
        """Key of its noise, see `functional.sampling.noise`."""
        return tuple(self.parameters["noise_key"])


@dataclass(frozen=True)
class GenerationPlan:
    """Everything that fixes a set of images.

    Attributes:
        model: pipeline folder or hub id.
        prompts: what to ask for.
        out: folder for the images.
        images: of each prompt.
        method: what is done about the distribution of perceived attributes.
        target: what the method works towards; None where it needs none. A prompt's own target comes first.
        seed: of the noise; image number i of prompt number p has its own, whatever the batch size.
        steps: solver steps.
        guidance_scale: of classifier-free guidance.
        image_size: side in pixels, or height and width; None: what the model was made for.
        solver: what to sample with, see `Backbone.load`.
        prompt_padding: see `Backbone`.
        precision: of the weights.
        batch_size: images that go through the model together; changes no image but for rounding.
        overwrite: whether images in the folder that were made otherwise are replaced.
    """

    model: str
    prompts: Sequence[Prompt]
    out: Path
    images: int = 16
    method: Method = field(default_factory=NoMitigation)
    target: TargetDistribution | None = None
    seed: int = 0
    steps: int = 30
    guidance_scale: float = 7.5
    image_size: ImageSize | None = None
    solver: Solver = "pipeline"
    prompt_padding: PromptPadding = "longest"
    precision: Precision = "float32"
    batch_size: int = 8
    overwrite: bool = False

    def check(self, problems: Problems) -> None:
        """Notes what is wrong, without loading any weights."""
        before = len(problems.messages)
        check_pipeline(self.model, problems, "model")
        family = None
        if len(problems.messages) == before:
            if (family := family_here(self.model)) is not None:
                self.method.check_family(family, problems)
            scheduler = check_sampling(self.model, self.solver, [self.steps], problems=problems, subject="model")
            if scheduler is not None and self.steps > 0:
                self.method.check_scheduler(scheduler, self.steps, problems)
        problems.at_least("images", self.images, 1)
        problems.at_least("seed", self.seed, 0)
        check_image_size(self.image_size, problems, family)
        with problems.collecting():
            self.sampling()
        check_writable(self.out, "out", problems)
        for target in dict.fromkeys(self.target_of(prompt) for prompt in self.prompts):
            if target is None and self.method.needs_target:
                problems.add(
                    f"target: got none; expected one, since the method {self.method.name!r} works towards it; "
                    "give --target"
                )
            else:
                self.method.check(target, problems)
        with problems.collecting():
            self.method.describe()
        if not problems.messages and (tokenizer := open_tokenizer(self.model)) is not None:
            self.check_texts(tokenizer, problems)

    def check_texts(self, tokenizer: PreTrainedTokenizerBase, problems: Problems) -> None:
        """Note prompts that are too long for what the method adds to them.

        Args:
            tokenizer: tokenizer of the model.
            problems: collector of the messages.
        """
        targets = {prompt.text: self.target_of(prompt) for prompt in self.prompts}
        check_wordings(self.method, targets, tokenizer, problems)

    def warn_of_cut_prompts(self) -> None:
        """Say which prompts are longer than what the model's text encoder reads, as far as that can be seen."""
        if (tokenizer := open_tokenizer(self.model)) is not None:
            wordings = [self.method.wordings(prompt.text, self.target_of(prompt)) for prompt in self.prompts]
            warn_of_cut_texts(tokenizer, (wording.text for wording in itertools.chain(*wordings)))

    def sampling(self) -> SamplingPlan:
        """How images are sampled, as methods take it.

        Raises:
            ConfigurationError: a number is out of range.
        """
        return SamplingPlan(self.steps, self.guidance_scale, self.batch_size)

    def target_of(self, prompt: Prompt) -> TargetDistribution | None:
        """Return what the images of a prompt are to follow; None where the method needs no target."""
        return (prompt.target or self.target) if self.method.needs_target else None

    @cached_property
    def digests(self) -> dict[str, str]:
        """Name of a model -> digest of what its path held when it was first asked for.

        Raises:
            CheckpointError: a model is missing or damaged.
            ConfigurationError: a model cannot be opened.
        """
        model = pipeline_digest(self.model)
        return ({} if model is None else {"model": model}) | self.method.digests()

    def common_parameters(self) -> dict[str, Any]:
        """Return what every image depends on, whatever its prompt and its noise, as plain data."""
        return {
            "model": self.model,
            "method": self.method.describe(),
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "image_size": as_plain(self.image_size),
            "solver": self.solver,
            "prompt_padding": self.prompt_padding,
            "precision": self.precision,
            "seed": self.seed,
            DIGESTS: self.digests,
            "version": fairlit_version(),
        }

    def planned(self) -> list[list[PlannedImage]]:
        """All images, prompt by prompt."""
        common = self.common_parameters()
        return [list(self._of_prompt(index, prompt, common)) for index, prompt in enumerate(self.prompts)]

    def _of_prompt(self, index: int, prompt: Prompt, common: dict[str, Any]) -> Iterator[PlannedImage]:
        folder = folder_name(index, prompt.text)
        target = self.target_of(prompt)
        dealt = self.method.dealt_classes(Chunk.whole(prompt.text, self.images), target)
        for position in range(self.images):
            own = {
                "prompt": prompt.text,
                "family": prompt.family,
                "number": position,
                "noise_key": [self.seed, _TEST_STREAM, index, position],
            }
            if prompt.num_people > 1:
                own["num_people"] = prompt.num_people
            if self.method.needs_target:  # what these do to an image depends on the whole set
                own |= {"count": self.images, "target": target.to_dict() if target else None}
            if dealt is not None:
                own["dealt_classes"] = dealt[position]
            yield PlannedImage(f"{folder}/{position:04d}.png", prompt, position, own | common)


def is_made(image: PlannedImage, out: Path, problems: Problems, *, overwrite: bool = False) -> bool:
    """Return whether an image is there, whole and made in the very way that is planned.

    Notes one that was made otherwise, unless it may be replaced; part of an image is none.
    """
    path = out / image.file
    if not path.exists():
        return False
    written, torn = None, False
    if path.is_file():  # a pipe would be waited for
        written, torn = read_parameters(path), is_torn_png(path)
    if written is None and torn:
        return False
    if written is None:
        problems.add(f"out: {path} is not from fairlit generate; remove it, or give another --out")
        return False
    found = {key: value for key, value in current_parameters(written).items() if key not in _NO_SETTINGS}
    how = made_otherwise(found, {key: value for key, value in image.parameters.items() if key not in _NO_SETTINGS})
    if how is not None and not overwrite:
        problems.add(
            f"out: {out} holds images that were made with {how}; give another --out, the same settings to go on, or "
            "--overwrite to replace them"
        )
    return how is None and not torn
