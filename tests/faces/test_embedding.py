from __future__ import annotations

from pathlib import Path

import pytest
import torch
from facenet_pytorch.models.inception_resnet_v1 import InceptionResnetV1
from safetensors.torch import save_file

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.faces import (
    AttributeClassifier,
    ClassifierConfig,
    ClassifierEmbedder,
    CropSettings,
    Faces,
    InceptionResnetEmbedder,
    crop_faces,
)
from fairlit.faces.embedding import load_embedder

FACES = Faces(
    torch.tensor([0, 1]),
    torch.tensor([[2.0, 3.0, 30.0, 34.0], [10.0, 5.0, 38.0, 36.0]]),
    torch.ones(2),
    torch.zeros(2, 5, 2),
    3,
)


@pytest.fixture
def classifier_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    arguments = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
    config = ClassifierConfig({"hat": ("no", "yes")}, "shufflenet_v2", arguments, 32, CropSettings("box", 0.1))
    AttributeClassifier(config).save(tmp_path / "classifier")
    return tmp_path / "classifier"


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("inception") / "weights.pt"
    torch.save(InceptionResnetV1(classify=True, num_classes=3).state_dict(), path)
    return path


def test_classifier_embedding_is_its_normalised_features(classifier_folder: Path) -> None:
    embedder = load_embedder(str(classifier_folder))
    assert isinstance(embedder, ClassifierEmbedder)
    images = torch.rand(3, 3, 40, 40, requires_grad=True)
    embeddings = embedder(images, FACES)
    features = AttributeClassifier.load(classifier_folder).features(crop_faces(images, FACES, 32, 0.1))
    torch.testing.assert_close(embeddings, features / features.norm(dim=1, keepdim=True))
    (gradient,) = torch.autograd.grad(embeddings[:, 0].sum(), images)
    assert bool((gradient[:2].abs().amax(dim=(1, 2, 3)) > 0).all())
    assert embedder.embed(images, Faces.empty(3)).shape == (0, embedder.dim)


def test_identifier_follows_the_weights(classifier_folder: Path) -> None:
    before = ClassifierEmbedder(str(classifier_folder)).identifier
    assert before == ClassifierEmbedder(str(classifier_folder)).identifier
    classifier = AttributeClassifier.load(classifier_folder)
    classifier.head.bias.add_(1.0)
    classifier.save(classifier_folder)
    assert ClassifierEmbedder(str(classifier_folder)).identifier != before


def test_inception_resnet_takes_local_weights(inception_weights: Path, tmp_path: Path) -> None:
    embedder = load_embedder(str(inception_weights))
    assert isinstance(embedder, InceptionResnetEmbedder)
    images = torch.rand(3, 3, 40, 40)
    reference = InceptionResnetV1(classify=True, num_classes=3)
    state = torch.load(inception_weights, weights_only=True)
    reference.load_state_dict(state)
    reference.classify = False
    crops = crop_faces(images, FACES, 160)
    torch.testing.assert_close(embedder(images, FACES), reference.eval()((crops * 255 - 127.5) / 128))
    save_file(state, tmp_path / "weights.safetensors")
    again = InceptionResnetEmbedder(str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(again(images, FACES), embedder(images, FACES))
    assert again.embed(images, Faces.empty(3)).shape == (0, 512)


def test_embedders_are_frozen(inception_weights: Path) -> None:
    embedder = InceptionResnetEmbedder(str(inception_weights)).train()
    assert not any(module.training for module in embedder.modules())
    assert not any(parameter.requires_grad for parameter in embedder.parameters())


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_embedder(str(tmp_path / "nothing"))
    (tmp_path / "list.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_embedder(str(tmp_path / "list.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ConfigurationError, match="not a state dict"):
        load_embedder(str(tmp_path / "list.pt"))
    torch.save({"other": torch.zeros(1)}, tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="another model"):
        load_embedder(str(tmp_path / "list.pt"))
    with pytest.raises(ConfigurationError, match=r"crop\.kind"):
        InceptionResnetEmbedder(str(tmp_path / "list.pt"), CropSettings("round"))
