"""The settings of finetuning, as they stand in a config; each checks itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fairlit.diffusion.settings import (
    ImageSize,
    PromptPadding,
    Solver,
    check_guidance_scale,
    check_image_size,
    check_pipeline,
)
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.classifier_files import check_classifier_files, read_classes, read_reliability
from fairlit.faces.detector_files import check_detector
from fairlit.faces.reliability import note_unlearnt, warn_of_errors
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.solver import WeightScheme
from fairlit.io.class_paths import ClassSpec
from fairlit.io.model_folders import check_model_folder, check_weight_file

GradientMode = Literal["replay", "detached", "published", "full"]
DEFAULT_CACHE = "runs/reference_images"
FORMER_CACHE = "runs/originals"  # fairlit 0.1.0


@dataclass(frozen=True)
class Models:
    """Where the models come from: folders, or ids on a model hub.

    Attributes:
        backbone: pipeline of Stable Diffusion or Stable Diffusion XL that is finetuned; a .safetensors file will do.
        classifier: attribute classifier that is trained against: a folder, a YAML file of words (`faces.zero_shot`), or
            a class path; or a list of several, whose losses are averaged.
        audit_classifier: another classifier, which judges validation and test; null: the one that is trained against,
            which the results then say.
        clip: CLIP model for image preservation and for semantic similarity; null: none.
        dino: DINOv2 model for image preservation and for semantic similarity; null: none.
        face_embedder: embedder for face realism: a classifier folder, or a file with the weights of InceptionResnetV1;
            null: none.
        face_bank: embeddings of real faces by the face embedder; null: none.
        detector: class path of a face detector of your own; null: MTCNN with the settings of `detection`.
    """

    backbone: str
    classifier: ClassSpec | list[ClassSpec]
    audit_classifier: ClassSpec | None = None
    clip: str | None = None
    dino: str | None = None
    face_embedder: str | None = None
    face_bank: str | None = None
    detector: ClassSpec | None = None

    @property
    def judge(self) -> str:
        """What judges validation and test, as results name it: its folder, file or class path."""
        specs = [self.audit_classifier] if self.audit_classifier else self.classifiers
        return ", ".join(spec if isinstance(spec, str) else str(spec["class_path"]) for spec in specs)

    @property
    def classifiers(self) -> list[ClassSpec]:
        """The classifiers that are trained against."""
        return self.classifier if isinstance(self.classifier, list) else [self.classifier]

    def _judges(self) -> dict[str, ClassSpec]:
        """Return name of the setting -> classifier, of all classifiers."""
        several = len(self.classifiers) > 1
        judges = {
            f"models.classifier[{number}]" if several else "models.classifier": spec
            for number, spec in enumerate(self.classifiers)
        }
        return judges | ({"models.audit_classifier": self.audit_classifier} if self.audit_classifier else {})

    def check(self, problems: Problems) -> None:
        """Note missing or damaged files, without loading any weights."""
        check_pipeline(self.backbone, problems)
        check_detector(self.detector, problems, "models.detector")
        for name in ("clip", "dino"):
            if (path := getattr(self, name)) is not None:
                check_model_folder(path, f"models.{name}", problems)
        if not self.classifiers:
            problems.add("models.classifier: got an empty list; expected at least one; give a folder")
        for name, path in self._judges().items():  # what else can be wrong, `check_targets` meets
            check_classifier_files(path, name, problems)
        for name in ("face_embedder", "face_bank"):
            if (path := getattr(self, name)) is None:
                continue
            if Path(path).is_file():
                check_weight_file(Path(path), f"models.{name}", problems)
            elif Path(path).is_dir() and name == "face_embedder":
                check_model_folder(path, f"models.{name}", problems)
            else:
                problems.add(
                    f"models.{name}: got {path}, which does not exist; expected a file; correct the path, or give null "
                    "to go without face realism"
                )
        if (self.face_embedder is None) != (self.face_bank is None):
            problems.add("models: face_embedder and face_bank go together; give both or neither")

    def check_targets(self, targets: list[TargetDistribution], problems: Problems) -> None:
        """Note targets with attributes or classes that a classifier does not know; reads its config.json only."""
        trained: dict[str, Mapping[str, tuple[str, ...]]] = {}
        for name, path in self._judges().items():
            try:
                classes: Mapping[str, tuple[str, ...]] = read_classes(path)
                note_unlearnt(read_reliability(path), _attributes(targets), name, problems)
            except (ConfigurationError, CheckpointError) as error:
                problems.add(f"{name}: {error}")
                continue
            if name != "models.audit_classifier":
                trained[name] = classes
            for target in targets:
                try:
                    target.reorder(classes)
                except ConfigurationError as error:
                    problems.add(f"{name} ({path}) does not fit the target: {error}")
        first, *others = trained.items() if trained else [("", {})]
        for name, classes in others:
            if list(classes.items()) != list(first[1].items()):
                problems.add(
                    f"{name}: got classes {dict(classes)}; expected those of {first[0]}, {dict(first[1])}, in the same "
                    "order; give classifiers of the same attributes and classes"
                )

    def check_validated(self, targets: list[TargetDistribution], problems: Problems) -> None:
        """Note that the errors of the classifier that is trained against are not known, or that there are several."""
        setting = "alignment.correct_errors: got true"
        if len(self.classifiers) > 1:
            problems.add(
                f"{setting} with {len(self.classifiers)} classifiers; expected one; give false, or one classifier"
            )
            return
        known: Mapping[str, object] = {}
        with suppress(ConfigurationError, CheckpointError):  # `check_targets` says so
            known = read_reliability(self.classifiers[0])
        if missing := [name for name in _attributes(targets) if name not in known]:
            problems.add(
                f"{setting}, and {self.classifiers[0]} has no validation of {', '.join(missing)}; expected confusion "
                "matrices; make them with `fairlit classifier calibrate`, or give false"
            )

    def warn_of_errors(self, targets: list[TargetDistribution]) -> None:
        """Warn of classifiers that are often wrong about attributes of the targets."""
        for name, path in self._judges().items():
            with suppress(ConfigurationError, CheckpointError):  # `check_targets` says so
                known = {one: entry for one, entry in read_reliability(path).items() if entry.has_learnt}
                warn_of_errors(known, _attributes(targets), name)  # the others are refused


def _attributes(targets: list[TargetDistribution]) -> list[str]:
    """Names of the attributes of all targets, each once."""
    return list(dict.fromkeys(name for target in targets for name in target.attributes))


@dataclass(frozen=True)
class Sampling:
    """How images are generated.

    Attributes:
        min_steps: smallest number of solver steps of a training iteration, which draws it from min_steps..max_steps.
        max_steps: largest number of solver steps of a training iteration.
        evaluation_steps: number of solver steps in validation, test and prediction.
        guidance_scale: strength of classifier-free guidance; 1: none. That of evaluation, and of training where it is
            given no range.
        min_guidance_scale: smallest guidance scale of a training iteration, which draws it, evenly in its logarithm, up
            to max_guidance_scale; null: guidance_scale.
        max_guidance_scale: largest guidance scale of a training iteration; null: guidance_scale.
        evaluation_guidance_scales: further guidance scales at which `fairlit test` measures.
        evaluation_step_counts: further numbers of solver steps at which `fairlit test` measures; the first of them in
            min_steps..max_steps tells how much of the remaining distance comes with more steps than in training.
        evaluation_strengths: further strengths of a LoRA at which `fairlit test` measures; 1 is as trained.
        image_size: side of the images in pixels, or `[height, width]`; null: what the model was made for.
        solver: solver of the sampling chain: the scheduler that the `pipeline` came with, or `dpm-solver++`, `ddim`,
            `euler`, `euler-ancestral` or `lcm` (for models distilled to it) on its noise schedule.
        prompt_padding: length to which prompts are padded: the `longest` of the batch or the tokenizer's `max_length`.
        batch_size: number of images that go through the model together when no gradient is kept.
    """

    min_steps: int = 19
    max_steps: int = 23
    evaluation_steps: int = 25
    guidance_scale: float = 7.5
    min_guidance_scale: float | None = None
    max_guidance_scale: float | None = None
    evaluation_guidance_scales: tuple[float, ...] = ()
    evaluation_step_counts: tuple[int, ...] = ()
    evaluation_strengths: tuple[float, ...] = ()
    image_size: ImageSize | None = None
    solver: Solver = "pipeline"
    prompt_padding: PromptPadding = "longest"
    batch_size: int = 16

    @property
    def all_steps(self) -> tuple[int, ...]:
        """Smallest and largest numbers of solver steps in training, and those of evaluation."""
        return (self.min_steps, self.max_steps, self.evaluation_steps, *self.evaluation_step_counts)

    @property
    def guidance_range(self) -> tuple[float, float]:
        """Smallest and largest guidance scale of training."""
        low, high = (
            self.guidance_scale if bound is None else bound
            for bound in (self.min_guidance_scale, self.max_guidance_scale)
        )
        return low, high

    def __post_init__(self) -> None:
        with Problems("sampling") as problems:
            for name, value, choices in (
                ("solver", self.solver, get_args(Solver)),
                ("prompt_padding", self.prompt_padding, get_args(PromptPadding)),
            ):
                if value not in choices:
                    problems.add(f"{name}: got {value!r}; choose one of {', '.join(choices)}")
            if not 1 <= self.min_steps <= self.max_steps:
                problems.add(f"min_steps, max_steps: got {self.min_steps}, {self.max_steps}; give 1 <= min <= max")
            problems.at_least("evaluation_steps", self.evaluation_steps, 1)
            check_guidance_scale(self.guidance_scale, problems)
            low, high = self.guidance_range
            if self.min_guidance_scale is not None:
                check_guidance_scale(low, problems, "min_guidance_scale")
            if not low <= high < math.inf:
                problems.add(
                    f"min_guidance_scale, max_guidance_scale: got {low}, {high}; expected min <= max; give a larger "
                    "max_guidance_scale"
                )
            for scale in self.evaluation_guidance_scales:
                check_guidance_scale(scale, problems, "evaluation_guidance_scales")
            for steps in self.evaluation_step_counts:
                problems.at_least("evaluation_step_counts", steps, 1)
            for strength in self.evaluation_strengths:
                if not 0 <= strength < math.inf:
                    problems.add(f"evaluation_strengths: got {strength}; expected at least 0; give 0.5, say")
            problems.at_least("batch_size", self.batch_size, 1)
            check_image_size(self.image_size, problems)


@dataclass(frozen=True)
class Gradient:
    """How the gradient goes through the sampling chain.

    Attributes:
        mode: way to the gradient: `replay` (adjusted gradient, one evaluation of the model at a time), `detached` (the
            same as a graph with checkpointing), `published` (that graph, made in a second sampling run after one
            without gradient, as the code of Shen et al. does) or `full` (back-propagation through the whole chain).
        weights: weights of the model's evaluations in the adjusted gradient, see
            `functional.sampling.solver.step_weights`; not for mode `full`.
        last_evaluations: number of evaluations, counted from the end, that the gradient of mode `full` reaches; null:
            all.
        loss_batch: number of images that are decoded and judged with gradient together.
    """

    mode: GradientMode = "replay"
    weights: WeightScheme = "uniform"
    last_evaluations: int | None = None
    loss_batch: int = 8

    def __post_init__(self) -> None:
        with Problems("gradient") as problems:
            for name, value, choices in (
                ("mode", self.mode, get_args(GradientMode)),
                ("weights", self.weights, get_args(WeightScheme)),
            ):
                if value not in choices:
                    problems.add(f"{name}: got {value!r}; choose one of {', '.join(choices)}")
            problems.at_least("loss_batch", self.loss_batch, 1)
            if self.mode == "full" and self.weights != "uniform":
                problems.add(
                    f"weights: got {self.weights} with mode full, whose gradient has none; expected the default; leave "
                    "them out, or take mode replay"
                )
            if self.last_evaluations is not None and (self.last_evaluations < 1 or self.mode != "full"):
                problems.add(
                    f"last_evaluations: got {self.last_evaluations} with mode {self.mode}; expected at least 1, with "
                    "mode full; leave it out for other modes"
                )


@dataclass(frozen=True)
class Replay:
    """How the model's evaluations are repeated with gradient, in mode `replay`.

    Attributes:
        micro_batch: number of (image, evaluation) pairs that are replayed together; `auto`: as many as are worth it and
            fit into the memory budget.
        memory_budget: GiB for the activations of one micro-batch, with micro_batch `auto`; null: most of what is free
            on a GPU, no limit on a CPU.
        keep: GiB for activations that are kept from sampling instead of computed again, which saves an evaluation for
            each (image, evaluation) pair that fits; `auto`: 1 on a CPU, none on a GPU, with a compiled or a sharded
            model; 0: none.
        step_fraction: share of the solver's steps that are replayed, drawn anew for each image in each iteration; below
            1 the gradient is an unbiased estimate instead of exact.
    """

    micro_batch: int | Literal["auto"] = "auto"
    memory_budget: float | None = None
    keep: float | Literal["auto"] = "auto"
    step_fraction: float = 1.0

    def __post_init__(self) -> None:
        with Problems("replay") as problems:
            if self.micro_batch != "auto" and self.micro_batch < 1:
                problems.add(f"micro_batch: got {self.micro_batch}; give at least 1, or auto")
            if self.memory_budget is not None and not self.memory_budget > 0:
                problems.add(f"memory_budget: got {self.memory_budget} GiB; give more than 0, or null")
            if self.memory_budget is not None and self.micro_batch != "auto":
                problems.add(f"memory_budget: got {self.memory_budget} with micro_batch {self.micro_batch}; give one")
            if self.keep != "auto" and not 0 <= self.keep < math.inf:
                problems.add(f"keep: got {self.keep} GiB; expected at least 0; give 0 to keep nothing, or auto")
            if not 0 < self.step_fraction <= 1:
                problems.add(f"step_fraction: got {self.step_fraction}; give a number above 0 and at most 1")


@dataclass(frozen=True)
class ReferenceImages:
    """How training gets its reference images: those of the original model for the same noise.

    Attributes:
        with_rollout: whether they are sampled in one batch with the new images, where both go through the same weights
            (the U-Net has no adaptor) and their prompts have as many tokens.
        noise_pool: number of sets of noise that each prompt has, each with its number of solver steps. What the losses
            need of a reference image is then computed once and kept on disk. An approximation: fewer different images
            are trained on. null: new noise in each iteration.
        cache: folder in which descriptions of reference images are kept, with a noise pool; null: nothing is kept.
    """

    with_rollout: bool = True
    noise_pool: int | None = None
    cache: str | None = DEFAULT_CACHE

    def __post_init__(self) -> None:
        with Problems("reference_images") as problems:
            if self.noise_pool is not None and self.noise_pool < 1:
                problems.add(
                    f"noise_pool: got {self.noise_pool}; expected at least 1; give null for new noise each time"
                )
            if self.noise_pool is not None and self.cache is not None and Path(self.cache).is_file():
                problems.add(f"cache: got {self.cache}, which is a file; expected a folder; choose another name")

    def cache_folder(self) -> Path | None:
        """Return the folder of kept descriptions, or None where none are kept.

        The default is the folder that fairlit 0.1.0 used, where there is one and no newer one.
        """
        if self.noise_pool is None or self.cache is None:
            return None
        folder, former = Path(self.cache), Path(FORMER_CACHE)
        return former if self.cache == DEFAULT_CACHE and former.is_dir() and not folder.exists() else folder
