"""Which published classifier becomes a folder that fairlit opens."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class ClassifierImportConfig:
    """Settings of `fairlit classifier import`; see `fairlit.faces.importing.import_classifier`.

    Args:
        kind: what it is: fair-diffusion (Shen et al.), fairface-7, fairface-4, or transformers
        source: published file, or folder of a transformers model
        out: folder to write; what it holds is replaced with --overwrite alone
        overwrite: replace the classifier that the folder holds, and what was measured of it
        classes: YAML file of the classes to keep, or to merge the published labels into
        attribute: name of what a transformers model classifies
        crop: how the faces that a transformers model was trained on were cut: box, aligned or chip
        margin: margin of these crops, as a share of the box or template on each side
    """

    heading: ClassVar[str] = "Import"

    kind: str | None = None
    source: str | None = None
    out: str | None = None
    overwrite: bool = False
    classes: str | None = None
    attribute: str | None = None
    crop: Literal["box", "aligned", "chip"] = "box"
    margin: float = 0.0
