"""Who judges images, against what, and how a report shows it."""

# Annotations are evaluated here: to resolve postponed ones, jsonargparse runs the imports below TYPE_CHECKING too.

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.detection import FaceDetection, FaceSelection
from fairlit.functional.alignment.target_distribution import TargetDistribution, read_target
from fairlit.io.model_folders import check_model_folder
from fairlit.io.output_places import check_writable

if TYPE_CHECKING:
    from fairlit.data.prompts.config import PromptSource
    from fairlit.judging.features import Encoders
    from fairlit.judging.image_folders import ImageFolder
    from fairlit.judging.observations import Judge

_LOG = logging.getLogger(__name__)


def find_folders(paths: Sequence[str | None], source: "PromptSource", problems: Problems) -> "list[ImageFolder]":
    """Return what lies in folders of images, and note what is wrong with them.

    Args:
        paths: folders; None: not given.
        source: prompts of folders in the layout prompt_N/img_M, by number.
        problems: where messages go.
    """
    from fairlit.judging.image_folders import find_images

    prompts = source.listed(problems) if source.is_given else None
    texts = None if prompts is None else [prompt.text for prompt in prompts]
    people = None if prompts is None else [prompt.num_people for prompt in prompts]
    found = []
    for path in paths:
        if path is not None:
            with problems.collecting():
                found.append(find_images(path, texts, people))
    return found


def check_classifier(
    spec: str | dict[str, Any], subject: str, target: TargetDistribution | None, problems: Problems
) -> None:
    """Note what is wrong with a classifier, or does not fit the target, without loading weights.

    Args:
        spec: classifier, as for `faces.classifier_files.load_classifier`.
        subject: name of the setting.
        target: target distribution; None where that is wrong itself.
        problems: where messages go.
    """
    from fairlit.faces.classifier_files import check_classifier_files, read_classes

    check_classifier_files(spec, subject, problems)
    try:
        classes = read_classes(spec)
        if target is not None:
            target.reorder(classes)
    except (CheckpointError, ConfigurationError) as error:
        problems.add(f"{subject}: {error}")


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Who judges images, and against what.

    Args:
        target: shares that the images are judged against: a YAML file, or '{gender: {female: 0.5, male: 0.5}}'
        classifier: classifier of perceived attributes: a folder, a YAML file of words for CLIP, or a class path
        detector: class path of a face detector of your own, or {class_path, init_args}; MTCNN by default
        detection: how MTCNN looks for faces
        faces: faces that count in an image: the largest one, or all
        clip: folder or hub id of the CLIP model that measures CLIP-T and CLIP-I
        dino: folder or hub id of the DINOv2 model that measures DINO similarity
        batch_size: number of images that go through a model together
        device: device of the models: auto (a GPU if there is one), cpu, cuda, cuda:1, mps
    """

    heading: ClassVar[str] = "Judge"

    target: str | dict[str, Any] | None = None
    classifier: str | dict[str, Any] | None = None
    detector: str | dict[str, Any] | None = None
    detection: FaceDetection = field(default_factory=FaceDetection)
    faces: FaceSelection = "largest"
    clip: str | None = None
    dino: str | None = None
    batch_size: int = 16
    device: str = "auto"

    def check_judge(self, problems: Problems) -> TargetDistribution | None:
        """Return the target, and note what is missing or wrong, without loading weights."""
        from fairlit.faces.detector_files import check_detection, check_detector
        from fairlit.metrics.distribution import why_without_joint_classes

        problems.at_least("batch_size", self.batch_size, 1)
        check_detector(self.detector, problems)
        check_detection(self.detector, self.detection, FaceDetection(), problems)
        for name in ("clip", "dino"):
            if (path := getattr(self, name)) is not None:
                check_model_folder(path, name, problems)
        target = read_target(self.target, problems)
        if target is not None and (reason := why_without_joint_classes(target)) is not None:
            _LOG.warning("target: %s", reason)
        if self.target is None:
            problems.add("target: got nothing; give --target, the shares that the images are to show")
        if self.classifier is None:
            problems.add("classifier: got nothing; give --classifier, best one that nothing was trained against")
        else:
            check_classifier(self.classifier, "classifier", target, problems)
        return target

    def digests(self) -> dict[str, str]:
        """Return name of a model -> digest of its content, for those whose content may change.

        Raises:
            CheckpointError: the classifier is damaged.
            ConfigurationError: the classifier or detector cannot be built.
        """
        from fairlit.faces.classifier_files import classifier_digest
        from fairlit.faces.detector_files import detector_digest
        from fairlit.io.model_folders import model_digest

        assert self.classifier is not None
        found = {"classifier": classifier_digest(self.classifier), "detector": detector_digest(self.detector)}
        found |= {name: model_digest(path) for name in ("clip", "dino") if (path := getattr(self, name)) is not None}
        return {name: digest for name, digest in found.items() if digest is not None}

    def load_judge(self, device: str) -> "Judge":
        """Return detector and classifier on a device.

        Raises:
            CheckpointError: the classifier is damaged.
            ConfigurationError: the detector cannot be built.
        """
        from fairlit.faces.classifier_files import load_classifier
        from fairlit.faces.detector_files import load_detector
        from fairlit.judging.observations import Judge

        assert self.classifier is not None
        detector = load_detector(self.detector, self.detection)
        classifier = load_classifier(self.classifier)
        names = {"classifier": self.classifier, "detector": self.detector or vars(self.detection)}
        return Judge(detector.to(device), classifier.to(device), names, self.faces)

    def load_encoders(self, device: str) -> "Encoders":
        """Return the encoders that similarities are measured with, on a device.

        Raises:
            CheckpointError: one of them is damaged.
        """
        from fairlit.judging.features import Encoders

        if self.clip is None and self.dino is None:
            return Encoders()
        from fairlit.perception import ClipEncoder, DinoEncoder
        from fairlit.terminal import quieten_libraries

        quieten_libraries()
        clip = None if self.clip is None else ClipEncoder.load(self.clip).to(device)
        dino = None if self.dino is None else DinoEncoder.load(self.dino).to(device)
        names = {name: path for name in ("clip", "dino") if (path := getattr(self, name)) is not None}
        return Encoders(clip, dino, names)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a report shows, and where it goes.

    Args:
        out: folder for the report and everything that belongs to it
        overwrite: replace results of other settings that the folder holds
        title: title of the report
        tolerance: total variation distance to the target up to which a prompt counts as near it
        bootstrap_seed: seed of bootstrap and Monte-Carlo draws
        report_prompts: number of prompts of which the report shows images
        report_images: number of images that the report shows of each prompt
    """

    heading: ClassVar[str] = "Report"

    out: str | None = None
    overwrite: bool = False
    title: str | None = None
    tolerance: float = 0.1
    bootstrap_seed: int = 0
    report_prompts: int = 12
    report_images: int = 8

    def check_report(self, problems: Problems) -> None:
        """Note what is missing or out of range."""
        if self.out is None:
            problems.add("out: got nothing; give --out, the folder for the report")
        else:
            check_writable(self.out, "out", problems)
        if not 0 < self.tolerance < 1:
            problems.add(f"tolerance: got {self.tolerance}; expected a distance between 0 and 1; try 0.1")
        for name in ("report_prompts", "report_images"):
            problems.at_least(name, getattr(self, name), 1)
