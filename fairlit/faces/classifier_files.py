"""The classifier that a setting stands for: a folder of weights, words for CLIP, or a class of somebody's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.io.class_paths import ClassSpec, find_class, instantiate, is_class_spec, read_class_spec
from fairlit.io.digests import files_digest, module_digest, text_digest
from fairlit.io.model_folders import check_model_folder, check_weights, model_digest

if TYPE_CHECKING:
    from fairlit.faces.face_classifier import FaceClassifier
    from fairlit.faces.reliability import Reliability


def load_classifier(path: ClassSpec | Path) -> FaceClassifier:
    """Open a classifier, frozen.

    Args:
        path: folder that `AttributeClassifier.save` wrote, YAML file as in `fairlit.faces.zero_shot`, or class of a
            `FaceClassifier` as in `fairlit.io.class_paths`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigurationError: a config does not do, or the class cannot be imported or built.
    """
    if is_class_spec(path):
        from fairlit.faces.face_classifier import FaceClassifier

        return instantiate(path, FaceClassifier, "classifier").freeze()
    file = _path(path)
    if _is_words(file):
        from fairlit.faces.zero_shot import ClipZeroShotClassifier

        return ClipZeroShotClassifier.load(file)
    from fairlit.faces.classifier import AttributeClassifier

    return AttributeClassifier.load(file)


def read_classes(path: ClassSpec | Path) -> dict[str, tuple[str, ...]]:
    """Return the class names of each attribute of a classifier, without loading its weights.

    A class of somebody's own tells them without being built where `classes` is an attribute of the class; where it is
    a property, an object is built to ask it.

    Args:
        path: as for `load_classifier`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigurationError: a config does not do, or the class cannot be imported or built.
    """
    if is_class_spec(path):
        from fairlit.faces.face_classifier import FaceClassifier

        classes = getattr(find_class(path, FaceClassifier, "classifier"), "classes", None)
        if not isinstance(classes, Mapping):
            classes = load_classifier(path).classes
        return {attribute: tuple(names) for attribute, names in classes.items()}
    file = _path(path)
    if _is_words(file):
        from fairlit.faces.zero_shot import read_words

        return read_words(file)
    from fairlit.faces.classifier_config import ClassifierConfig

    return ClassifierConfig.read(file).classes


def read_reliability(path: ClassSpec | Path) -> dict[str, Reliability]:
    """Return what the saved validation says of a classifier's attributes, without loading its weights.

    A class of somebody's own is built and asked where it tells confusion matrices; a file of words has none.

    Args:
        path: as for `load_classifier`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigurationError: a config does not do, or the class cannot be imported or built.
    """
    from fairlit.faces.reliability import reliability

    if is_class_spec(path):
        from fairlit.faces.face_classifier import FaceClassifier

        if find_class(path, FaceClassifier, "classifier").confusion is FaceClassifier.confusion:
            return {}
        return load_classifier(path).reliability
    file = _path(path)
    if _is_words(file):
        return {}
    from fairlit.faces.classifier_config import ClassifierConfig

    config = ClassifierConfig.read(file)
    return reliability({name: entry.confusion for name, entry in config.validation.items()}, config.classes)


def check_classifier_files(path: ClassSpec | Path, subject: str, problems: Problems) -> None:
    """Note weights that are missing or cut short; what is wrong with a config or class, `read_classes` says.

    Args:
        path: as for `load_classifier`.
        subject: name of the setting, which begins every message.
        problems: collector of the messages.
    """
    if is_class_spec(path):
        return
    file = _path(path)
    if not _is_words(file):
        if file.is_dir():
            check_weights(file, subject, problems, suffixes=(".safetensors",))
        return
    from fairlit.faces.zero_shot import ZeroShotConfig

    try:
        clip = ZeroShotConfig.read(file).clip
    except (CheckpointError, ConfigurationError):
        return
    check_model_folder(clip, f"{subject}: clip", problems)


def classifier_digest(path: ClassSpec | Path) -> str:
    """Return a name for all that decides the answers of a classifier, without loading weights out of a folder.

    A class of somebody's own is built and asked for its `fingerprint`. Of a CLIP model on a hub, its id counts.

    Args:
        path: as for `load_classifier`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigurationError: a config does not do, or the class cannot be imported or built.
    """
    if is_class_spec(path):
        classifier = load_classifier(path)
        arguments = json.dumps(read_class_spec(path, "classifier"), sort_keys=True, default=str)
        return text_digest(f"{module_digest(classifier)} {classifier.fingerprint} {arguments}")
    file = _path(path)
    if _is_words(file):
        from fairlit.faces.zero_shot import ZeroShotConfig

        words = ZeroShotConfig.read(file)
        return text_digest(f"{model_digest(words.clip)} {words.fingerprint}")
    from fairlit.faces.classifier_config import ClassifierConfig

    config = ClassifierConfig.read(file)
    return text_digest(f"{files_digest(sorted(file.glob('[!.]*.safetensors')))} {config.fingerprint}")


def same_classifier(one: ClassSpec, other: ClassSpec) -> bool:
    """Return whether two settings stand for the same classifier.

    Args:
        one: setting as for `load_classifier`.
        other: another such setting.
    """
    if is_class_spec(one) or is_class_spec(other):
        return one == other
    return _path(one).resolve() == _path(other).resolve()


def _path(path: ClassSpec | Path) -> Path:
    if isinstance(path, dict):
        raise ConfigurationError(f"classifier: got {path!r}; expected a folder, a file or a class; give class_path")
    return Path(path)


def _is_words(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") and not path.is_dir()
