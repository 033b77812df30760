"""What a folder holds of an earlier import, which an import with other settings must not replace without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fairlit.errors import Problems
from fairlit.faces.class_merging import Classes
from fairlit.faces.classifier import WEIGHTS_NAME
from fairlit.faces.importing_config import ClassifierImportConfig
from fairlit.io.atomic import atomic_write_text
from fairlit.io.digests import file_digest
from fairlit.io.model_folders import model_digest
from fairlit.io.notes import note_line, read_notes
from fairlit.io.provenance import DIGESTS, made_otherwise

_NOTE, _WEIGHTS = ".import.jsonl", "weights"


def import_settings(config: ClassifierImportConfig, classes: Classes | None) -> dict[str, Any]:
    """Return all that an imported classifier depends on, as plain data.

    Args:
        config: settings of the import, whose source exists.
        classes: classes to keep; None: as published.
    """
    source = Path(str(config.source))
    return {
        "kind": config.kind,
        "attribute": config.attribute,
        "classes": json.dumps(classes),  # whose order counts
        "crop": config.crop,
        "margin": config.margin,
        DIGESTS: {"source": file_digest(source) if source.is_file() else model_digest(source)},
    }


def holds_import(out: Path, settings: dict[str, Any], problems: Problems) -> bool:
    """Return whether a folder holds the classifier of an import already; note whatever else it holds.

    Temperatures may have been fitted since.

    Args:
        out: folder to write.
        settings: settings from `import_settings`.
        problems: where messages go.
    """
    held = sorted(entry.name for entry in out.glob("[!.]*"))
    if not held:
        return False
    noted = next(iter(read_notes(out / _NOTE)), None)
    if noted is None or not _is_whole(out / WEIGHTS_NAME, noted.pop(_WEIGHTS)):
        what = f"{held[0]}, not known to be of this import"
    elif (how := made_otherwise(noted, settings)) is not None:
        what = f"a classifier that was imported with {how}"
    else:
        return True
    problems.add(
        f"out: got {out}, which holds {what}; expected a new or empty folder; give another --out, or --overwrite to "
        "replace what is there"
    )
    return False


def note_import(out: Path, settings: dict[str, Any]) -> None:
    """Note what a classifier was imported with, beside it.

    Args:
        out: folder of the classifier.
        settings: settings from `import_settings`.
    """
    atomic_write_text(out / _NOTE, note_line({**settings, _WEIGHTS: file_digest(out / WEIGHTS_NAME)}))


def _is_whole(weights: Path, digest: str) -> bool:
    return weights.is_file() and file_digest(weights) == digest
