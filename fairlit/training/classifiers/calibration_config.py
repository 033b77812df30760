"""Which classifier is measured, and on which labelled faces."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

from dataclasses import dataclass
from typing import Any, ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """Settings of `fairlit classifier calibrate`; see `fairlit.training.classifiers.calibrating`.

    Args:
        classifier: folder of a classifier, YAML file of words for CLIP, or a class path
        data: layout of the faces: labelled (images and labels.csv), fairface or celeba
        folder: folder of the faces; their validation split is used
        overwrite: replace temperatures and confusion matrices that the classifier has from earlier faces
        classes: YAML file, attribute -> class -> labels; labels have the names of the classes by default
        batch_size: number of faces looked at together
        num_workers: number of processes that read images
        device: device of the classifier: auto (a GPU if there is one), cpu, cuda, cuda:1, mps
    """

    heading: ClassVar[str] = "Calibration"

    classifier: str | dict[str, Any] | None = None
    data: Literal["labelled", "fairface", "celeba"] = "labelled"
    folder: str | None = None
    overwrite: bool = False
    classes: str | None = None
    batch_size: int = 64
    num_workers: int = 0
    device: str = "auto"
