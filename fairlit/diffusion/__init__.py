"""The diffusion model and its sampling chain: backbone, rollout, replay."""

from fairlit.diffusion.backbone import Backbone, ImageSize, PromptPadding, Solver, check_image_size, check_pipeline
from fairlit.diffusion.chain import Chain, Conditioning, check_guidance_scale
from fairlit.diffusion.noise_gradient import noise_gradient
from fairlit.diffusion.replay import Pairs, replay
from fairlit.diffusion.rollout import Rollout, detached_graph, full_graph, rollout

__all__ = [
    "Backbone",
    "Chain",
    "Conditioning",
    "ImageSize",
    "Pairs",
    "PromptPadding",
    "Rollout",
    "Solver",
    "check_guidance_scale",
    "check_image_size",
    "check_pipeline",
    "detached_graph",
    "full_graph",
    "noise_gradient",
    "replay",
    "rollout",
]
