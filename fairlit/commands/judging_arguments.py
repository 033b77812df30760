"""The arguments that say who judges images and how a report shows it; ``fairlit audit`` and ``compare`` share them."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from fairlit.commands.devices import DEVICE_HELP
from fairlit.commands.target_argument import add_target_argument
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.classifier_files import check_classifier_files, load_classifier, read_classes
from fairlit.faces.detection import FaceSelection
from fairlit.faces.detector import FaceDetector, FaceDetectorBase
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.model_folders import check_model_folder
from fairlit.judging.features import Encoders
from fairlit.judging.observations import Judge
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit.terminal import quieten_libraries

_DETECTOR = "fairlit.faces.FaceDetector"


def add_judging_arguments(parser: ArgumentParser, report_prompts: int) -> None:
    """Adds judge, target, folder and looks of the report, and the device.

    Args:
        parser: gets the arguments.
        report_prompts: default of that argument.
    """
    parser.add_argument("--out", type=str | None, help="folder for the report and what belongs to it")
    parser.add_argument("--classifier", type=str | None, help="folder of a classifier, or YAML file of words for CLIP")
    parser.add_subclass_arguments(
        FaceDetectorBase,
        "detector",
        default={"class_path": _DETECTOR},
        help="module that gives fairlit.faces.Faces; settings: --detector.NAME VALUE",
    )
    parser.add_argument(
        "--faces", type=FaceSelection, default="largest", help="faces of an image that count: largest, all"
    )
    parser.add_argument("--clip", type=str | None, help="folder or hub id of the CLIP for CLIP-T and CLIP-I")
    parser.add_argument("--dino", type=str | None, help="folder or hub id of the DINOv2 for DINO")
    add_target_argument(parser, "what the images shall show")
    parser.add_argument("--tolerance", type=float, default=0.1, help="distance to the target that counts as near it")
    parser.add_argument("--audit_seed", type=int, default=0, help="of bootstrap and Monte-Carlo draws")
    parser.add_argument("--batch_size", type=int, default=16, help="images that go through a model together")
    parser.add_argument(
        "--report_prompts", type=int, default=report_prompts, help="prompts of which the report shows images"
    )
    parser.add_argument("--report_images", type=int, default=8, help="images that it shows of each")
    parser.add_argument("--title", type=str | None, help="of the report")
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)


def check_judging(given: Namespace, target: TargetDistribution | None, problems: Problems) -> None:
    """Notes what is missing or out of range among these arguments, and where target and classifier do not fit."""
    if given.out is None:
        problems.add("out: give --out, the folder for the report")
    elif Path(given.out).exists() and not Path(given.out).is_dir():
        problems.add(f"out: {given.out} is a file; give a folder")
    if not 0 < given.tolerance < 1:
        problems.add(f"tolerance: got {given.tolerance}; give a distance between 0 and 1, such as 0.1")
    for name in ("batch_size", "report_prompts", "report_images"):
        problems.at_least(name, given[name], 1)
    for name in ("clip", "dino"):
        if given[name] is not None:
            check_model_folder(given[name], name, problems)
    if given.target is None:
        problems.add("target: give --target, the shares that the images shall show")
    if given.classifier is None:
        problems.add("classifier: give --classifier, best one that nothing was trained against")
        return
    check_classifier_files(given.classifier, "classifier", problems)
    try:
        classes = read_classes(given.classifier)
        if target is not None:
            target.reorder(classes)
    except (CheckpointError, ConfigurationError) as error:
        problems.add(f"classifier: {error}")


def load_judge(given: Namespace, detector: FaceDetectorBase, device: str) -> Judge:
    """The judge that arguments name, on a device.

    Args:
        given: parsed arguments.
        detector: what ``--detector`` was instantiated to.
        device: where it shall judge.

    Raises:
        CheckpointError: the classifier is damaged.
    """
    names = {"classifier": given.classifier, "detector": given.detector.as_dict()}
    if given.faces == "all" and isinstance(detector, FaceDetector):
        detector.faces = "all"
    return Judge(detector.to(device), load_classifier(given.classifier).to(device), names, given.faces)


def load_encoders(given: Namespace, device: str) -> Encoders:
    """The encoders that arguments name, on a device.

    Raises:
        CheckpointError: one is damaged.
    """
    if given.clip or given.dino:
        quieten_libraries()
    clip = None if given.clip is None else ClipEncoder.load(given.clip).to(device)
    dino = None if given.dino is None else DinoEncoder.load(given.dino).to(device)
    return Encoders(clip, dino, {name: given[name] for name in ("clip", "dino") if given[name] is not None})
