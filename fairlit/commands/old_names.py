"""Settings of commands that had other names in fairlit 0.1.0."""

from __future__ import annotations

from typing import Any

from fairlit.commands.renaming import RenamedKeys
from fairlit.faces.detector_files import DETECTOR

_DETECTION = {
    "detector.init_args.min_face_size": "detection.min_size",
    "detector.init_args.enlarge": "detection.scale",
    "detector.init_args.min_score": "detection.min_score",
    "detector.init_args.batch_size": "detection.batch_size",
    "detector.min_face_size": "detection.min_size",
    "detector.enlarge": "detection.scale",
    "detector.min_score": "detection.min_score",
    "detector.batch_size": "detection.batch_size",
}


def _drop_own_detector(content: dict[str, Any]) -> None:
    """Where a config names fairlit's detector, its settings are `detection`, and the name is no longer needed."""
    detector = content.get("detector")
    if isinstance(detector, dict) and detector.get("class_path") == DETECTOR:
        del detector["class_path"]
        if not detector.get("init_args"):
            del content["detector"]


def _judging(**more: str) -> RenamedKeys:
    return RenamedKeys(
        renamed={**_DETECTION, "people": "faces", "audit_seed": "bootstrap_seed", **more},
        mappers=(_drop_own_detector,),
        classes={"detector": DETECTOR},
    )


AUDIT = _judging(original="reference")
COMPARE = _judging(most_prompts="max_prompts")
EDIT = RenamedKeys(
    renamed={
        "min_face_size": "detection.min_size",
        "enlarge": "detection.scale",
        "min_score": "detection.min_score",
        "people": "faces",
        "editing.least_side": "editing.min_side",
    }
)
EXPORT = RenamedKeys(renamed={"from": "published"})
