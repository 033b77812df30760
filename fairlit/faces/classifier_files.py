"""The classifier that a path in a config stands for: a folder of weights, or a YAML file of words for CLIP."""

from __future__ import annotations

from pathlib import Path

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.faces.zero_shot import ClipZeroShotClassifier, ZeroShotConfig, read_words
from fairlit.io.model_folders import check_model_folder, check_weights


def load_classifier(path: str | Path) -> FaceClassifier:
    """Opens a classifier, frozen.

    Args:
        path: What `AttributeClassifier.save` wrote, or a YAML file as in `fairlit.faces.zero_shot`.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigurationError: What a config says does not do.
    """
    return ClipZeroShotClassifier.load(path) if _is_words(path) else AttributeClassifier.load(path)


def read_classes(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Class names of each attribute of a classifier, without any weights.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigurationError: What a config says does not do.
    """
    return read_words(path) if _is_words(path) else AttributeClassifier.read_classes(path)


def check_classifier_files(path: str | Path, subject: str, problems: Problems) -> None:
    """Notes weights that are missing or cut short; what is wrong with a config, `read_classes` says.

    Args:
        path: As for `load_classifier`.
        subject: The parameter's name, begins every message.
        problems: Where messages go.
    """
    if not _is_words(path):
        if Path(path).is_dir():
            check_weights(Path(path), subject, problems, (".safetensors",))
        return
    try:
        clip = ZeroShotConfig.read(path).clip
    except (CheckpointError, ConfigurationError):
        return
    check_model_folder(clip, f"{subject}: clip", problems)


def _is_words(path: str | Path) -> bool:
    return Path(path).suffix in (".yaml", ".yml") and not Path(path).is_dir()
