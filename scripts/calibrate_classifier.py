"""Measures any classifier on labelled faces and fits its temperatures: an imported one, or one from words.

    python scripts/calibrate_classifier.py classifiers/shen --data fairface --folder path/to/FairFace --classes 4.yaml
    python scripts/calibrate_classifier.py words.yaml --data labelled --folder path/to/faces

The faces must be cropped as the classifier crops them (whole pictures, for words that look at images). A folder gets
temperatures and confusion matrices into its config.json; for a file of words the temperatures are printed. `--classes`
says, as a classifier's config does, which labels make the classifier's classes; without it they have the same names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from fairlit.data import CelebA, FairFace, LabelledFaces
from fairlit.data.faces.datamodule import FaceDataModule, to_floats
from fairlit.errors import FairlitError, Problems
from fairlit.faces import AttributeClassifier, FaceClassifier, load_classifier
from fairlit.faces.calibration import calibrate, describe_validation, measure
from fairlit.faces.class_merging import Classes, read_merges

DATA: dict[str, type[FaceDataModule]] = {"labelled": LabelledFaces, "fairface": FairFace, "celeba": CelebA}


def open_data(arguments: argparse.Namespace, classifier: FaceClassifier) -> FaceDataModule:
    """The labelled faces, refused where their classes are not the classifier's."""
    same: Classes = {attribute: list(names) for attribute, names in classifier.classes.items()}
    classes = read_merges(arguments.classes) if arguments.classes else same
    settings = {"image_size": classifier.size, "batch_size": arguments.batch_size, "num_workers": arguments.num_workers}
    data = DATA[arguments.data](folder=arguments.folder, classes=classes, **settings)
    with Problems("classes") as problems:
        for attribute, names in data.class_names.items():
            if names != (known := classifier.classes.get(attribute)):
                problems.add(f"{attribute} has {names}, the classifier has {known}: give the same, in the same order")
    data.setup("validate")
    return data


def main(args: list[str] | None = None) -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", help="a classifier's folder, or a YAML file of words")
    parser.add_argument("--data", choices=DATA, required=True, help="layout of the faces")
    parser.add_argument("--folder", required=True, help="where the faces are; their validation split is used")
    parser.add_argument("--classes", type=Path, help="YAML file: attribute -> class -> labels")
    parser.add_argument("--batch-size", type=int, default=64, help="faces looked at together")
    parser.add_argument("--num-workers", type=int, default=0, help="processes that read images")
    parser.add_argument("--device", help="by default a GPU if there is one")
    arguments = parser.parse_args(args)
    try:
        classifier = load_classifier(arguments.classifier)
        data = open_data(arguments, classifier)
        classifier.to(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        batches, attributes = map(to_floats, data.val_dataloader()), list(data.class_names)
        if isinstance(classifier, AttributeClassifier):
            calibrate(classifier, batches, attributes)
            temperature, validation = classifier.config.temperature, classifier.config.validation
            classifier.save(arguments.classifier)
        else:
            temperature, validation = measure(classifier, batches, attributes)
    except FairlitError as error:
        parser.exit(2, f"fairlit: {error}\n")
    for line in describe_validation(temperature, validation):
        print(line)
    for attribute, entry in validation.items():
        print(f"{attribute}  faces labelled as a row, perceived as a column: {[list(row) for row in entry.confusion]}")
    if not isinstance(classifier, AttributeClassifier):
        listed = ", ".join(f"{name}: {value:.2f}" for name, value in temperature.items())
        print(f"put into {arguments.classifier}  temperature: {{{listed}}}")


if __name__ == "__main__":
    main()
