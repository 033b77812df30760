"""Which generated pictures become labelled crops, and for which classifier."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

from dataclasses import dataclass, field
from typing import Any, ClassVar

from fairlit.faces.detection import FaceDetection


@dataclass(frozen=True, kw_only=True)
class LabelledCropsConfig:
    """Settings of `fairlit classifier crop`; see `fairlit.judging.labelled_crops`.

    Args:
        folder: folder of pictures that a method which deals out classes has generated, with manifest.jsonl
        classifier: classifier to crop for: a folder, a YAML file of words for CLIP, or a class path
        out: folder for the crops and labels.csv
        overwrite: replace the crops and labels.csv that the folder holds
        detector: class path of a face detector of your own, or {class_path, init_args}; MTCNN by default
        detection: how MTCNN looks for faces
        batch_size: number of pictures that go through the detector together
        device: device of the detector: auto (a GPU if there is one), cpu, cuda, cuda:1, mps
    """

    heading: ClassVar[str] = "Labelled crops"

    folder: str | None = None
    classifier: str | dict[str, Any] | None = None
    out: str | None = None
    overwrite: bool = False
    detector: str | dict[str, Any] | None = None
    detection: FaceDetection = field(default_factory=FaceDetection)
    batch_size: int = 16
    device: str = "auto"
