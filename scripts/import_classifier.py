"""Turns a classifier that others published into a folder for `models.classifier` or `models.audit_classifier`, once.

    python scripts/import_classifier.py fair-diffusion model.pt --out classifiers/shen
    python scripts/import_classifier.py fairface-7 res34_fair_align.pt --out classifiers/fairface --classes 4.yaml
    python scripts/import_classifier.py transformers path/to/folder --attribute age --out classifiers/age

`--classes` names a YAML file with the classes to keep, or to merge the published labels into:

    race: {WMELH: [White, Middle Eastern, Latino_Hispanic], Black: [Black], Indian: [Indian], Asian: [East Asian, ...]}

Nothing is trained, and files are read without pickle. The result has temperature 1 and no confusion matrix until
scripts/calibrate_classifier.py gives it some.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fairlit.errors import ConfigurationError, FairlitError
from fairlit.faces import AttributeClassifier, CropSettings
from fairlit.faces.class_merging import read_merges
from fairlit.faces.classifier_config import CROP_KINDS
from fairlit.faces.importing import PUBLISHED, import_published, import_transformers


def convert(arguments: argparse.Namespace) -> AttributeClassifier:
    """The classifier that the command line asks for."""
    classes = read_merges(arguments.classes) if arguments.classes else None
    if arguments.kind != "transformers":
        return import_published(arguments.source, arguments.kind, classes)
    if not arguments.attribute:
        raise ConfigurationError("--attribute is missing: say what the model classifies")
    if classes is not None and arguments.attribute not in classes:
        raise ConfigurationError(
            f"{arguments.classes} has {', '.join(classes)}: give classes of {arguments.attribute!r}"
        )
    chosen = None if classes is None else classes[arguments.attribute]
    return import_transformers(
        arguments.source, arguments.attribute, chosen, CropSettings(arguments.crop, arguments.margin)
    )


def main(args: list[str] | None = None) -> None:
    """Reads the command line and converts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*PUBLISHED, "transformers"], help="what it is")
    parser.add_argument("source", type=Path, help="the published file, or the folder of a transformers model")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--classes", type=Path, help="YAML file of classes to keep or to merge into")
    parser.add_argument("--attribute", help="transformers: name of what the model classifies")
    parser.add_argument(
        "--crop", choices=CROP_KINDS, default="box", help="transformers: how its training faces were cut"
    )
    parser.add_argument("--margin", type=float, default=0.0, help="transformers: the margin of these crops")
    arguments = parser.parse_args(args)
    try:
        classifier = convert(arguments)
        classifier.save(arguments.out)
    except FairlitError as error:
        parser.exit(2, f"fairlit: {error}\n")
    for attribute, names in classifier.classes.items():
        print(f"{attribute}  {', '.join(names)}")
    print(f"classifier  {arguments.out}")


if __name__ == "__main__":
    main()
