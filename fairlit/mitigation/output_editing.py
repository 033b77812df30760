"""Output editing: finished images whose faces are made anew, as few as possible, until the set meets the target."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import torch
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.diffusion.inpainting import Inpainter
from fairlit.errors import CheckpointError, Problems
from fairlit.faces.classifier_files import load_classifier, read_classes
from fairlit.faces.observation import People
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import read_compositions
from fairlit.mitigation.class_words import WORDS, check_wording, check_words, insert_words, phrases
from fairlit.mitigation.face_editing.editor import FaceEditor
from fairlit.mitigation.face_editing.judge import FaceJudge
from fairlit.mitigation.face_editing.settings import FaceChange, FaceEditing
from fairlit.mitigation.method import Chunk, ImageEditor, Method, Need, Sampler, SamplingPlan, require_whole_set
from fairlit.mitigation.unchanged import one_prompt_sampler

_EDITS = 0x45444954  # sets the noise of edits apart from that of the images


class OutputEditing(Method):
    """Samples with the plain model, then edits what came out, see `face_editor.FaceEditor`.

    Args:
        classifier: chooses the faces and checks the edits, a folder or YAML file, see `faces.load_classifier`.
        words: attribute -> class -> what a prompt calls it, see `AttributeWords`.
        after: regular expression; the words go behind what it first matches in the prompt.
        template: prompt for a face where `after` does not match, with ``{words}`` and, if wanted, ``{prompt}``.
        keep: attributes beside those of the target that a face's prompt names as the classifier sees them, so that
            they stay.
        people: whose faces count in an image.
        compositions: what images of several people shall show, ``{gender: {2: {"1 female, 1 male": 1.0}}}``; other
            images follow the target. For a target of one attribute.
        editing: how a face is made anew.
        min_face_size: smallest face side looked for, in pixels of the enlarged image.
        enlarge: factor by which images are enlarged before faces are looked for.
        min_score: least score of a face that counts.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "output editing"
    needs: ClassVar[tuple[Need, ...]] = ("words", "classifier")
    whole_set: ClassVar[bool] = True

    def __init__(
        self,
        classifier: str,
        words: dict[str, dict[str, str]] | None = None,
        after: str | None = None,
        template: str = "{prompt}, {words}",
        keep: Sequence[str] = (),
        people: People = "all",
        compositions: dict[str, dict[int, dict[str, float]]] | None = None,
        editing: FaceEditing = FaceEditing(),
        min_face_size: float = 20.0,
        enlarge: float = 1.0,
        min_score: float = 0.9,
    ) -> None:
        self.judge = FaceJudge(classifier, min_face_size, enlarge, min_score=min_score)
        self.words = words or {}
        self.after = after
        self.template = template
        self.keep = list(keep)
        self.people = people
        self.compositions = compositions or {}
        self.editing = editing
        with Problems(self.name) as problems:
            self.judge.check_settings(problems)
            editing.check(problems)
            if people not in ("largest", "all"):
                problems.add(f"people: got {people!r}; choose largest or all")
            check_wording(after, template, (WORDS,), problems)

    def check(self, target: TargetDistribution, problems: Problems) -> None:
        """Notes words, attributes or a classifier that do not fit the target."""
        self.judge.check(target, problems)
        read_compositions(self.compositions, target, problems)
        if self.compositions and self.people == "largest":
            problems.add("compositions: they are of everybody in an image; give people: all")
        if self.compositions and len(target.attributes) > 1:
            problems.add(
                f"compositions: the target has {len(target.attributes)} attributes; give one with that of the "
                "compositions alone"
            )
        with suppress(CheckpointError), problems.collecting():  # one that cannot be read: `judge.check` has said so
            check_words(self.words, self._named(target, read_classes(self.judge.classifier)), problems)

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
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> Iterator[Sampler]:
        """The plain model."""
        with Problems(self.name) as problems:
            self.check(target, problems)
        yield one_prompt_sampler(backbone, plan)

    def image_editor(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> ImageEditor:
        """Edits the images of a prompt, all at once."""
        face_editor = self.face_editor(backbone, plan, target)

        def edit(chunk: Chunk, images: Tensor) -> tuple[Tensor, list[dict[str, Any]]]:
            require_whole_set(self.name, chunk)
            edited = face_editor(list(images), [chunk.prompt] * len(images), self.key(chunk.prompt))
            notes: list[dict[str, Any]] = [{} for _ in images]
            for change in edited.changes:
                notes[change.image].setdefault("edits", []).append(describe_change(change, face_editor.target))
            return torch.stack(edited.images), notes

        return edit

    def face_editor(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> FaceEditor:
        """What edits sets of finished images, however they were made."""
        detector = self.judge.detector("all").to(backbone.device)
        classifier = load_classifier(self.judge.classifier).to(backbone.device)
        target = target.reorder(classifier.classes)
        named = self._named(target, classifier.classes)
        spoken = phrases(self.words, named)

        def phrase(prompt: str, cell: int, kept: dict[str, int]) -> str:
            for name in self.keep:
                cell = cell * len(named.classes[name]) + kept[name]
            return insert_words(prompt, spoken[cell], self.after, self.template)

        with Problems(self.name) as problems:
            compositions = read_compositions(self.compositions, target, problems)
        scale = self.editing.guidance_scale or plan.guidance_scale
        inpainter = Inpainter(backbone, plan.steps, scale, self.editing.strength)
        return FaceEditor(
            inpainter,
            detector,
            classifier,
            target,
            phrase,
            self.editing,
            self.people,
            self.keep,
            plan.batch_size,
            next(iter(compositions.values()), None),
        )

    def key(self, name: str) -> tuple[int, ...]:
        """Key of the noise of a set of images, by the set's name or prompt."""
        digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        return (self.editing.seed, _EDITS, digest)


def describe_change(change: FaceChange, target: TargetDistribution) -> dict[str, Any]:
    """A change as plain data, with the names of classes."""

    def classes(cell: int) -> dict[str, str]:
        index = torch.unravel_index(torch.tensor(cell), target.table.shape)
        return {name: target.classes[name][int(i)] for name, i in zip(target.attributes, index, strict=True)}

    return {
        "box": list(change.box),
        "before": classes(change.before),
        "wanted": classes(change.wanted),
        "tries": change.tries,
        "instead": change.instead,
        "made": change.made,
    }
