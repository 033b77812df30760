"""Which finished images are edited, towards what, and how."""

# Annotations are evaluated here: to resolve postponed ones, jsonargparse runs the imports below TYPE_CHECKING too.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fairlit.data.prompts.config import PromptSource
from fairlit.diffusion.settings import Precision, Solver, check_pipeline
from fairlit.errors import CheckpointError, Problems
from fairlit.faces.detection import FaceDetection, FaceSelection
from fairlit.faces.detector_files import check_detection
from fairlit.io.output_places import check_writable
from fairlit.mitigation.face_editing.settings import FaceEditing

if TYPE_CHECKING:
    from fairlit.functional.alignment.target_distribution import TargetDistribution
    from fairlit.mitigation import OutputEditing

Scope = Literal["prompt", "folder"]
"""Images that are brought to the target together: those of each prompt, or all of the folder."""

_DETECTION = FaceDetection(min_score=0.9)

EDITS, IMAGES = "edits.jsonl", "images"
"""Names of the file of edits and of the folder of images in the output folder."""


@dataclass(frozen=True, kw_only=True)
class EditConfig(PromptSource):
    """Settings of `fairlit edit`; see `fairlit.edit`.

    Args:
        folder: images to edit: with manifest.jsonl, as prompt_N/img_M with --prompts, or one folder for each prompt,
            which stands in its prompt.txt
        out: folder for the edited images
        overwrite: replace edits of other settings that the folder holds
        target: shares that the faces of a set are to have: a YAML file, or '{gender: {female: 0.5, male: 0.5}}'
        scope: what makes a set: the images of a prompt, or the whole folder, all in memory at once
        classifier: classifier that chooses the faces and checks the edits: a folder, a YAML file of words for CLIP, or
            a class path
        audit_classifier: another classifier, which is asked whether it sees the edits
        detector: class path of a face detector of your own, or {class_path, init_args}; MTCNN by default
        detection: how MTCNN looks for faces
        faces: faces that count in an image: all, or the largest one
        compositions: target of images with several people: '{gender: {2: {"1 female, 1 male": 1.0}}}'
        model: folder, hub id or .safetensors file of the pipeline that regenerates faces
        steps: number of solver steps of a whole chain
        guidance_scale: scale of classifier-free guidance; up to 1 is no guidance
        solver: solver to sample with: pipeline (the one that the model came with), dpm-solver++, ddim, euler,
            euler-ancestral, lcm (for models distilled to it)
        precision: data type of the model's weights: float32, bfloat16, float16
        batch_size: number of faces that go through the model together
        device: device of the models: auto (a GPU if there is one), cpu, cuda, cuda:1, mps
        words: words that a prompt has for each class, by attribute and class; the class names by default
        after: regular expression; the words go behind what it first matches in the prompt
        template: prompt of a face where that matches nothing, with {words} and, if wanted, {prompt}
        keep: attributes that a face's prompt names as they are seen, so that they stay
        editing: how a face is regenerated
    """

    heading: ClassVar[str] = "Editing"

    folder: str | None = None
    out: str | None = None
    overwrite: bool = False
    target: str | dict[str, Any] | None = None
    scope: Scope = "prompt"
    classifier: str | dict[str, Any] | None = None
    audit_classifier: str | dict[str, Any] | None = None
    detector: str | dict[str, Any] | None = None
    detection: FaceDetection = field(default_factory=lambda: _DETECTION)
    faces: FaceSelection = "all"
    compositions: Mapping[str, Any] | None = None
    model: str | None = None
    steps: int = 30
    guidance_scale: float = 7.5
    solver: Solver = "pipeline"
    precision: Precision = "float32"
    batch_size: int = 8
    device: str = "auto"
    words: Mapping[str, Mapping[str, str]] | None = None
    after: str | None = None
    template: str = "{prompt}, {words}"
    keep: Sequence[str] = ()
    editing: FaceEditing = field(default_factory=FaceEditing)

    def method(self) -> "OutputEditing":
        """Return the method with these settings.

        Raises:
            ConfigurationError: a setting is out of range.
        """
        from fairlit.mitigation import OutputEditing

        assert self.classifier is not None
        return OutputEditing(
            classifier=self.classifier,
            words=self.words,
            after=self.after,
            template=self.template,
            keep=self.keep,
            faces=self.faces,
            compositions=self.compositions,
            editing=self.editing,
            detection=self.detection,
            detector=self.detector,
        )

    def check_paths(self, problems: Problems) -> None:
        """Note folders and models that are missing or in each other's way."""
        check_detection(self.detector, self.detection, _DETECTION, problems)
        if self.folder is None:
            problems.add("folder: got nothing; give the folder of the images first, as in `fairlit edit images`")
        if self.target is None:
            problems.add("target: got nothing; give --target, the shares that the faces of a set are to have")
        if self.model is None:
            problems.add("model: got nothing; give --model, the folder or hub id of a pipeline")
        else:
            check_pipeline(self.model, problems, "model")
        if self.classifier is None:
            problems.add("classifier: got nothing; give --classifier, which chooses the faces and checks the edits")
        if self.out is None:
            problems.add("out: got nothing; give --out, the folder for the edited images")
            return
        out = Path(self.out)
        check_writable(out, "out", problems)
        if out.is_dir() and any(out.iterdir()) and not (out / EDITS).is_file():
            problems.add(f"out: {out} holds something other than edits; give an empty folder, or a new one")
        if self.folder is not None:
            folder = Path(self.folder).resolve()
            if out.resolve().is_relative_to(folder) or folder.is_relative_to(out.resolve()):
                problems.add(f"out: {out} and the folder that is edited lie one within the other; give another folder")

    @staticmethod
    def _place(classifier: str | dict[str, Any] | None) -> object:
        """What tells one classifier from another: its resolved path, or what names its class."""
        return Path(classifier).resolve() if isinstance(classifier, str) else classifier

    def check_auditor(self, target: "TargetDistribution | None", problems: Problems) -> None:
        """Note an auditing classifier that is missing, the leading one, or does not know the classes."""
        from fairlit.faces.classifier_files import check_classifier_files, read_classes, read_reliability
        from fairlit.faces.reliability import note_unlearnt

        if self.audit_classifier is None:
            return
        check_classifier_files(self.audit_classifier, "audit_classifier", problems)
        if self._place(self.audit_classifier) == self._place(self.classifier):
            problems.add("audit_classifier: is the one that leads the edits; give another one, or none")
        try:
            with problems.collecting():
                if target is not None:
                    target.reorder(read_classes(self.audit_classifier))
                    found = read_reliability(self.audit_classifier)
                    note_unlearnt(found, target.attributes, "audit_classifier", problems)
        except CheckpointError as error:
            problems.add(f"audit_classifier: {error}")
