"""What is to be generated: prompts, images of each, how, and where each image goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairlit.adaptors.files import adaptor_files, read_tensors
from fairlit.data.prompts.families import Prompt
from fairlit.diffusion.settings import (
    ImageSize,
    Precision,
    PromptPadding,
    Solver,
    check_image_size,
    check_pipeline,
)
from fairlit.errors import CheckpointError, Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.digests import fairlit_version, tensor_digest
from fairlit.mitigation import FinetunedAdaptor, Method, NoMitigation, SamplingPlan
from fairlit.pictures.files import read_parameters
from fairlit.pictures.manifest import folder_name

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

    def check(self, problems: Problems) -> None:
        """Notes what is wrong, without loading any weights."""
        check_pipeline(self.model, problems, "model")
        problems.at_least("images", self.images, 1)
        problems.at_least("seed", self.seed, 0)
        check_image_size(self.image_size, problems)
        with problems.collecting():
            self.sampling()
        if self.out.exists() and not self.out.is_dir():
            problems.add(f"out: {self.out} is a file; give a folder")
        for target in dict.fromkeys(self.target_of(prompt) for prompt in self.prompts):
            if target is None:
                if self.needs_target:
                    problems.add(f"target: method {self.method.name!r} needs one; give --target")
            else:
                self.method.check(target, problems)
        if self.target is None and not self.needs_target:
            self.method.check(UNUSED_TARGET, problems)

    @property
    def needs_target(self) -> bool:
        """Whether the method asks for a target: the plain model and a finetuned adaptor do not."""
        return not isinstance(self.method, NoMitigation | FinetunedAdaptor)

    def sampling(self) -> SamplingPlan:
        """How images are sampled, as methods take it.

        Raises:
            ConfigurationError: a number is out of range.
        """
        return SamplingPlan(self.steps, self.guidance_scale, self.batch_size)

    def target_of(self, prompt: Prompt) -> TargetDistribution | None:
        """What the images of a prompt shall follow, if anything."""
        return prompt.target or self.target

    def planned(self) -> list[list[PlannedImage]]:
        """All images, prompt by prompt."""
        common = {
            "model": self.model,
            "method": describe_method(self.method),
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "image_size": _plain(self.image_size),
            "solver": self.solver,
            "prompt_padding": self.prompt_padding,
            "precision": self.precision,
            "seed": self.seed,
            "version": fairlit_version(),
        }
        return [list(self._of_prompt(index, prompt, common)) for index, prompt in enumerate(self.prompts)]

    def _of_prompt(self, index: int, prompt: Prompt, common: dict[str, Any]) -> Iterator[PlannedImage]:
        folder = folder_name(index, prompt.text)
        target = self.target_of(prompt) if self.needs_target else None
        for position in range(self.images):
            own = {
                "prompt": prompt.text,
                "family": prompt.family,
                "number": position,
                "noise_key": [self.seed, _TEST_STREAM, index, position],
            }
            if prompt.people > 1:
                own["people"] = prompt.people
            if self.needs_target:  # what these do to an image depends on the whole set
                own |= {"count": self.images, "target": target.to_dict() if target else None}
            yield PlannedImage(f"{folder}/{position:04d}.png", prompt, position, own | common)


UNUSED_TARGET = TargetDistribution({"any": {"one": 0.5, "other": 0.5}})
"""What methods without a target are given in its place; they do not look at it."""


def describe_method(method: Method) -> dict[str, Any]:
    """A method as plain data: its name, its settings, and a digest of the adaptor that it samples with."""
    settings = {name: _plain(value) for name, value in vars(method).items() if not name.startswith("_")}
    if isinstance(method, FinetunedAdaptor):
        settings["digest"] = adaptor_digest(method.path)
    return {"name": method.name, **settings}


def adaptor_digest(path: str) -> str | None:
    """Digest of an adaptor's tensors, as summaries and model cards have it; None where there is no adaptor."""
    try:
        tensors = {name: tensor for file in adaptor_files(path) for name, tensor in read_tensors(file)[0].items()}
    except CheckpointError:
        return None
    return tensor_digest(tensors)


def is_made(image: PlannedImage, out: Path, problems: Problems) -> bool:
    """Whether an image is there already, made in the very way that is planned; notes one that was made otherwise."""
    if not (out / image.file).exists():
        return False
    found = read_parameters(out / image.file)
    if found is None:
        problems.add(f"out: {out / image.file} is not from fairlit generate; remove it, or give another --out")
        return False
    keys = (found.keys() | image.parameters.keys()) - {"version", "edits"}  # `edits`: what a method did to the image
    differing = sorted(key for key in keys if found.get(key) != image.parameters.get(key))
    if differing:
        key = differing[0]
        problems.add(
            f"out: {out} holds images that were made with {key} {found.get(key)!r}, not {image.parameters.get(key)!r}; "
            "give another --out, or the same settings to go on"
        )
    return not differing


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
