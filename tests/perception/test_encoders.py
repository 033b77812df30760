from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
)

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit.perception.pixels import PixelNormalizer

MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]  # of the image processor in `clip_folder`


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7)
    Dinov2Model(config).save_pretrained(folder)
    return folder


def test_clip_image_features_are_what_transformers_gives(clip_folder: Path) -> None:
    encoder = ClipEncoder.load(str(clip_folder), local_files_only=True)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    features = encoder.image_features(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    processor = CLIPImageProcessor.from_pretrained(clip_folder)
    pixels = processor([Image.fromarray(picture) for picture in pictures], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        pooled = model.vision_model(pixel_values=pixels).pooler_output
        expected = model.visual_projection(pooled)
    # transformers rounds resized pictures to eight bits
    torch.testing.assert_close(features, expected / expected.norm(dim=1, keepdim=True), atol=5e-3, rtol=0)


def test_clip_text_features_are_what_transformers_gives(clip_folder: Path) -> None:
    encoder = ClipEncoder.load(str(clip_folder))
    texts = ["a photo of the face of a doctor", "young man", "a " * 40]
    features = encoder.text_features(texts)
    assert features.shape == (3, encoder.dim)
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    for text, row in zip(texts, features, strict=True):
        tokens = tokenizer(text, truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            expected = model.text_projection(model.text_model(**tokens).pooler_output)[0]
        torch.testing.assert_close(row, expected / expected.norm(), atol=1e-5, rtol=0)
    assert encoder.text_features([]).shape == (0, encoder.dim)


def test_dino_features_are_the_class_token(dino_folder: Path) -> None:
    encoder = DinoEncoder.load(str(dino_folder), local_files_only=True)
    images = torch.rand(3, 3, 28, 28)
    model = Dinov2Model.from_pretrained(dino_folder).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        token = model((images - mean[:, None, None]) / std[:, None, None]).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder(images), token / token.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)


@pytest.fixture(params=["clip", "dino"])
def encoder(request: pytest.FixtureRequest) -> ClipEncoder | DinoEncoder:
    folder = str(request.getfixturevalue(f"{request.param}_folder"))
    return ClipEncoder.load(folder) if request.param == "clip" else DinoEncoder.load(folder)


def test_features_have_length_one_and_carry_gradients(encoder: ClipEncoder | DinoEncoder) -> None:
    images = torch.rand(2, 3, 64, 48, requires_grad=True)
    features = encoder.image_features(images)
    assert features.shape == (2, encoder.dim)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    (gradient,) = torch.autograd.grad(features[:, 0].sum(), images)
    assert bool((gradient.abs().amax(dim=(1, 2, 3)) > 0).all())
    assert encoder.image_features(images[:0]).shape == (0, encoder.dim)


def test_encoders_are_frozen(encoder: ClipEncoder | DinoEncoder) -> None:
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())


def test_normalizer_reads_the_processor_or_takes_what_is_given(clip_folder: Path, tmp_path: Path) -> None:
    read = PixelNormalizer.from_pretrained(str(clip_folder), 99, (0.0,) * 3, (1.0,) * 3)
    assert read.size == 32
    torch.testing.assert_close(read.mean.flatten(), torch.tensor(MEAN))
    torch.testing.assert_close(read.std.flatten(), torch.tensor(STD))
    given = PixelNormalizer.from_pretrained(str(tmp_path), 99, (0.0,) * 3, (1.0,) * 3, local_files_only=True)
    assert given.size == 99
    assert given.mean.flatten().tolist() == [0.0] * 3


def test_normalizer_is_linear_and_differentiable() -> None:
    normalizer = PixelNormalizer(5, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).double()
    images = torch.rand(1, 3, 9, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normalizer, (images,))
    flat = torch.full((1, 3, 9, 7), 0.5)
    expected = (0.5 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([0.4, 0.5, 0.6])
    result = PixelNormalizer(5, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))(flat)
    torch.testing.assert_close(result, expected[None, :, None, None].expand(1, 3, 5, 5))


Load = Callable[[str], torch.nn.Module]


@pytest.mark.parametrize("load", [ClipEncoder.load, DinoEncoder.load])
def test_missing_and_damaged_folders_are_refused(
    load: Load, dino_folder: Path, clip_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"no readable config\.json"):
        load(str(tmp_path / "nothing"))
    source = clip_folder if load == ClipEncoder.load else dino_folder
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(str(tmp_path))


def test_models_of_another_kind_are_refused_before_weights(
    dino_folder: Path, clip_folder: Path, tmp_path: Path
) -> None:
    for source, load in ((dino_folder, ClipEncoder.load), (clip_folder, DinoEncoder.load)):
        (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
        with pytest.raises(ConfigurationError, match="give one of type"):
            load(str(tmp_path))


def test_weights_that_lack_tensors_are_refused(dino_folder: Path, tmp_path: Path) -> None:
    config = json.loads((dino_folder / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((dino_folder / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="lack"):
        DinoEncoder.load(str(tmp_path))


def test_pixels_beyond_bytes_are_not_lost() -> None:
    """Gradients pass where PIL-style processing would round and clip."""
    images: Tensor = torch.zeros(1, 3, 8, 8, requires_grad=True)
    PixelNormalizer(4, (0.5,) * 3, (0.5,) * 3)(images).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad.sum(), torch.tensor(3 * 16 * 2.0))


@pytest.mark.parametrize("harm", ["nan", "config"])
def test_weights_that_are_no_numbers_and_configs_of_wrong_types_are_refused(
    dino_folder: Path, tmp_path: Path, harm: str
) -> None:
    folder = Path(shutil.copytree(dino_folder, tmp_path / "dino"))
    if harm == "nan":
        tensors = load_file(folder / "model.safetensors")
        next(iter(tensors.values())).view(-1)[0] = float("nan")
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"hidden_size": "wide"}))
    with pytest.raises(CheckpointError, match="NaN or infinity" if harm == "nan" else "config.json|cannot be read"):
        DinoEncoder.load(str(folder))


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn])
def test_weights_in_eight_bits_are_refused(kind: torch.dtype, dino_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(dino_folder, tmp_path / "dino")
    tensors = load_file(tmp_path / "dino" / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    save_file(tensors | {name: tensors[name].to(kind)}, tmp_path / "dino" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"has '{name}' as .*expected floating point of 16 bits"):
        DinoEncoder.load(str(tmp_path / "dino"))
