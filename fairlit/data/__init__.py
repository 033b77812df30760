"""What models are trained and evaluated on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlit.data.faces.celeba import CelebA
    from fairlit.data.faces.datamodule import FaceDataModule
    from fairlit.data.faces.fairface import FairFace
    from fairlit.data.faces.labelled_folders import LabelledFaces
    from fairlit.data.prompts.datamodule import PromptBatch, PromptDataModule
    from fairlit.data.prompts.sets import Prompt, PromptFamily, PromptSet

_HOMES = {
    "CelebA": "faces.celeba",
    "FaceDataModule": "faces.datamodule",
    "FairFace": "faces.fairface",
    "LabelledFaces": "faces.labelled_folders",
    "Prompt": "prompts.sets",
    "PromptBatch": "prompts.datamodule",
    "PromptDataModule": "prompts.datamodule",
    "PromptFamily": "prompts.sets",
    "PromptSet": "prompts.sets",
}

__all__ = [
    "CelebA",
    "FaceDataModule",
    "FairFace",
    "LabelledFaces",
    "Prompt",
    "PromptBatch",
    "PromptDataModule",
    "PromptFamily",
    "PromptSet",
]


def __getattr__(name: str) -> Any:
    """Imports public names when they are first used: prompts alone need no Lightning."""
    if name in _HOMES:
        return getattr(import_module(f"fairlit.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fairlit.data' has no attribute {name!r}")
