"""Short names of mitigation methods on the command line."""

from __future__ import annotations

METHODS = {
    "none": "fairlit.mitigation.NoMitigation",
    "adaptor": "fairlit.mitigation.FinetunedAdaptor",
    "attribute_words": "fairlit.mitigation.AttributeWords",
    "ethical_intervention": "fairlit.mitigation.EthicalIntervention",
    "fair_diffusion": "fairlit.mitigation.FairDiffusion",
    "debiasvl": "fairlit.mitigation.PromptProjection",
    "uce": "fairlit.mitigation.UnifiedConceptEditing",
    "latent_guidance": "fairlit.mitigation.LatentGuidance",
    "output_editing": "fairlit.mitigation.OutputEditing",
}
"""Name -> class path; written out, so that help needs none of the classes."""
