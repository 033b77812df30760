"""Faces for the classifiers, and who labels those that no word decides."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from fairlit.faces.classifier import AttributeClassifier
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.training_faces import Version, build_detector, majority_labels, write_faces
from fairlit_miniature.world import ATTRIBUTES, balanced_scene

MINIATURE = Path(__file__).parents[2] / "checkpoints" / "miniature"


def pictures(count: int) -> tuple[torch.Tensor, list[dict[str, str]]]:
    """Drawings in which a face is found, and who is in them."""
    scenes = [balanced_scene(0, index) for index in range(3 * count)]
    pixels = torch.stack([torch.from_numpy(draw_scene(scene).pixels).permute(2, 0, 1) for scene in scenes])
    found = build_detector()(pixels.float() / 255).image_index[:count]
    return pixels[found], [scenes[index].people[0] for index in found.tolist()]


def test_a_panel_says_what_its_members_see_on_average() -> None:
    """Two members that see opposite things are decided by the surer one; pictures without a face get no label."""
    images = torch.cat([pictures(3)[0].float() / 255, torch.zeros(1, 3, 64, 64)])
    faces = build_detector()(images)
    assert faces.image_index.tolist() == [0, 1, 2]
    member = AttributeClassifier.load(MINIATURE / "classifier_train")
    seen = {name: logits.argmax(dim=1).tolist() for name, logits in member.classify(images, faces).items()}
    alone = majority_labels([member], images, faces)
    assert alone == [
        *({name: ATTRIBUTES[name][labels[number]] for name, labels in seen.items()} for number in range(3)),
        {},
    ]

    class Opposite:
        """Sees the class after the likeliest one, with a sureness of its own."""

        def __init__(self, sureness: float) -> None:
            self.sureness = sureness

        def classify(self, images: torch.Tensor, faces: object) -> dict[str, torch.Tensor]:
            logits = member.classify(images, faces)  # type: ignore[arg-type]
            return {name: self.sureness * values.softmax(dim=1).roll(1, dims=1) for name, values in logits.items()}

    unsure, sure = (majority_labels([member, Opposite(value)], images, faces) for value in (0.1, 100.0))  # type: ignore[list-item]
    assert unsure == alone
    for one, other in zip(alone[:3], sure[:3], strict=True):
        for name, classes in ATTRIBUTES.items():
            assert other[name] == classes[(classes.index(one[name]) + 1) % len(classes)]


def test_faces_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    pixels, labels = pictures(4)
    faces = build_detector()(pixels.float() / 255)
    write_faces(tmp_path, [Version("train-first", "train", labels, pixels, faces)])
    write_faces(tmp_path, [Version("val-second", "val", labels, pixels, faces.select(faces.image_index >= 2))])
    with (tmp_path / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = [(f"train-first/{n:05d}.png", "train", n) for n in range(4)]
    expected += [(f"val-second/{n:05d}.png", "val", n) for n in (2, 3)]
    assert [(row["file"], row["split"]) for row in rows] == [(file, split) for file, split, _ in expected]
    for row, (file, _, number) in zip(rows, expected, strict=True):
        assert {name: row[name] for name in ATTRIBUTES} == labels[number]
        assert (tmp_path / file).is_file()
