"""``fairlit classifier``: classifiers that others published, and how right they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from fairlit.commands.parsing import ConfigCommand
from fairlit.errors import ConfigurationError
from fairlit.faces.importing_config import ClassifierImportConfig
from fairlit.judging.labelled_crops_config import LabelledCropsConfig
from fairlit.training.classifiers.calibration_config import CalibrationConfig

IMPORT = ConfigCommand(
    name="classifier import",
    config=ClassifierImportConfig,
    description=(
        "Turn a classifier that others published into a folder for models.classifier or models.audit_classifier.\n"
        "Nothing is trained, and files are read without pickle. Calibrate the result before you rely on it."
    ),
    examples=(
        "classifier import fair-diffusion model.pt --out classifiers/shen",
        "classifier import fairface-7 res34_fair_align.pt --out classifiers/fairface --classes merge.yaml",
        "classifier import transformers path/to/folder --attribute age --out classifiers/age",
    ),
    positional={"kind": "?", "source": "?"},
)

CALIBRATE = ConfigCommand(
    name="classifier calibrate",
    config=CalibrationConfig,
    description=(
        "Measure a classifier on labelled faces and fit its temperatures: an imported one, or one from words.\n"
        "The faces must be cropped as the classifier crops them. A folder gets temperatures and confusion matrices\n"
        "into its config.json; for a file of words the temperatures are printed."
    ),
    examples=(
        "classifier calibrate classifiers/shen --data fairface --folder path/to/FairFace --classes merge.yaml",
        "classifier calibrate words.yaml --data labelled --folder path/to/faces",
    ),
    positional={"classifier": "?"},
)

CROP = ConfigCommand(
    name="classifier crop",
    config=LabelledCropsConfig,
    description=(
        "Crop the largest face of each generated picture as a classifier crops it, labelled for classifier calibrate.\n"
        "The pictures are of a method that deals a class out to each, such as attribute_words. Labels are what was\n"
        "asked for, not what is seen: where the model disobeys, a classifier that is right counts as wrong."
    ),
    examples=(
        "classifier crop images/words --classifier classifiers/shen --out crops/shen",
        "classifier calibrate classifiers/shen --folder crops/shen",
    ),
    positional={"folder": "?"},
)

_HELP = """usage: fairlit classifier {import,crop,calibrate} ...

  import     Turn a classifier that others published into a folder, once.
  crop       Crop faces of generated pictures, labelled with the classes that were asked for.
  calibrate  Measure a classifier on labelled faces and fit its temperatures.

`fairlit classifier import --help`, `crop --help` and `calibrate --help` say more."""

_SHOWN = 5  # files that are named


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit classifier ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a file is missing or damaged.
    """
    actions: dict[str, Callable[[Sequence[str]], None]] = {"import": _import, "crop": _crop, "calibrate": _calibrate}
    action, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if action in ("-h", "--help"):
        print(_HELP)
    elif action in actions:
        actions[action](rest)
    else:
        near = get_close_matches(action, actions, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"classifier: got {action or 'nothing'}; expected import, crop or calibrate{meant}")


def _import(arguments: Sequence[str]) -> None:
    config = IMPORT.parse(arguments)
    from fairlit.faces.importing import import_classifier
    from fairlit.io.foreign_text import on_one_line

    for attribute, names in import_classifier(config).classes.items():
        print(on_one_line(f"{attribute}  {', '.join(names)}"))
    print(f"classifier  {config.out}")


def _crop(arguments: Sequence[str]) -> None:
    config = CROP.parse(arguments)
    from fairlit.io.foreign_text import on_one_line
    from fairlit.io.wording import counted
    from fairlit.judging.labelled_crops import crop_labelled_faces

    results = crop_labelled_faces(config)
    for attribute, counts in results.classes.items():
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        print(on_one_line(f"asked for  {attribute}: {listed}"))
    for what, files in (
        ("no face  ", results.without_face),
        ("several  ", results.with_several),
        ("left out ", [f"{entry.file} ({entry.reason})" for entry in results.left_out]),
    ):
        if files:
            more = ", ..." if len(files) > _SHOWN else ""
            print(on_one_line(f"{what}  {counted(len(files), 'file')}: {', '.join(files[:_SHOWN])}{more}"))
    if results.with_several:
        print("           of several faces the largest is cropped")
    print(f"crops      {config.out}: {counted(results.faces, 'face')} of {counted(results.pictures, 'picture')}")


def _calibrate(arguments: Sequence[str]) -> None:
    config = CALIBRATE.parse(arguments)
    from fairlit.faces.calibration import describe_validation
    from fairlit.io.foreign_text import on_one_line
    from fairlit.training.classifiers.calibrating import calibrate_classifier

    results = calibrate_classifier(config)
    for line in describe_validation(dict(results.temperature), dict(results.validation)):
        print(on_one_line(line))
    for attribute, entry in results.validation.items():
        table = [list(row) for row in entry.confusion]
        print(f"{on_one_line(attribute)}  faces labelled as a row, perceived as a column: {table}")
    if not results.saved:
        listed = ", ".join(f"{on_one_line(name)}: {value:.2f}" for name, value in results.temperature.items())
        print(f"put into {config.classifier}  temperature: {{{listed}}}")
