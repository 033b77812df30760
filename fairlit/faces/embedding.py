"""Face embeddings, and the bank of real ones that generated faces are compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from pickle import UnpicklingError

from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.classifier import WEIGHTS_NAME, AttributeClassifier, crop_for
from fairlit.faces.classifier_config import CropSettings
from fairlit.faces.detector import Faces
from fairlit.faces.weights import load_weights
from fairlit.io.atomic import atomic_path
from fairlit.io.digests import file_digest

DOWNLOADS = ("vggface2", "casia-webface")


class FaceEmbedder(nn.Module, ABC):
    """A frozen network from crops of faces to directions in a space where alike faces lie close.

    Attributes:
        identifier: Says which network it is, down to its weights: embeddings of different networks do not compare.
        dim: Width D of the embeddings.
        size: Side of the crops in pixels.
        settings: Kind and margin of the crops.
    """

    identifier: str
    dim: int
    size: int
    settings: CropSettings

    @abstractmethod
    def features(self, crops: Tensor) -> Tensor:
        """Embeddings before normalisation, [F, D], of crops [F, 3, size, size] in [0, 1]."""

    def train(self, mode: bool = True) -> FaceEmbedder:
        """Stays in eval mode."""
        return super().train(False)

    def crop(self, images: Tensor, faces: Faces) -> Tensor:
        """The crops that the network looks at, [F, 3, size, size], differentiable with respect to `images`."""
        return crop_for(images, faces, self.size, crop=self.settings)

    def embed(self, images: Tensor, faces: Faces) -> Tensor:
        """Embeds faces.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1].
            faces: F faces in these images; F may be 0.

        Returns:
            [F, D] of length 1, differentiable with respect to `images`.
        """
        return functional.normalize(self.features(self.crop(images, faces)), dim=-1)

    forward = embed


class ClassifierEmbedder(FaceEmbedder):
    """The shared features of an attribute classifier, on the crops that the classifier was trained with.

    Args:
        folder: What `AttributeClassifier.save` wrote.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigurationError: Its config does not do.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.classifier = AttributeClassifier.load(folder)
        self.identifier = f"classifier-{file_digest(Path(folder) / WEIGHTS_NAME)}"
        self.dim, self.size = self.classifier.feature_dim, self.classifier.config.input_size
        self.settings = self.classifier.config.crop
        self.eval()

    def features(self, crops: Tensor) -> Tensor:
        """The classifier's features [F, D]."""
        return self.classifier.features(crops)


class InceptionResnetEmbedder(FaceEmbedder):
    """facenet-pytorch's InceptionResnetV1 at 160 px, with weights from a local file: nothing is downloaded.

    Args:
        weights: A `.safetensors` or weights-only torch file with its state dict; a classification layer is ignored.
        crop: Kind and margin of the crops; facenet-pytorch trains on boxes without margin.

    Raises:
        CheckpointError: The file is missing, damaged or of another network.
        ConfigurationError: `crop` does not do.
    """

    def __init__(self, weights: str, crop: CropSettings | None = None) -> None:
        super().__init__()
        self.settings = crop or CropSettings()
        with Problems("face embedder") as problems:
            for problem in self.settings.problems():
                problems.add(problem)
        from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1  # takes seconds

        self.network = InceptionResnetV1(pretrained=None, classify=False)
        load_weights(self.network, Path(weights), prefixes_to_drop=("logits.",))
        self.identifier = f"inception-resnet-v1-{file_digest(Path(weights))}"
        self.dim, self.size = self.network.last_linear.out_features, 160
        self.requires_grad_(False)
        self.eval()

    def features(self, crops: Tensor) -> Tensor:
        """The network's embeddings [F, D]."""
        if len(crops) == 0:  # which facenet-pytorch's network does not take
            return crops.sum(dim=(1, 2, 3))[:, None].expand(0, self.dim)
        return self.network((crops * 255 - 127.5) / 128)


def load_embedder(path: str) -> FaceEmbedder:
    """The embedder that a path stands for.

    Args:
        path: The folder of an attribute classifier, or a file with weights of InceptionResnetV1.

    Raises:
        CheckpointError: Nothing is there, or it is damaged.
        ConfigurationError: A config does not do.
    """
    return InceptionResnetEmbedder(path) if Path(path).is_file() else ClassifierEmbedder(path)


def download_inception_resnet(trained_on: str, file: str | Path) -> None:
    """Fetches facenet-pytorch's weights of InceptionResnetV1 over the network and writes them as safetensors.

    Args:
        trained_on: `vggface2` or `casia-webface`.
        file: Where to.

    Raises:
        ConfigurationError: There are no weights of that name.
        CheckpointError: They could not be fetched.
    """
    if trained_on not in DOWNLOADS:
        raise ConfigurationError(f"download is {trained_on!r}: choose one of {', '.join(DOWNLOADS)}")
    from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1  # takes seconds

    try:
        network = InceptionResnetV1(pretrained=trained_on)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise CheckpointError(
            f"download of {trained_on!r} failed ({error}): try again, or copy the file from another machine"
        ) from error
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(file) as temporary:
        save_file(tensors, temporary)
