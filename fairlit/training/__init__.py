"""LightningModules: finetuning the text-to-image model, and training classifiers of perceived attributes."""

from fairlit.diffusion.acceleration import Acceleration
from fairlit.training.classifiers.trainer import AttributeClassifierTrainer
from fairlit.training.distributed.sharding import FrozenShardsStrategy
from fairlit.training.finetuning.finetuner import FairFinetuner
from fairlit.training.finetuning.generated import Generated
from fairlit.training.finetuning.settings import Detection, Gradient, Models, ReferenceImages, Replay, Sampling

__all__ = [
    "Acceleration",
    "AttributeClassifierTrainer",
    "Detection",
    "FairFinetuner",
    "FrozenShardsStrategy",
    "Generated",
    "Gradient",
    "Models",
    "ReferenceImages",
    "Replay",
    "Sampling",
]
