"""What people may do instead of finetuning, and finetuning itself, behind one interface."""

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
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

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AttributeWords": "fairlit.mitigation.attribute_words",
        "Chunk": "fairlit.mitigation.method",
        "EthicalIntervention": "fairlit.mitigation.ethical_intervention",
        "FairDiffusion": "fairlit.mitigation.fair_diffusion",
        "FinetunedAdaptor": "fairlit.mitigation.adaptor",
        "ImageEditor": "fairlit.mitigation.method",
        "LatentGuidance": "fairlit.mitigation.latent_guidance",
        "Method": "fairlit.mitigation.method",
        "Need": "fairlit.mitigation.method",
        "NoMitigation": "fairlit.mitigation.unchanged",
        "OutputEditing": "fairlit.mitigation.output_editing",
        "PromptProjection": "fairlit.mitigation.prompt_projection",
        "Sampler": "fairlit.mitigation.method",
        "SamplingPlan": "fairlit.mitigation.method",
        "UnifiedConceptEditing": "fairlit.mitigation.concept_editing",
    },
)
