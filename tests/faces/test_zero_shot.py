from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from fairlit.errors import CheckpointError, ConfigurationError, NotFiniteError, Problems
from fairlit.faces import AttributeClassifier, Faces, crop_faces, load_classifier
from fairlit.faces.classifier_files import check_classifier_files, read_classes
from fairlit.faces.zero_shot import ClipZeroShotClassifier, ZeroShotConfig
from fairlit.perception import ClipEncoder
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.world import ATTRIBUTES, WORDS, balanced_scene

CLASSES = {"age": {"young": ["young"], "old": ["old", "nurse"]}, "job": {"doctor": ["doctor"], "chef": ["chef"]}}
TEMPLATES = ["a photo of a {word} person", "the face of a {word}"]
MEAN, STD = torch.tensor([0.1, 0.2, 0.3])[:, None, None], torch.tensor([0.4, 0.5, 0.6])[:, None, None]
MINIATURE = Path(__file__).parents[2] / "checkpoints" / "miniature"


def some_faces() -> tuple[Tensor, Faces]:
    boxes = torch.tensor([[4.0, 4.0, 36.0, 36.0], [8.0, 6.0, 32.0, 38.0]])
    return torch.rand(3, 3, 40, 40), Faces(torch.tensor([0, 2]), boxes, torch.ones(2), torch.zeros(2, 5, 2), 3)


def write(path: Path, clip: Path, **changes: Any) -> Path:
    content = {"clip": str(clip), "classes": CLASSES, "templates": TEMPLATES} | changes
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@torch.no_grad()
def by_hand(folder: Path, seen: Tensor, words: list[str]) -> Tensor:
    """Transformers' own cosines, times its own scale, of pictures [F, 3, 32, 32] and the mean over all texts."""
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    texts = [template.replace("{word}", word) for word in words for template in TEMPLATES]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    out = model(pixel_values=(seen - MEAN) / STD, **tokens)
    direction = out.text_embeds.mean(dim=0)
    return model.logit_scale.exp() * (out.image_embeds @ direction) / direction.norm()


@pytest.mark.parametrize("looks_at", ["face", "image"])
def test_logits_are_scaled_cosines_with_the_mean_of_the_words(looks_at: str, clip_folder: Path, tmp_path: Path) -> None:
    settings = {"looks_at": looks_at, "crop": {"kind": "box", "margin": 0.1}, "temperature": {"age": 4.0}}
    path = write(tmp_path / "words.yaml", clip_folder, **settings)
    classifier = load_classifier(path)
    assert isinstance(classifier, ClipZeroShotClassifier)
    images, faces = some_faces()
    resized = torch.nn.functional.interpolate(images[[0, 2]], size=(32, 32), mode="bicubic", antialias=True)
    seen = crop_faces(images, faces, 32, margin=0.1) if looks_at == "face" else resized
    assert torch.equal(classifier.crop(images, faces), seen if looks_at == "face" else images[[0, 2]])
    logits = classifier.classify(images, faces)
    assert classifier.classes == read_classes(path) == {"age": ("young", "old"), "job": ("doctor", "chef")}
    old, chef = by_hand(clip_folder, seen, ["old", "nurse"]), by_hand(clip_folder, seen, ["chef"])
    torch.testing.assert_close(logits["age"][:, 1], old / 4, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits["job"][:, 1], chef, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("looks_at", ["face", "image"])
def test_gradients_reach_the_images_that_have_faces(looks_at: str, clip_folder: Path, tmp_path: Path) -> None:
    classifier = load_classifier(write(tmp_path / "words.yaml", clip_folder, looks_at=looks_at))
    images, faces = some_faces()
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(classifier.classify(images, faces)["age"][:, 0].sum(), images)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).tolist() == [True, False, True]
    nobody = classifier.classify(images, Faces.empty(3))["age"]
    assert nobody.shape == (0, 2)
    (gradient,) = torch.autograd.grad(nobody.sum(), images)
    assert not gradient.any()
    assert not any(parameter.requires_grad for parameter in classifier.train().parameters())
    assert classifier.confusion == {}


def test_all_that_is_wrong_is_named(clip_folder: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path / "words.yaml",
        clip_folder,
        classes={"age": {"young": ["young"], "old": ["young"]}},
        templates=["a photo", "{word} {word}"],
        looks_at="hands",
        crop={"kind": "round"},
        temperature={"height": 1.0},
    )
    with pytest.raises(ConfigurationError) as caught:
        load_classifier(path)
    for part in ("words.yaml", "'young' in 'young' and in 'old'", "'a photo'", "'hands'", "crop.kind", "'height'"):
        assert part in str(caught.value)
    with pytest.raises(ConfigurationError, match="without words"):
        load_classifier(write(path, clip_folder, classes={"age": ["young", "old"]}))
    with pytest.raises(ConfigurationError, match="colour"):
        load_classifier(write(path, clip_folder, colour=1))
    path.write_text("- a\n")
    with pytest.raises(ConfigurationError, match="no mapping"):
        read_classes(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_classes(tmp_path / "nowhere.yaml")


def test_files_are_checked_without_opening_models(clip_folder: Path, tmp_path: Path) -> None:
    def complaints(path: Path) -> list[str]:
        problems = Problems("test")
        check_classifier_files(path, "models.classifier", problems)
        return problems.messages

    assert complaints(write(tmp_path / "words.yaml", clip_folder)) == []
    (message,) = complaints(write(tmp_path / "words.yaml", tmp_path / "no clip"))
    assert message.startswith("models.classifier: clip: ")
    (tmp_path / "folder").mkdir()
    (message,) = complaints(tmp_path / "folder")
    assert "holds no weights" in message


def test_the_shipped_words_fit_the_miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MINIATURE.parents[1])
    classifier = load_classifier("configs/classifiers/words.yaml")
    assert {name: classifier.classes[name] for name in classifier.classes} == {
        name: ATTRIBUTES[name] for name in ("age", "skin_tone")
    }


def test_a_folder_is_still_an_attribute_classifier(tiny_models: dict[str, str]) -> None:
    classifier = load_classifier(tiny_models["classifier"])
    assert isinstance(classifier, AttributeClassifier)
    assert classifier.frozen
    assert read_classes(tiny_models["classifier"]) == classifier.classes


@torch.no_grad()
def test_the_miniature_s_clip_sees_skin_tones_that_nobody_labelled_for_it(tmp_path: Path) -> None:
    """Of four; on faces as they were drawn. It learnt from whole pictures: gender and age it knows of these alone."""
    classes = {"skin_tone": {tone: [word] for tone, word in WORDS["skin_tone"].items()}}
    templates = ["a photo of the face of a {word} person"]
    path = write(tmp_path / "words.yaml", MINIATURE / "clip", classes=classes, templates=templates)
    drawings = [(balanced_scene(7, index), draw_scene(balanced_scene(7, index))) for index in range(48)]
    images = torch.stack([torch.from_numpy(drawing.pixels).permute(2, 0, 1).float() / 255 for _, drawing in drawings])
    boxes = torch.stack([torch.from_numpy(drawing.boxes[0]) for _, drawing in drawings])
    count = len(drawings)
    faces = Faces(torch.arange(count), boxes, torch.ones(count), torch.zeros(count, 5, 2), count)
    answers = load_classifier(path).classify(images, faces)["skin_tone"].argmax(dim=1)
    tones = torch.tensor([ATTRIBUTES["skin_tone"].index(scene.people[0]["skin_tone"]) for scene, _ in drawings])
    assert float((answers == tones).float().mean()) > 0.7


def test_words_without_finite_features_are_refused(clip_folder: Path, tmp_path: Path) -> None:
    config = ZeroShotConfig(str(clip_folder), {"age": {"young": ["young"], "old": ["old"]}})
    encoder = ClipEncoder.load(str(clip_folder))
    encoder.model.logit_scale.data.fill_(1000.0)  # finite, but not its exponential
    with pytest.raises(NotFiniteError, match="clip: scale of its logits: got NaN or infinity"):
        ClipZeroShotClassifier(encoder, config)
    encoder.model.logit_scale.data.fill_(1.0)
    encoder.model.text_projection.weight.data.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match=r"clip: features of \['young'\]: got NaN or infinity"):
        ClipZeroShotClassifier(encoder, config)
