"""LightningModules: finetuning the text-to-image model, and training classifiers of perceived attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.diffusion.acceleration import Acceleration as Acceleration
    from fairlit.training.classifiers.trainer import AttributeClassifierTrainer as AttributeClassifierTrainer
    from fairlit.training.distributed.sharding import FrozenShardsStrategy as FrozenShardsStrategy
    from fairlit.training.finetuning.finetuner import FairFinetuner as FairFinetuner
    from fairlit.training.finetuning.generated import Generated as Generated
    from fairlit.training.finetuning.settings import (
        Gradient as Gradient,
    )
    from fairlit.training.finetuning.settings import (
        Models as Models,
    )
    from fairlit.training.finetuning.settings import (
        ReferenceImages as ReferenceImages,
    )
    from fairlit.training.finetuning.settings import (
        Replay as Replay,
    )
    from fairlit.training.finetuning.settings import (
        Sampling as Sampling,
    )

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Acceleration": "fairlit.diffusion.acceleration",
        "AttributeClassifierTrainer": "fairlit.training.classifiers.trainer",
        "FairFinetuner": "fairlit.training.finetuning.finetuner",
        "FrozenShardsStrategy": "fairlit.training.distributed.sharding",
        "Generated": "fairlit.training.finetuning.generated",
        "Gradient": "fairlit.training.finetuning.settings",
        "Models": "fairlit.training.finetuning.settings",
        "ReferenceImages": "fairlit.training.finetuning.settings",
        "Replay": "fairlit.training.finetuning.settings",
        "Sampling": "fairlit.training.finetuning.settings",
    },
)
