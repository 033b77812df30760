"""Output editing: finished images whose faces are regenerated, as few as possible, until the set meets its target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import ClassVar

import torch
from torch import Tensor

from fairlit.data.prompts.class_words import WORDS, check_wording, check_words, insert_words, phrases
from fairlit.diffusion import Backbone
from fairlit.diffusion.inpainting import Inpainter
from fairlit.errors import CheckpointError, Problems
from fairlit.faces.classifier_files import read_classes
from fairlit.faces.detection import (
    FaceDetection,
    FaceSelection,
    check_face_selection,
    warn_renamed,
    with_renamed_settings,
)
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import read_compositions
from fairlit.io.class_paths import ClassSpec
from fairlit.mitigation.class_words import word_wordings
from fairlit.mitigation.face_editing.editor import FaceEditor
from fairlit.mitigation.face_editing.judge import FaceJudge
from fairlit.mitigation.face_editing.settings import FaceChange, FaceEditing
from fairlit.mitigation.method import (
    Chunk,
    ImageEditor,
    Method,
    Need,
    Sampler,
    SamplingPlan,
    Wording,
    require_full_batch,
)
from fairlit.mitigation.unchanged import one_prompt_sampler
from fairlit.results.edits import EditRecord

_EDITS = 0x45444954  # sets the noise of edits apart from that of the images


class OutputEditing(Method):
    """Samples with the plain model, then edits what came out, see `face_editing.editor.FaceEditor`.

    Args:
        classifier: classifier that chooses the faces and checks the edits, a folder, YAML file of words or class, see
            `faces.load_classifier`.
        words: attribute -> class -> what a prompt calls it, see `AttributeWords`.
        after: regular expression; the words go behind what it first matches in the prompt.
        template: prompt for a face where `after` does not match, with ``{words}`` and, if wanted, ``{prompt}``.
        keep: attributes beside those of the target that a face's prompt names as the classifier sees them, so that
            they stay.
        faces: faces of an image that count: the `largest` or `all`.
        compositions: what images of several people shall show, ``{gender: {2: {"1 female, 1 male": 1.0}}}``; other
            images follow the target. For a target of one attribute.
        editing: how a face is regenerated.
        detection: settings of face detection.
        detector: class of a detector of somebody's own, see `faces.load_detector`; null: MTCNN.
        people: deprecated; use faces.
        min_face_size: deprecated; use detection.min_size.
        enlarge: deprecated; use detection.scale.
        min_score: deprecated; use detection.min_score.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "output editing"
    needs: ClassVar[tuple[Need, ...]] = ("words", "classifier")
    former_arguments: ClassVar[tuple[str, ...]] = ("people", "min_face_size", "enlarge", "min_score")
    needs_full_batch: ClassVar[bool] = True

    def __init__(
        self,
        classifier: ClassSpec,
        *,
        words: Mapping[str, Mapping[str, str]] | None = None,
        after: str | None = None,
        template: str = "{prompt}, {words}",
        keep: Sequence[str] = (),
        faces: FaceSelection = "all",
        compositions: Mapping[str, Mapping[int, Mapping[str, float]]] | None = None,
        editing: FaceEditing = FaceEditing(),
        detection: FaceDetection = FaceDetection(min_score=0.9),
        detector: ClassSpec | None = None,
        people: FaceSelection | None = None,
        min_face_size: float | None = None,
        enlarge: float | None = None,
        min_score: float | None = None,
    ) -> None:
        if people is not None:
            warn_renamed("people", "faces", people)
            faces = people
        self.classifier = classifier
        self.detection = with_renamed_settings(
            detection, min_face_size=min_face_size, enlarge=enlarge, min_score=min_score
        )
        self.detector = detector
        self.words = words or {}
        self.after = after
        self.template = template
        self.keep = list(keep)
        self.faces = faces
        self.compositions = compositions or {}
        self.editing = editing
        with Problems(self.name) as problems:
            editing.check(problems)
            check_face_selection(faces, problems)
            check_wording(after, template, (WORDS,), problems=problems)

    @property
    def judge(self) -> FaceJudge:
        """Detector and classifier that lead the method."""
        return FaceJudge(classifier=self.classifier, detection=self.detection, detector=self.detector)

    def digests(self) -> dict[str, str]:
        """Return digests of classifier and detector."""
        return self.judge.digests()

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note words, attributes or a classifier that do not fit the target."""
        target = self.required(target)
        self.judge.check(target, problems, kept=self.keep)
        read_compositions(self.compositions, target, problems)
        if self.compositions and self.faces == "largest":
            problems.add("compositions: they are of everybody in an image; give faces: all")
        if self.compositions and len(target.attributes) > 1:
            problems.add(
                f"compositions: the target has {len(target.attributes)} attributes; give one with that of the "
                "compositions alone"
            )
        with suppress(CheckpointError), problems.collecting():  # one that cannot be read: `judge.check` has said so
            check_words(self.words, self._named(target, read_classes(self.classifier)), problems)

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the prompt, and the prompts of faces with the words of each class."""
        named = self._named(self.required(target), read_classes(self.classifier))
        of_faces = word_wordings(prompt, phrases(self.words, named), self.after, template=self.template)
        return [Wording(text=prompt), *of_faces]

    def _named(self, target: TargetDistribution, classes: dict[str, tuple[str, ...]]) -> TargetDistribution:
        """Everything that a face's prompt names: the target's attributes, then those that are kept."""
        with Problems("keep") as problems:
            for name in self.keep:
                if name in target.classes:
                    problems.add(f"{name!r} is an attribute of the target, which is to change; leave it out")
                elif name not in classes:
                    problems.add(f"{name!r} is unknown to the classifier; use one of {', '.join(classes)}")
        both = {**target.classes, **{name: classes[name] for name in self.keep}}
        return TargetDistribution({name: dict.fromkeys(own, 1 / len(own)) for name, own in both.items()})

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Give the model as it is."""
        target = self.required(target)
        with Problems(self.name) as problems:
            self.check(target, problems)
        yield one_prompt_sampler(backbone, plan)

    def image_editor(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> ImageEditor:
        """Return what edits the images of a prompt, all at once."""
        face_editor = self.face_editor(backbone, plan, self.required(target))

        def edit(chunk: Chunk, images: Tensor) -> tuple[Tensor, list[list[EditRecord]]]:
            require_full_batch(self.name, chunk)
            edited = face_editor(list(images), [chunk.prompt] * len(images), self.key(chunk.prompt))
            edits: list[list[EditRecord]] = [[] for _ in images]
            for change in edited.changes:
                edits[change.image].append(edit_record(change, face_editor.target))
            return torch.stack(edited.images), edits

        return edit

    def face_editor(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> FaceEditor:
        """Return what edits sets of finished images, however they were made.

        Args:
            backbone: loaded model that regenerates faces.
            plan: how to sample.
            target: distribution of the faces of a set.
        """
        detector, classifier = self.judge.load(backbone.device, target)
        target = target.reorder(classifier.classes)
        named = self._named(target, classifier.classes)
        spoken = phrases(self.words, named)

        def phrase(prompt: str, cell: int, kept: dict[str, int]) -> str:
            for name in self.keep:
                cell = cell * len(named.classes[name]) + kept[name]
            return insert_words(prompt, spoken[cell], self.after, template=self.template)

        with Problems(self.name) as problems:
            compositions = read_compositions(self.compositions, target, problems)
        own = self.editing.guidance_scale
        scale = plan.guidance_scale if own is None else own
        inpainter = Inpainter(backbone, plan.steps, scale, strength=self.editing.strength)
        return FaceEditor(
            inpainter=inpainter,
            detector=detector,
            classifier=classifier,
            target=target,
            phrase=phrase,
            settings=self.editing,
            faces=self.faces,
            kept=self.keep,
            batch_size=plan.batch_size,
            compositions=next(iter(compositions.values()), None),
        )

    def key(self, name: str) -> tuple[int, ...]:
        """Return the key of the noise of a set of images.

        Args:
            name: name of the set, or its prompt.
        """
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        return (self.editing.seed, _EDITS, digest)


def edit_record(change: FaceChange, target: TargetDistribution) -> EditRecord:
    """Return the record of a change, with the names of classes.

    Args:
        change: what became of a face.
        target: names of the classes.
    """

    def labels(joint_class: int) -> dict[str, str]:
        index = torch.unravel_index(torch.tensor(joint_class), target.table.shape)
        return {name: target.classes[name][int(i)] for name, i in zip(target.attributes, index, strict=True)}

    return EditRecord(
        box=change.box,
        before=labels(change.before),
        target_labels=labels(change.target_class),
        tries=change.tries,
        instead=change.instead,
        made=change.made,
    )
