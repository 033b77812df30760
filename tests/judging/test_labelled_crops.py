"""Crops with the classes asked for as labels, of plain pictures and of what the embedded model draws."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from coloured_folders import AllButGreen, Tint
from torch import Tensor

from fairlit.cli import main
from fairlit.data.faces.datamodule import UNLABELLED
from fairlit.data.faces.labelled_folders import read_labels
from fairlit.errors import ConfigurationError
from fairlit.faces import AttributeClassifier, ClassifierConfig, Faces
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector_files import load_detector
from fairlit.judging.labelled_crops import NOT_DEALT, LabelledCrops, crop_labelled_faces
from fairlit.judging.labelled_crops_config import LabelledCropsConfig
from fairlit.pictures.files import read_image, save_png
from fairlit.pictures.manifest import read_manifest, write_manifest
from fairlit.results.manifest import ManifestEntry

RED, BLUE, GREEN = (1.0, 0.2, 0.2), (0.2, 0.2, 1.0), (0.1, 0.9, 0.1)
CLASSES = {"hat": ("cap", "crown"), "mood": ("calm", "cross")}
TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
PROMPT = "a photo of the face of a nurse, a person"
MINIATURE = Path(__file__).parents[2] / "checkpoints" / "miniature"


class BlueTwice(AllButGreen):
    """Takes the upper left corner of a blue image for a second, smaller face."""

    def forward(self, images: Tensor) -> Faces:
        found = super().forward(images)
        blue = (images[:, 2].mean(dim=(1, 2)) > images[:, 0].mean(dim=(1, 2)))[found.image_index]
        corners = found.boxes[blue] / 8
        return Faces(
            torch.cat([found.image_index[blue], found.image_index]),
            torch.cat([corners, found.boxes]),
            torch.cat([found.scores[blue], found.scores]),
            torch.cat([found.landmarks[blue], found.landmarks]),
            len(images),
        )


class HatTint(Tint):
    """Does not tell how it crops."""

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        return CLASSES


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """Looks at what lies within a face's box."""
    AttributeClassifier(ClassifierConfig(CLASSES, "shufflenet_v2", TINY, 32)).save(tmp_path / "hats")
    return tmp_path / "hats"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Squares of one colour in a grey frame that is as wide as `AllButGreen` leaves around a face."""
    dealt = {
        "a/0.png": (RED, {"hat": "cap", "shoe": "sandal"}),
        "a/1.png": (GREEN, {"hat": "crown"}),
        "b/0.png": (BLUE, {"hat": "crown"}),
        "b/1.png": (RED, None),
        "b/2.png": (BLUE, {"hat": "crown"}),
    }
    for file, (colour, _) in dealt.items():
        picture = torch.full((3, 16, 16), 0.4)
        picture[:, 4:12, 4:12] = torch.tensor(colour)[:, None, None]
        save_png(picture, tmp_path / "images" / file, {})
    (tmp_path / "images" / "b" / "2.png").write_bytes(b"no image")
    entries = [ManifestEntry(file=file, prompt="a hat", dealt_classes=own) for file, (_, own) in dealt.items()]
    write_manifest(tmp_path / "images", [*entries, ManifestEntry(file="gone.png", prompt="a hat")])
    return tmp_path / "images"


def crop(pictures: Path, classifier: Path | str, **settings: Any) -> LabelledCrops:
    given = {"detector": f"{__name__}.BlueTwice", "out": str(pictures.parent / "crops"), "device": "cpu", **settings}
    return crop_labelled_faces(LabelledCropsConfig(folder=str(pictures), classifier=str(classifier), **given))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_picture_with_a_face_gives_its_largest_with_what_was_asked_for(pictures: Path, classifier: Path) -> None:
    results = crop(pictures, classifier)
    assert (results.pictures, results.faces) == (3, 2)
    assert (results.without_face, results.with_several) == (["a/1.png"], ["b/0.png"])
    assert results.classes == {"hat": {"cap": 1, "crown": 1}}
    assert {entry.file: entry.reason for entry in results.left_out} == {
        "gone.png": "missing",
        "b/1.png": NOT_DEALT,
        "b/2.png": "not an image",
    }
    folder = pictures.parent / "crops"
    red, blue = read_labels(folder, CLASSES)
    assert [(face.split, face.labels) for face in (red, blue)] == [("val", (0, UNLABELLED)), ("val", (1, UNLABELLED))]
    for face, colour in ((red, RED), (blue, BLUE)):
        expected = (torch.tensor(colour) * 255).round()[:, None, None].expand(3, 32, 32)
        assert torch.equal(read_image(face.path)[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2].byte())  # the frame blends in
    assert set(contents(folder)) == {"000000.png", "000001.png", "labels.csv"}


def test_crops_are_replaced_if_asked_for_and_nothing_else_is(pictures: Path, classifier: Path) -> None:
    crop(pictures, classifier)
    folder = pictures.parent / "crops"
    before = contents(folder)
    with pytest.raises(ConfigurationError, match="which holds something; expected a new or empty folder; give another"):
        crop(pictures, classifier)
    crop(pictures, classifier, overwrite=True)
    assert contents(folder) == before
    (folder / "notes.txt").write_text("mine")
    write_manifest(pictures, [entry for entry in read_manifest(pictures)[0] if entry.file != "a/0.png"])
    crop(pictures, classifier, overwrite=True)
    assert set(contents(folder)) == {"000000.png", "labels.csv", "notes.txt"}
    assert contents(folder)["000000.png"] == before["000001.png"]
    (folder / "000000.png").unlink()
    with pytest.raises(ConfigurationError, match=r"whose labels\.csv this command has not written"):
        crop(pictures, classifier, overwrite=True)


def test_settings_that_do_not_fit_are_refused(pictures: Path, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        crop_labelled_faces(LabelledCropsConfig(batch_size=0))
    for name in ("folder: got nothing", "classifier: got nothing", "out: got nothing", "batch_size: got 0"):
        assert name in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"out: got .* within the folder of the pictures"):
        crop(pictures, classifier, out=str(pictures / "crops"))
    with pytest.raises(ConfigurationError, match="HatTint, which does not tell how it crops faces"):
        crop(pictures, f"{__name__}.HatTint")
    entries = read_manifest(pictures)[0]
    for dealt, told in (
        ({"shoe": "boot"}, "got one of hat, mood; expected one of shoe, of which"),
        ({"hat": "fez"}, "got the classes cap, crown of hat; expected fez among them"),
        (None, "whose manifest.jsonl names no dealt classes; .* run the same command again"),
    ):
        write_manifest(pictures, [replace(entry, dealt_classes=dealt) for entry in entries])
        with pytest.raises(ConfigurationError, match=told):
            crop(pictures, classifier)
    (pictures / "manifest.jsonl").unlink()
    with pytest.raises(ConfigurationError, match=r"folder: got .*, without manifest\.jsonl; expected pictures"):
        crop(pictures, classifier)
    assert not (tmp_path / "crops").exists()


def test_pictures_without_any_face_leave_nothing(pictures: Path, classifier: Path) -> None:
    write_manifest(pictures, [entry for entry in read_manifest(pictures)[0] if entry.file == "a/1.png"])
    with pytest.raises(ConfigurationError, match="in whose 1 picture no face is found; expected some; give a larger"):
        crop(pictures, classifier)
    assert not (pictures.parent / "crops").exists()


def test_a_classifier_is_calibrated_on_generated_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The confusion matrix is that of the faces of the pictures themselves and the classes of their manifest."""
    sampling = ["--images", "6", "--steps", "4", "--guidance_scale", "1.1", "--batch_size", "6"]
    words = ["--method", "attribute_words", "--method.after", "face of an?"]
    target = ["--target", "{gender: {female: 0.5, male: 0.5}}"]
    where = ["--model", f"{MINIATURE}/pipeline", "--out", f"{tmp_path}/images", "--device", "cpu"]
    main(["generate", PROMPT, *where, *sampling, *words, *target])
    folder = shutil.copytree(MINIATURE / "classifier_train", tmp_path / "classifier")
    capsys.readouterr()
    crops = ["--out", f"{tmp_path}/crops", "--detection.scale", "2", "--device", "cpu"]
    main(["classifier", "crop", f"{tmp_path}/images", "--classifier", str(folder), *crops])
    told = capsys.readouterr().out
    main(["classifier", "calibrate", str(folder), "--folder", f"{tmp_path}/crops", "--device", "cpu", "--overwrite"])

    entries, _ = read_manifest(tmp_path / "images")
    judge = AttributeClassifier.load(MINIATURE / "classifier_train")
    pixels = torch.stack([read_image(tmp_path / "images" / entry.file) for entry in entries]).float() / 255
    faces = load_detector(detection=FaceDetection(scale=2.0))(pixels).largest()
    perceived = judge.classify(pixels, faces)["gender"].argmax(dim=1).tolist()
    dealt = [(entries[index].dealt_classes or {})["gender"] for index in faces.image_index.tolist()]
    expected = [[0, 0], [0, 0]]
    for label, answer in zip(dealt, perceived, strict=True):
        expected[judge.classes["gender"].index(label)][answer] += 1
    measured = AttributeClassifier.load(folder)
    assert measured.confusion["gender"].tolist() == expected
    assert sum(map(sum, expected)) == len(faces) > 0
    assert measured.config.temperature["gender"] != judge.config.temperature["gender"]
    assert set(measured.confusion) == {"gender"}
    assert f"crops      {tmp_path}/crops: {len(faces)} faces of 6 pictures" in told
    assert f"asked for  gender: female {dealt.count('female')}, male {dealt.count('male')}" in told
