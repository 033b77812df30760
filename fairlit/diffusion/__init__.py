"""The diffusion model and its sampling chain: backbone, rollout, replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.diffusion.backbone import Backbone as Backbone
    from fairlit.diffusion.chain import Chain as Chain
    from fairlit.diffusion.chain import Conditioning as Conditioning
    from fairlit.diffusion.noise_gradient import noise_gradient as noise_gradient
    from fairlit.diffusion.replay import Pairs as Pairs
    from fairlit.diffusion.replay import replay as replay
    from fairlit.diffusion.rollout import (
        Rollout as Rollout,
    )
    from fairlit.diffusion.rollout import (
        detached_graph as detached_graph,
    )
    from fairlit.diffusion.rollout import (
        full_graph as full_graph,
    )
    from fairlit.diffusion.rollout import (
        rollout as rollout,
    )
    from fairlit.diffusion.settings import (
        ImageSize as ImageSize,
    )
    from fairlit.diffusion.settings import (
        Precision as Precision,
    )
    from fairlit.diffusion.settings import (
        PromptPadding as PromptPadding,
    )
    from fairlit.diffusion.settings import (
        Solver as Solver,
    )
    from fairlit.diffusion.settings import (
        check_guidance_scale as check_guidance_scale,
    )
    from fairlit.diffusion.settings import (
        check_image_size as check_image_size,
    )
    from fairlit.diffusion.settings import (
        check_pipeline as check_pipeline,
    )

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Backbone": "fairlit.diffusion.backbone",
        "Chain": "fairlit.diffusion.chain",
        "Conditioning": "fairlit.diffusion.chain",
        "ImageSize": "fairlit.diffusion.settings",
        "Pairs": "fairlit.diffusion.replay",
        "Precision": "fairlit.diffusion.settings",
        "PromptPadding": "fairlit.diffusion.settings",
        "Rollout": "fairlit.diffusion.rollout",
        "Solver": "fairlit.diffusion.settings",
        "check_guidance_scale": "fairlit.diffusion.settings",
        "check_image_size": "fairlit.diffusion.settings",
        "check_pipeline": "fairlit.diffusion.settings",
        "detached_graph": "fairlit.diffusion.rollout",
        "full_graph": "fairlit.diffusion.rollout",
        "noise_gradient": "fairlit.diffusion.noise_gradient",
        "replay": "fairlit.diffusion.replay",
        "rollout": "fairlit.diffusion.rollout",
    },
)
