"""A classifier of perceived attributes of faces.

What it says is how a face is perceived by those who labelled its training data, not who somebody is; and it errs.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from fairlit.errors import NotFiniteError
from fairlit.faces.architectures import build_backbone
from fairlit.faces.classifier_config import CONFIG_NAME, ClassifierConfig, CropSettings
from fairlit.faces.crops import DLIB_CHIP_TEMPLATE, align_faces, crop_faces
from fairlit.faces.detector import Faces
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.faces.weights import load_weights
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.finiteness import first_not_finite

WEIGHTS_NAME = "model.safetensors"


class AttributeClassifier(FaceClassifier):
    """A network of torchvision or transformers with one linear head for each attribute over shared features.

    Args:
        config: What it classifies and how; checked already.

    Raises:
        ConfigurationError: The network refuses a value of `architecture_args`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone, self.feature_dim = build_backbone(config.architecture, config.architecture_args)
        # All heads in one matrix: rows of an attribute follow those of the one before it.
        self.head = nn.Linear(self.feature_dim, sum(len(config.columns_of(a)) for a in config.classes))
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names of each attribute, in the order of the logits' columns."""
        return self.config.classes

    @property
    def temperature(self) -> dict[str, float]:
        """What the logits of each attribute have been divided by."""
        return self.config.temperature

    @property
    def size(self) -> int:
        """Side of the crops that it looks at, in pixels."""
        return self.config.input_size

    @property
    def confusion(self) -> dict[str, Tensor]:
        """For each validated attribute int64 [K, K]: faces labelled with the row's class, taken for the column's."""
        return {attribute: torch.tensor(entry.confusion) for attribute, entry in self.config.validation.items()}

    @property
    def fingerprint(self) -> str:
        """Its settings; how it was validated decides no answer."""
        return self.config.fingerprint

    def features(self, faces: Tensor) -> Tensor:
        """Shared features.

        Args:
            faces: float [F, 3, s, s], RGB in [0, 1], cropped as `crop` does; F may be 0. Resized if s is not the
                input size.

        Returns:
            [F, D], differentiable with respect to `faces`.
        """
        if len(faces) == 0:  # which not every network takes
            return faces.sum(dim=(1, 2, 3))[:, None].expand(0, self.feature_dim)
        size = (self.config.input_size, self.config.input_size)
        if faces.shape[-2:] != size:
            faces = functional.interpolate(faces, size=size, mode="bilinear", align_corners=False, antialias=True)
        return self.backbone((faces - self.mean) / self.std)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Logits of every attribute; see `FaceClassifier.forward`."""
        counts = [len(self.config.columns_of(attribute)) for attribute in self.classes]
        parts = self.head(self.features(faces)).split(counts, dim=1)
        return {
            attribute: _merge(columns, self.config.columns_of(attribute), names) / self.config.temperature[attribute]
            for (attribute, names), columns in zip(self.classes.items(), parts, strict=True)
        }

    def crop(self, images: Tensor, faces: Faces) -> Tensor:
        """The crops that this classifier looks at, [F, 3, s, s], differentiable with respect to `images`."""
        return crop_for(images, faces, self.config.input_size, crop=self.config.crop)

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        """Crops faces and classifies them; see `FaceClassifier.classify`."""
        return self(self.crop(images, faces))

    def save(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors, each atomically, the config last.

        Raises:
            NotFiniteError: A weight is NaN or infinite; nothing is written.
        """
        target = Path(folder)
        if (wrong := first_not_finite(self.state_dict())) is not None:
            raise NotFiniteError(
                f"classifier: got NaN or infinity in {wrong!r}; expected finite weights; nothing is written to "
                f"{target}; train again with a smaller learning rate"
            )
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with atomic_path(target / WEIGHTS_NAME) as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
        atomic_write_text(target / CONFIG_NAME, json.dumps(self.config.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, *, trainable: bool = False) -> AttributeClassifier:
        """Reads a saved classifier, frozen unless it is to be trained on.

        Raises:
            CheckpointError: A file is missing or damaged, or the weights do not fit the config.
            ConfigurationError: What config.json says does not do.
        """
        classifier = cls(ClassifierConfig.read(folder))
        load_weights(classifier, Path(folder) / WEIGHTS_NAME)
        return classifier if trainable else classifier.freeze()


def crop_for(images: Tensor, faces: Faces, size: int, *, crop: CropSettings) -> Tensor:
    """Cuts faces out as `crop` says.

    Args:
        images: float [N, 3, H, W].
        faces: F faces in these images.
        size: Side of the crops in pixels.
        crop: Kind and margin.

    Returns:
        [F, 3, size, size], differentiable with respect to `images`.
    """
    if crop.kind == "aligned":
        return align_faces(images, faces, size, margin=crop.margin)
    if crop.kind == "chip":
        return align_faces(images, faces, size, DLIB_CHIP_TEMPLATE, margin=crop.margin)
    return crop_faces(images, faces, size, margin=crop.margin)


def _merge(logits: Tensor, columns: tuple[str, ...], names: tuple[str, ...]) -> Tensor:
    """Logits [F, K] of classes from those of the columns [F, C] that belong to them: probabilities add up."""
    if columns == names:
        return logits
    members = [[index for index, column in enumerate(columns) if column == name] for name in names]
    return torch.stack([logits[:, chosen].logsumexp(dim=1) for chosen in members], dim=1)
