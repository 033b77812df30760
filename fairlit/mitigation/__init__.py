"""What people may do instead of finetuning, and finetuning itself, behind one interface."""

from fairlit.mitigation.adaptor import FinetunedAdaptor
from fairlit.mitigation.attribute_words import AttributeWords
from fairlit.mitigation.concept_editing import UnifiedConceptEditing
from fairlit.mitigation.ethical_intervention import EthicalIntervention
from fairlit.mitigation.fair_diffusion import FairDiffusion
from fairlit.mitigation.latent_guidance import LatentGuidance
from fairlit.mitigation.method import Chunk, ImageEditor, Method, Need, Sampler, SamplingPlan
from fairlit.mitigation.output_editing import OutputEditing
from fairlit.mitigation.prompt_projection import PromptProjection
from fairlit.mitigation.unchanged import NoMitigation

__all__ = [
    "AttributeWords",
    "Chunk",
    "EthicalIntervention",
    "FairDiffusion",
    "FinetunedAdaptor",
    "ImageEditor",
    "LatentGuidance",
    "Method",
    "Need",
    "NoMitigation",
    "OutputEditing",
    "PromptProjection",
    "Sampler",
    "SamplingPlan",
    "UnifiedConceptEditing",
]
