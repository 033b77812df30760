"""What exporting an adaptor has led to."""

from __future__ import annotations

from dataclasses import dataclass

from fairlit.results.record import Record


@dataclass(frozen=True, kw_only=True)
class ExportResults(Record):
    """Files that an adaptor was written to.

    Attributes:
        source: folder or file that the adaptor was read from.
        contents: description of the adaptor in words.
        folder: folder of the files.
        files: paths of the files, the model card among them.
        base: base model that the files were checked against, or that the adaptor was merged into; None: none.
        checked: whether the stock reader of the format was seen to give back every update, and merged layers to be the
            sums.
        base_model: base model that the adaptor names.
    """

    source: str
    contents: str
    folder: str
    files: tuple[str, ...]
    base: str | None
    checked: bool
    base_model: str
