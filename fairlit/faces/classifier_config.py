"""What an attribute classifier is, apart from its weights: the contents of its config.json."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.architectures import architecture_problems
from fairlit.faces.validation import AttributeValidation, read_validation
from fairlit.io.foreign_text import is_sound

CONFIG_NAME = "config.json"
FORMAT = 1
CROP_KINDS = ("box", "aligned", "chip")


@dataclass(frozen=True)
class CropSettings:
    """Which crop of a face a network looks at.

    Attributes:
        kind: `box`, the square around the detector's box; `aligned`, landmarks brought onto a template; or `chip`, eyes
            brought to where dlib's face chips have them, with `margin` for dlib's padding.
        margin: What is added on each side, as a share of the box or template.
    """

    kind: str = "box"
    margin: float = 0.0

    def problems(self) -> list[str]:
        """What is wrong, in words; empty if nothing is."""
        found = []
        if self.kind not in CROP_KINDS:
            found.append(f"crop.kind is {self.kind!r}: give {' or '.join(map(repr, CROP_KINDS))}")
        if not _is_number(self.margin) or self.margin <= -0.5:
            found.append(f"crop.margin is {self.margin!r}: give a number above -0.5 (0.1 adds a tenth on each side)")
        return found


@dataclass(frozen=True)
class ClassifierConfig:
    """Checked settings of an attribute classifier.

    Attributes:
        classes: Class names of each attribute; logit columns come in this order.
        architecture: A name in `fairlit.faces.architectures.ARCHITECTURES`.
        architecture_args: Arguments of torchvision's constructor.
        input_size: Side of the faces that the network sees, in pixels.
        crop: Which part of an image is a face.
        mean: Subtracted from each colour channel of images in [0, 1].
        std: Each channel is then divided by it.
        temperature: Logits of an attribute are divided by it (1 where not given); Guo et al., On Calibration of
            Modern Neural Networks, ICML 2017.
        columns: For attributes whose network tells finer classes apart: the class to which each of its logit columns
            belongs. A class has the probability of its columns together.
        validation: How it did on validation data, for attributes that were validated.

    Raises:
        ConfigurationError: Something in it is wrong; all of it is named.
    """

    classes: dict[str, tuple[str, ...]]
    architecture: str = "mobilenet_v3_small"
    architecture_args: dict[str, Any] = field(default_factory=dict)
    input_size: int = 64
    crop: CropSettings = field(default_factory=CropSettings)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    temperature: dict[str, float] = field(default_factory=dict)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    validation: dict[str, AttributeValidation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with Problems("attribute classifier") as problems:
            for problem in (*class_problems(self.classes), *self.crop.problems()):
                problems.add(problem)
            for problem in architecture_problems(self.architecture, self.architecture_args):
                problems.add(problem)
            if not isinstance(self.input_size, int) or self.input_size < 16:
                problems.add(f"input_size is {self.input_size!r}: give a whole number of pixels from 16 up")
            for name, values in (("mean", self.mean), ("std", self.std)):
                if len(values) != 3 or not all(_is_number(value) for value in values):
                    problems.add(f"{name} is {values}: give three numbers, for red, green and blue")
            if any(_is_number(value) and value <= 0 for value in self.std):
                problems.add(f"std is {self.std}: give numbers above 0")
            for problem in temperature_problems(self.temperature, self.classes):
                problems.add(problem)
            for attribute, names in self.columns.items():
                if set(names) != set(known := self.classes.get(attribute, ())):
                    problems.add(
                        f"columns of {attribute!r} is {list(names)}: give one of {list(known)} for each column, every "
                        "one at least once"
                    )
            validation, found = read_validation(self.validation, self.classes)
            for problem in found:
                problems.add(problem)
        ordered = {attribute: tuple(names) for attribute, names in self.classes.items()}
        object.__setattr__(self, "classes", ordered)
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        object.__setattr__(self, "temperature", {a: float(self.temperature.get(a, 1.0)) for a in ordered})
        merged = {a: tuple(names) for a, names in self.columns.items() if tuple(names) != ordered[a]}
        object.__setattr__(self, "columns", merged)
        object.__setattr__(self, "validation", validation)

    def columns_of(self, attribute: str) -> tuple[str, ...]:
        """The class to which each logit column of the network belongs."""
        return self.columns.get(attribute, self.classes[attribute])

    @property
    def fingerprint(self) -> str:
        """A text that changes with all that decides answers; how the classifier was validated does not."""
        return json.dumps(replace(self, validation={}).to_dict(), sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in config.json."""
        optional = {"columns", "validation"}
        return {"format": FORMAT} | {
            name: value for name, value in asdict(self).items() if value or name not in optional
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassifierConfig:
        """The config whose `to_dict` gave `data`.

        Raises:
            ConfigurationError: Unknown format or key, or a value that does not do.
        """
        values = dict(data)
        if (version := values.pop("format", None)) != FORMAT:
            raise ConfigurationError(
                f"format is {version!r} and this version of fairlit reads {FORMAT}: update fairlit"
            )
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if unknown or "classes" not in values:
            raise ConfigurationError(
                f"unknown keys {unknown}: remove them"
                if unknown
                else "classes is missing: name the attributes' classes"
            )
        try:
            return cls(**{**values, "crop": CropSettings(**values.get("crop", {}))})
        except (TypeError, AttributeError) as error:  # a list where a mapping belongs, and the like
            raise ConfigurationError(f"a value has the wrong type ({error}): correct it") from error

    @classmethod
    def read(cls, folder: str | Path) -> ClassifierConfig:
        """Reads the config of a saved classifier, without its weights.

        Raises:
            CheckpointError: There is no such folder, or no readable config.json in it.
            ConfigurationError: What config.json says does not do.
        """
        path = Path(folder) / CONFIG_NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointError(
                f"classifier {str(folder)!r} has no {CONFIG_NAME}: give the folder that AttributeClassifier.save wrote"
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{str(path)!r} cannot be read ({error}): save the classifier again, or copy it again from its source"
            ) from error
        if not isinstance(data, dict):
            raise CheckpointError(
                f"{str(path)!r} holds a {type(data).__name__}, not a mapping: save the classifier again"
            )
        try:
            return cls.from_dict(data)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error


def class_problems(classes: Mapping[str, Collection[str]]) -> list[str]:
    """What is wrong with attributes and their classes, in words; empty if nothing is."""
    if not isinstance(classes, Mapping) or not classes:
        return [f"classes is {classes!r}: name at least one attribute and its classes"]
    found = []
    for attribute, names in classes.items():
        if not isinstance(attribute, str) or not _is_name(attribute) or any(mark in attribute for mark in "/\\"):
            found.append(f"classes names {attribute!r}: give attributes names of letters, digits and spaces")
            continue
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            found.append(f"classes of {attribute!r} is {names!r}: give a list of names")
        elif not all(map(_is_name, names)):
            found.append(f"classes of {attribute!r} is {list(names)}: give names without control characters")
        elif len(names) < 2 or len(set(names)) != len(names):
            found.append(f"classes of {attribute!r} is {list(names)}: give two or more different names")
    return found


def temperature_problems(temperature: Mapping[str, float], classes: Mapping[str, Any]) -> list[str]:
    """What is wrong with the attributes' temperatures, in words; empty if nothing is."""
    found = []
    for attribute, value in temperature.items():
        if attribute not in classes:
            found.append(f"temperature names {attribute!r}, which is not among the attributes: remove it")
        if not _is_number(value) or value <= 0:
            found.append(f"temperature of {attribute!r} is {value!r}: give a number above 0")
    return found


def _is_name(text: str) -> bool:
    """Whether text can stand in a report, and be part of a file's name."""
    return is_sound(text) and text.isprintable() and text.strip(". ") != ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
