"""What models are trained and evaluated on."""

from fairlit.data.celeba import CelebA
from fairlit.data.face_data import FaceDataModule
from fairlit.data.fairface import FairFace
from fairlit.data.labelled_faces import LabelledFaces
from fairlit.data.prompt_sets import Prompt, PromptFamily, PromptSet
from fairlit.data.prompts import PromptBatch, PromptDataModule

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
