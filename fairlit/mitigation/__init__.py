"""What people may do instead of finetuning, and finetuning itself, behind one interface."""

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.mitigation.adaptor import FinetunedAdaptor as FinetunedAdaptor
    from fairlit.mitigation.attribute_words import AttributeWords as AttributeWords
    from fairlit.mitigation.concept_editing import UnifiedConceptEditing as UnifiedConceptEditing
    from fairlit.mitigation.ethical_intervention import EthicalIntervention as EthicalIntervention
    from fairlit.mitigation.fair_diffusion import FairDiffusion as FairDiffusion
    from fairlit.mitigation.latent_guidance import LatentGuidance as LatentGuidance
    from fairlit.mitigation.method import Chunk as Chunk
    from fairlit.mitigation.method import ImageEditor as ImageEditor
    from fairlit.mitigation.method import Method as Method
    from fairlit.mitigation.method import Need as Need
    from fairlit.mitigation.method import Sampler as Sampler
    from fairlit.mitigation.method import SamplingPlan as SamplingPlan
    from fairlit.mitigation.output_editing import OutputEditing as OutputEditing
    from fairlit.mitigation.prompt_projection import PromptProjection as PromptProjection
    from fairlit.mitigation.unchanged import NoMitigation as NoMitigation

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
