"""What models are trained and evaluated on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.data.faces.celeba import CelebA as CelebA
    from fairlit.data.faces.datamodule import FaceDataModule as FaceDataModule
    from fairlit.data.faces.fairface import FairFace as FairFace
    from fairlit.data.faces.labelled_folders import LabelledFaces as LabelledFaces
    from fairlit.data.prompts.datamodule import PromptBatch as PromptBatch
    from fairlit.data.prompts.datamodule import PromptDataModule as PromptDataModule
    from fairlit.data.prompts.sets import Prompt as Prompt
    from fairlit.data.prompts.sets import PromptFamily as PromptFamily
    from fairlit.data.prompts.sets import PromptSet as PromptSet

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CelebA": "fairlit.data.faces.celeba",
        "FaceDataModule": "fairlit.data.faces.datamodule",
        "FairFace": "fairlit.data.faces.fairface",
        "LabelledFaces": "fairlit.data.faces.labelled_folders",
        "Prompt": "fairlit.data.prompts.sets",
        "PromptBatch": "fairlit.data.prompts.datamodule",
        "PromptDataModule": "fairlit.data.prompts.datamodule",
        "PromptFamily": "fairlit.data.prompts.sets",
        "PromptSet": "fairlit.data.prompts.sets",
    },
)
