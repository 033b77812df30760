"""LightningModules: finetuning the text-to-image model, and training classifiers of perceived attributes."""

from fairlit.diffusion.acceleration import Acceleration
from fairlit.training.classifier import AttributeClassifierTrainer
from fairlit.training.finetuner import FairFinetuner
from fairlit.training.generated import Generated
from fairlit.training.settings import Detection, Gradient, Models, Originals, Replay, Sampling
from fairlit.training.sharding import FrozenShardsStrategy

__all__ = [
    "Acceleration",
    "AttributeClassifierTrainer",
    "Detection",
    "FairFinetuner",
    "FrozenShardsStrategy",
    "Generated",
    "Gradient",
    "Models",
    "Originals",
    "Replay",
    "Sampling",
]
