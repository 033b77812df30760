"""What models are trained and evaluated on."""

from fairlit.data.prompt_sets import Prompt, PromptFamily, PromptSet
from fairlit.data.prompts import PromptBatch, PromptDataModule

__all__ = ["Prompt", "PromptBatch", "PromptDataModule", "PromptFamily", "PromptSet"]
