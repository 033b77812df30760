"""The classifier that a setting stands for: a folder of weights, words for CLIP, or a class of somebody's own."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
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
    return _source(path).load()


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
    return _source(path).classes()


def read_reliability(path: ClassSpec | Path) -> dict[str, Reliability]:
    """Return what the saved validation says of a classifier's attributes, without loading its weights.

    A class of somebody's own is built and asked where it tells confusion matrices; a file of words has none.

    Args:
        path: as for `load_classifier`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigurationError: a config does not do, or the class cannot be imported or built.
    """
    return _source(path).reliability()


def check_classifier_files(path: ClassSpec | Path, subject: str, problems: Problems) -> None:
    """Note weights that are missing or cut short; what is wrong with a config or class, `read_classes` says.

    Args:
        path: as for `load_classifier`.
        subject: name of the setting, which begins every message.
        problems: collector of the messages.
    """
    _source(path).check_files(subject, problems)


def classifier_digest(path: ClassSpec | Path) -> str:
    """Return a name for all that decides the answers of a classifier, without loading weights out of a folder.

    A class of somebody's own is built and asked for its `fingerprint`. Of a CLIP model on a hub, its id counts.

    Args:
        path: as for `load_classifier`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigurationError: a config does not do, or the class cannot be imported or built.
    """
    return _source(path).digest()


def same_classifier(one: ClassSpec, other: ClassSpec) -> bool:
    """Return whether two settings stand for the same classifier.

    Args:
        one: setting as for `load_classifier`.
        other: another such setting.
    """
    if is_class_spec(one) or is_class_spec(other):
        return one == other
    return _path(one).resolve() == _path(other).resolve()


class _Source(ABC):
    """Where a classifier comes from. Its methods answer for the functions above."""

    @abstractmethod
    def load(self) -> FaceClassifier: ...

    @abstractmethod
    def classes(self) -> dict[str, tuple[str, ...]]: ...

    @abstractmethod
    def reliability(self) -> dict[str, Reliability]: ...

    @abstractmethod
    def check_files(self, subject: str, problems: Problems) -> None: ...

    @abstractmethod
    def digest(self) -> str: ...


@dataclass(frozen=True)
class _Folder(_Source):
    """What `AttributeClassifier.save` wrote."""

    path: Path

    def load(self) -> FaceClassifier:
        from fairlit.faces.classifier import AttributeClassifier

        return AttributeClassifier.load(self.path)

    def classes(self) -> dict[str, tuple[str, ...]]:
        from fairlit.faces.classifier_config import ClassifierConfig

        return ClassifierConfig.read(self.path).classes

    def reliability(self) -> dict[str, Reliability]:
        from fairlit.faces.classifier_config import ClassifierConfig
        from fairlit.faces.reliability import reliability

        config = ClassifierConfig.read(self.path)
        return reliability({name: entry.confusion for name, entry in config.validation.items()}, config.classes)

    def check_files(self, subject: str, problems: Problems) -> None:
        if self.path.is_dir():
            check_weights(self.path, subject, problems, suffixes=(".safetensors",))

    def digest(self) -> str:
        from fairlit.faces.classifier_config import ClassifierConfig

        config = ClassifierConfig.read(self.path)
        return text_digest(f"{files_digest(sorted(self.path.glob('[!.]*.safetensors')))} {config.fingerprint}")


@dataclass(frozen=True)
class _Words(_Source):
    """A YAML file of words for CLIP."""

    path: Path

    def load(self) -> FaceClassifier:
        from fairlit.faces.zero_shot import ClipZeroShotClassifier

        return ClipZeroShotClassifier.load(self.path)

    def classes(self) -> dict[str, tuple[str, ...]]:
        from fairlit.faces.zero_shot import read_words

        return read_words(self.path)

    def reliability(self) -> dict[str, Reliability]:
        return {}

    def check_files(self, subject: str, problems: Problems) -> None:
        from fairlit.faces.zero_shot import ZeroShotConfig

        try:
            clip = ZeroShotConfig.read(self.path).clip
        except (CheckpointError, ConfigurationError):
            return
        check_model_folder(clip, f"{subject}: clip", problems)

    def digest(self) -> str:
        from fairlit.faces.zero_shot import ZeroShotConfig

        words = ZeroShotConfig.read(self.path)
        return text_digest(f"{model_digest(words.clip)} {words.fingerprint}")


@dataclass(frozen=True)
class _OwnClass(_Source):
    """A class of somebody's own."""

    spec: ClassSpec | Path

    def load(self) -> FaceClassifier:
        from fairlit.faces.face_classifier import FaceClassifier

        return instantiate(self.spec, FaceClassifier, "classifier").freeze()

    def classes(self) -> dict[str, tuple[str, ...]]:
        classes = getattr(self._find(), "classes", None)
        if not isinstance(classes, Mapping):
            classes = self.load().classes
        return {attribute: tuple(names) for attribute, names in classes.items()}

    def reliability(self) -> dict[str, Reliability]:
        from fairlit.faces.face_classifier import FaceClassifier

        return {} if self._find().confusion is FaceClassifier.confusion else self.load().reliability

    def check_files(self, subject: str, problems: Problems) -> None:
        """Note nothing: what files there are, the class alone knows."""

    def digest(self) -> str:
        classifier = self.load()
        arguments = json.dumps(read_class_spec(self.spec, "classifier"), sort_keys=True, default=str)
        return text_digest(f"{module_digest(classifier)} {classifier.fingerprint} {arguments}")

    def _find(self) -> type[FaceClassifier]:
        from fairlit.faces.face_classifier import FaceClassifier

        return find_class(self.spec, FaceClassifier, "classifier")


def _source(path: ClassSpec | Path) -> _Source:
    if is_class_spec(path):
        return _OwnClass(path)
    file = _path(path)
    return _Words(file) if file.suffix in (".yaml", ".yml") and not file.is_dir() else _Folder(file)


def _path(path: ClassSpec | Path) -> Path:
    if isinstance(path, dict):
        raise ConfigurationError(f"classifier: got {path!r}; expected a folder, a file or a class; give class_path")
    return Path(path)
