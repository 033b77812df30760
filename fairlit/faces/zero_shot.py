"""Attributes that nobody has labelled: CLIP compares faces, or whole images, with words.

A class is a list of words. Its direction is the mean of CLIP's directions of all its words in all templates, and a
logit is CLIP's own scale times the cosine (Radford et al., arXiv 2103.00020, section 3.1.4). What it perceives is what
the captions in CLIP's training data said of pictures, with all that is one-sided in them: measure it before you rely
on it.

    clip: checkpoints/miniature/clip            # folder or hub id
    looks_at: face                              # or image: the whole picture around a face
    crop: {kind: box, margin: 0.3}              # where it looks at faces
    templates: ["a photo of the face of a {word} person"]
    classes:
      age: {young: [young, youthful], old: [old, elderly]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.class_merging import merge_problems
from fairlit.faces.classifier import crop_for
from fairlit.faces.classifier_config import CropSettings, class_problems, temperature_problems
from fairlit.faces.detector import Faces
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.io.finiteness import require_finite
from fairlit.io.foreign_text import shortened
from fairlit.io.shipped import locate
from fairlit.io.yaml_files import read_yaml
from fairlit.perception.clip import ClipEncoder

LooksAt = Literal["face", "image"]
PLACEHOLDER = "{word}"


@dataclass(frozen=True)
class ZeroShotConfig:
    """Checked settings of a classifier from words.

    Attributes:
        clip: CLIP model: folder or hub id.
        classes: Attribute -> class -> the words that describe it.
        templates: Texts around a word, which takes the place of ``{word}``.
        looks_at: `face`, the crop around a face, or `image`, the whole picture that a face is in.
        crop: Kind and margin of the crops.
        temperature: Logits of an attribute are divided by it (1 where not given).

    Raises:
        ConfigurationError: Something in it is wrong; all of it is named.
    """

    clip: str
    classes: dict[str, dict[str, list[str]]]
    templates: list[str] = field(default_factory=lambda: ["a photo of a {word} person"])
    looks_at: LooksAt = "face"
    crop: CropSettings = field(default_factory=CropSettings)
    temperature: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with Problems("zero-shot classifier") as problems:
            if not isinstance(self.clip, str) or not self.clip:
                problems.add(f"clip is {self.clip!r}: give the folder or hub id of a CLIP model")
            found = class_problems(self.classes)
            unworded = [] if found else [a for a, names in self.classes.items() if not isinstance(names, Mapping)]
            found += [f"classes of {name!r} are without words: give each class a list of words" for name in unworded]
            for problem in (*found, *([] if found else merge_problems(self.classes)), *self.crop.problems()):
                problems.add(problem)
            if self.looks_at not in get_args(LooksAt):
                problems.add(f"looks_at is {self.looks_at!r}: give {' or '.join(map(repr, get_args(LooksAt)))}")
            if not isinstance(self.templates, list | tuple) or not self.templates:
                problems.add(f"templates is {self.templates!r}: give a list of texts with {PLACEHOLDER}")
            for template in self.templates if isinstance(self.templates, list | tuple) else ():
                if not isinstance(template, str) or template.count(PLACEHOLDER) != 1:
                    problems.add(f"templates has {template!r}: put {PLACEHOLDER} into it, once")
            for problem in temperature_problems(self.temperature, self.classes):
                problems.add(problem)

    @property
    def fingerprint(self) -> str:
        """A text that changes with words and settings."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, path: str | Path) -> ZeroShotConfig:
        """Reads a YAML file.

        Raises:
            CheckpointError: There is no such file, or it is no YAML.
            ConfigurationError: What it says does not do.
        """
        try:
            data = read_yaml(path, "a YAML file with clip, classes, ...")
        except ConfigurationError as error:
            raise CheckpointError(f"classifier: {error}") from error
        if not isinstance(data, dict):
            raise ConfigurationError(f"{path} holds no mapping: give clip, classes and their words")
        known = [entry.name for entry in fields(cls)]
        with Problems(str(path)) as problems:
            for key in sorted(set(data) - set(known), key=str):
                problems.add(f"unknown key {key!r}: write one of {', '.join(known)}")
            for key in ("clip", "classes"):
                if key not in data:
                    problems.add(f"{key} is missing: give it")
        try:
            located = {**data, "clip": locate(data["clip"])}  # the example models may be installed
            return cls(**{**located, "crop": CropSettings(**data.get("crop", {}))})
        except (TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path}: a value has the wrong type ({error}): correct it") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error


class ClipZeroShotClassifier(FaceClassifier):
    """CLIP as a classifier of whatever words describe. Use `load`.

    Args:
        encoder: CLIP.
        config: What it classifies and how; checked already.
    """

    def __init__(self, encoder: ClipEncoder, config: ZeroShotConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        scale = encoder.model.logit_scale.detach().exp().reshape(1)
        self.scale = float(require_finite(scale, "clip: scale of its logits"))
        for index, words_of in enumerate(config.classes.values()):
            directions = torch.stack([self._direction(words) for words in words_of.values()])
            self.register_buffer(f"directions_{index}", directions, persistent=False)
        self.freeze()

    @classmethod
    def load(cls, path: str | Path) -> ClipZeroShotClassifier:
        """Opens the CLIP model that a YAML file names, and reads its words.

        Raises:
            CheckpointError: The file or the model is missing or damaged.
            ConfigurationError: What the file says does not do, or the model is no CLIP.
        """
        config = ZeroShotConfig.read(path)
        return cls(ClipEncoder.load(config.clip), config)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names of each attribute, in the order of the logits' columns."""
        return {attribute: tuple(names) for attribute, names in self.config.classes.items()}

    @property
    def temperature(self) -> dict[str, float]:
        """What the logits of each attribute have been divided by."""
        return {attribute: self.config.temperature.get(attribute, 1.0) for attribute in self.config.classes}

    @property
    def fingerprint(self) -> str:
        """Its words and settings."""
        return self.config.fingerprint

    @property
    def size(self) -> int:
        """Side of the pictures that it looks at, in pixels."""
        return self.encoder.pixels.size

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Compares crops, or whole pictures, with words; see `FaceClassifier.forward`."""
        features = self.encoder.image_features(faces) if len(faces) else faces.flatten(1).sum(dim=1, keepdim=True)
        return {
            attribute: self.scale * self._cosines(features, index) / self.temperature[attribute]
            for index, attribute in enumerate(self.config.classes)
        }

    def crop(self, images: Tensor, faces: Faces) -> Tensor:
        """Crops faces, or gives the whole picture once for each face; see `FaceClassifier.crop`."""
        if self.config.looks_at == "image":
            return images[faces.image_index]
        return crop_for(images, faces, self.size, crop=self.config.crop)

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        """Compares faces with words; see `FaceClassifier.classify`."""
        return self(self.crop(images, faces))

    def _cosines(self, features: Tensor, index: int) -> Tensor:
        """[F, K]; where there is no face, still part of the graph."""
        directions = self.get_buffer(f"directions_{index}")
        if len(features) == 0:
            return features.expand(0, len(directions))
        # No matrix product: autocast would round cosines to half precision, and the scale is about 100.
        return (features[:, None].float() * directions).sum(dim=-1)

    def _direction(self, words: list[str]) -> Tensor:
        """[D] of length 1: the mean over words and templates."""
        texts = [template.replace(PLACEHOLDER, word) for word in words for template in self.config.templates]
        features = require_finite(self.encoder.text_features(texts), f"clip: features of {shortened(words)}")
        return functional.normalize(features.mean(dim=0), dim=-1)


def read_words(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Class names of each attribute in a YAML file of words; no model is opened.

    Raises:
        CheckpointError: There is no such file, or it is no YAML.
        ConfigurationError: What it says does not do.
    """
    return {attribute: tuple(names) for attribute, names in ZeroShotConfig.read(path).classes.items()}
