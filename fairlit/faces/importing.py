"""Classifiers that others trained and published, turned once into folders that `AttributeClassifier.load` opens.

Their weights go into the very same network; nothing is trained. What they perceive is what their makers labelled.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageClassification
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fairlit.errors import ConfigurationError, Problems
from fairlit.faces.architectures import build_network
from fairlit.faces.class_merging import (
    Classes,
    class_names,
    class_of_label,
    merge_problems,
    read_merges,
    uncovered_problems,
)
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.classifier_config import ClassifierConfig, CropSettings
from fairlit.faces.earlier_import import holds_import, import_settings, note_import
from fairlit.faces.importing_config import ClassifierImportConfig
from fairlit.faces.weights import load_weights
from fairlit.io.foreign_text import parsed
from fairlit.io.output_places import check_writable
from fairlit.perception.image_processor import PixelSettings, read_pixel_settings
from fairlit.perception.loading import load_frozen

_LOG = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of logits, relative and absolute, between the published network and what it was turned into


@dataclass(frozen=True)
class PublishedFile:
    """A published state dict of a torchvision network with a new last layer.

    Attributes:
        architecture: A name in `fairlit.faces.architectures.ARCHITECTURES`.
        labels: Attribute -> label of each of its logits, in the order of the last layer's rows.
        rows: Rows of the last layer; those beyond `labels` are left out.
        crop: The faces it was trained on, as nearly as fairlit crops them.
        mean: Subtracted from each channel of images in [0, 1].
        std: Each channel is then divided by it.
        input_size: Side of its input in pixels.
    """

    architecture: str
    labels: dict[str, tuple[str, ...]]
    rows: int
    crop: CropSettings
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: int = 224


_FAIRFACE_REST = {
    "gender": ("Male", "Female"),
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
}
_CHIP = CropSettings("chip", 0.25)
_IMAGENET = (tuple(IMAGENET_DEFAULT_MEAN), tuple(IMAGENET_DEFAULT_STD))

PUBLISHED: dict[str, PublishedFile] = {
    # Shen et al., ICLR 2024: boxes enlarged by half, pixels in [-1, 1].
    "fair-diffusion": PublishedFile(
        "mobilenet_v3_large",
        {"gender": ("female", "male"), "race": ("WMELH", "Black", "Indian", "Asian"), "age": ("young", "old")},
        8,
        CropSettings("box", 0.25),
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
    ),
    # Karkkainen and Joo, FairFace, WACV 2021: dlib's face chips, pixels normalised as for ImageNet.
    "fairface-7": PublishedFile(
        "resnet34",
        {
            "race": (
                "White",
                "Black",
                "Latino_Hispanic",
                "East Asian",
                "Southeast Asian",
                "Indian",
                "Middle Eastern",
            ),
            **_FAIRFACE_REST,
        },
        18,
        _CHIP,
        *_IMAGENET,
    ),
    # Its file for four races has 18 rows too, of which the first four are in use.
    "fairface-4": PublishedFile("resnet34", {"race": ("White", "Black", "Asian", "Indian")}, 18, _CHIP, *_IMAGENET),
}


TRANSFORMERS = "transformers"
"""Kind of an image-classification model of transformers, beside those in `PUBLISHED`."""


def import_classifier(config: ClassifierImportConfig) -> AttributeClassifier:
    """Turn a classifier that others published into a folder for `models.classifier` or `models.audit_classifier`.

    Nothing is trained, and files are read without pickle. The result has temperature 1 and no confusion matrix until it
    is calibrated. A folder that holds the classifier of these very settings is left as it is.

    Args:
        config: settings. Everything in it is checked before the file is read.

    Returns:
        The classifier, frozen, as the folder holds it.

    Raises:
        ConfigurationError: the settings are wrong, or the classes do not cover the labels.
        CheckpointError: the file is missing, damaged or of another network.
    """
    classes, is_there = _check_import(config)
    source, out = str(config.source), Path(config.out or "")
    if is_there:
        _LOG.info("found    %s: imported from the same source with the same settings before", out)
        return AttributeClassifier.load(out)
    if config.kind == TRANSFORMERS:
        attribute = str(config.attribute)
        chosen = None if classes is None else classes[attribute]
        classifier = import_transformers(source, attribute, chosen, crop=CropSettings(config.crop, config.margin))
    else:
        classifier = import_published(source, str(config.kind), classes)
    classifier.save(out)
    note_import(out, import_settings(config, classes))
    return classifier


def _check_import(config: ClassifierImportConfig) -> tuple[Classes | None, bool]:
    """Return the classes to keep and whether the result is there already; name all that is wrong with the settings."""
    kinds = (*PUBLISHED, TRANSFORMERS)
    classes, is_there = None, False
    with Problems("classifier import") as problems:
        if config.kind not in kinds:
            problems.add(f"kind: got {config.kind!r}; expected one of {', '.join(kinds)}; give what was published")
        if config.source is None:
            problems.add("source: got nothing; give the published file, or the folder of a transformers model")
        if config.out is None:
            problems.add("out: got nothing; give --out, the folder to write")
        else:
            check_writable(config.out, "out", problems)
        if config.classes is not None:
            with problems.collecting():
                classes = read_merges(config.classes)
        if config.kind == TRANSFORMERS and config.attribute is None:
            problems.add("attribute: got nothing; give --attribute, the name of what the model classifies")
        elif config.kind == TRANSFORMERS and classes is not None and config.attribute not in classes:
            problems.add(f"classes: got {', '.join(classes)}; give classes of {config.attribute!r}")
        if not problems.messages and not config.overwrite and Path(str(config.source)).exists():
            is_there = holds_import(Path(str(config.out)), import_settings(config, classes), problems)
    return classes, is_there


def import_published(file: str | Path, kind: str, classes: Classes | None = None) -> AttributeClassifier:
    """Turns a published state dict into an attribute classifier.

    Args:
        file: `.safetensors`, or a file that `torch.save` wrote with a state dict; read without pickle.
        kind: A key of `PUBLISHED`.
        classes: Attributes to keep, and classes to merge their labels into; None: all as published.

    Returns:
        The classifier, frozen.

    Raises:
        CheckpointError: The file is missing, damaged or of another network; the first wrong tensor is named.
        ConfigurationError: Unknown kind, or `classes` does not cover the labels.
    """
    if kind not in PUBLISHED:
        raise ConfigurationError(f"kind is {kind!r}: choose one of {', '.join(PUBLISHED)}")
    published = PUBLISHED[kind]
    network, path = build_network(published.architecture, {})
    last = network.get_submodule(path)
    assert isinstance(last, nn.Linear)
    network.set_submodule(path, nn.Linear(last.in_features, published.rows))
    chosen = _chosen(published.labels, classes)
    load_weights(network, Path(file))
    settings: dict[str, Any] = {
        "architecture": published.architecture,
        "input_size": published.input_size,
        "crop": published.crop,
        "mean": published.mean,
        "std": published.std,
    }
    return _transplant(network, path, published.labels, chosen=chosen, settings=settings)


def import_transformers(
    folder: str | Path,
    attribute: str,
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    *,
    crop: CropSettings | None = None,
) -> AttributeClassifier:
    """Turns the folder of a transformers image-classification model into a classifier of one attribute.

    Args:
        folder: What `save_pretrained` wrote: config.json, model.safetensors, and preprocessor_config.json if there is
            one. Never asked for on a hub.
        attribute: Name of what it classifies.
        classes: Classes to merge its labels (`id2label`) into, or the labels in another order; None: as they are.
        crop: How the faces that it was trained on were cropped; None: the detector's box.

    Returns:
        The classifier, frozen.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigurationError: `classes` does not cover the labels, the labels do not exclude each other, or the model
            does not end with a linear layer over features.
    """
    _check_exclusive(Path(folder))
    model = load_frozen(str(folder), AutoModelForImageClassification, None, local_files_only=True, subject="classifier")
    labels = {attribute: tuple(model.config.id2label[index] for index in range(model.config.num_labels))}
    chosen = _chosen(labels, None if classes is None else {attribute: classes})  # type: ignore[dict-item]
    skipped = {"transformers_version", "id2label", "label2id", "architectures", "dtype", "problem_type"}
    arguments = {name: value for name, value in model.config.to_diff_dict().items() if name not in skipped}
    arguments = json.loads(json.dumps(arguments | {"num_labels": model.config.num_labels}))
    size = model.config.image_size if isinstance(getattr(model.config, "image_size", None), int) else 224
    defaults = PixelSettings(size=size, mean=_IMAGENET[0], std=_IMAGENET[1])
    pixels = read_pixel_settings(str(folder), defaults, local_files_only=True)
    crop = crop or CropSettings()
    # what a central crop leaves of the face that the model was trained on
    crop = crop if pixels.kept == 1 else replace(crop, margin=((1 + 2 * crop.margin) * pixels.kept - 1) / 2)
    network, path = build_network("transformers", arguments)
    network.load_state_dict({f"model.{name}": tensor for name, tensor in model.state_dict().items()})
    settings: dict[str, Any] = {
        "architecture": "transformers",
        "architecture_args": arguments,
        "input_size": pixels.size,
        "crop": crop,
        "mean": pixels.mean,
        "std": pixels.std,
    }
    return _transplant(network, path, labels, chosen=chosen, settings=settings)


def _check_exclusive(folder: Path) -> None:
    """Refuse a model whose labels are independent of each other, or numbers; what is damaged, loading tells."""
    try:
        config = parsed((folder / "config.json").read_bytes())
    except OSError:
        return
    kind = config.get("problem_type") if isinstance(config, dict) else None
    if kind not in (None, "single_label_classification"):
        raise ConfigurationError(
            f"source: got a model of problem_type {kind!r} in {folder}; expected single_label_classification, whose "
            "labels exclude each other as classes do; give another model, or train a classifier of your own"
        )


def _chosen(labels: Mapping[str, tuple[str, ...]], classes: Classes | None) -> Classes:
    """The classes that are wanted, checked against the labels that there are."""
    if classes is None:
        return {attribute: list(names) for attribute, names in labels.items()}
    with Problems("classes") as problems:
        for attribute in classes:
            if attribute not in labels:
                problems.add(f"classes names {attribute!r}, there are {', '.join(labels)}: correct the name")
        for problem in (*merge_problems(classes), *uncovered_problems(classes, labels)):
            problems.add(problem)
    return classes


@torch.no_grad()
def _transplant(
    network: nn.Module, path: str, labels: Mapping[str, tuple[str, ...]], *, chosen: Classes, settings: dict[str, Any]
) -> AttributeClassifier:
    """The classifier with the weights of `network`, whose layer at `path` has a row a label; checked on noise."""
    names = class_names(chosen)
    columns, rows = {}, []
    for attribute in names:
        start = sum(len(others) for others in list(labels.values())[: list(labels).index(attribute)])
        index = class_of_label(chosen[attribute])
        # Where each label is a class of its own, the rows come in the order of the classes.
        order = sorted(range(len(labels[attribute])), key=lambda row: index[labels[attribute][row]])
        columns[attribute] = tuple(names[attribute][index[labels[attribute][row]]] for row in order)
        rows += [start + row for row in order]
    classifier = AttributeClassifier(ClassifierConfig(names, columns=columns, **settings))
    last = network.get_submodule(path)
    assert isinstance(last, nn.Linear)
    inner = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(f"{path}.")}
    classifier.backbone.load_state_dict(inner)
    classifier.head.weight.copy_(last.weight[rows])
    classifier.head.bias.copy_(torch.zeros(len(rows)) if last.bias is None else last.bias[rows])
    classifier.freeze()
    size = classifier.config.input_size
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    published: Tensor = network.eval()((noise - classifier.mean) / classifier.std)[:, rows]
    try:
        same = torch.allclose(classifier.head(classifier.features(noise)), published, TOLERANCE, TOLERANCE)
    except RuntimeError:  # shapes that do not fit
        same = False
    if not same:
        raise ConfigurationError(
            "classifier: logits change in the conversion, because the model does more than one linear layer over its "
            "features: train a classifier of your own on faces that it labels"
        )
    return classifier
