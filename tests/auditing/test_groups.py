"""Pictures of up to three people, each a coloured square; the judge reads the colours."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.measure import measure
from fairlit.auditing.run import AuditSettings, run_audit
from fairlit.comparison.figures import MethodFigures, differences
from fairlit.errors import Problems
from fairlit.faces import FaceClassifier, Faces
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import composition_name, read_compositions
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge, observe_folder

RED, BLUE, GREEN = (220, 40, 40), (40, 40, 220), (20, 200, 20)
TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})
SIDE = 16


class Squares(nn.Module):
    """Every square of `SIDE` pixels that is not green is a face."""

    def forward(self, images: Tensor) -> Faces:
        where, boxes = [], []
        for image, place in itertools.product(range(len(images)), range(images.shape[-1] // SIDE)):
            left = place * SIDE
            if float(images[image, 1, :, left : left + SIDE].mean()) < 0.5:
                where.append(image)
                boxes.append([left + 1.0, 1.0, left + SIDE - 1.0, SIDE - 1.0])
        count = len(where)
        index = torch.tensor(where).long()
        rows = torch.tensor(boxes).view(-1, 4)
        return Faces(index, rows, torch.ones(count), torch.zeros(count, 5, 2), len(images))


class Tint(FaceClassifier):
    """Sees red or blue in the middle of a box."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    classes = {"tint": ("red", "blue")}  # noqa: RUF012
    temperature = {"tint": 1.0}  # noqa: RUF012
    size = SIDE

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        return {"tint": self.scale * faces[:, [0, 2]]}

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        centres = ((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2).long()
        return self(images[faces.image_index, :, centres[:, 1], centres[:, 0]])


@pytest.fixture
def judge() -> Judge:
    return Judge(Squares(), Tint().freeze(), {"classifier": "tint", "detector": "squares"}, "all")


def write(folder: Path, prompts: dict[str, tuple[int, list[Sequence[tuple[int, int, int]]]]]) -> Path:
    """Images with a manifest: prompt -> people asked for, and the colours of the squares of each image."""
    entries = []
    for prompt, (people, images) in prompts.items():
        for number, colours in enumerate(images):
            picture = Image.new("RGB", (3 * SIDE, SIDE), GREEN)
            for place, colour in enumerate(colours):
                picture.paste(colour, (place * SIDE, 0, (place + 1) * SIDE, SIDE))
            file = f"{prompt.replace(' ', '_')}_{number}.png"
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / file)
            entries.append({"file": file, "prompt": prompt, "number": number, "people": people})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


PROMPTS = {
    "two chefs": (2, [[RED, RED], [RED, BLUE], [BLUE, BLUE], [RED, RED, BLUE], [RED]]),
    "two pilots": (2, [[RED, BLUE], [RED, BLUE], [GREEN, GREEN]]),
    "three guards": (3, [[RED, RED, RED], [RED, RED, BLUE]]),
}


def test_groups_by_hand(judge: Judge, tmp_path: Path) -> None:
    folder = find_images(write(tmp_path / "images", PROMPTS))
    results = run_audit(AuditSettings(folder=folder, target=TARGET, out=tmp_path / "out"), judge)
    figures = results.figures.attributes["tint"]
    # Faces: chefs 6 red of 10 (2+1+0+2+1; 0+1+2+1+0), pilots 2 of 4, guards 5 of 6.
    assert figures.frequencies["red"].value == pytest.approx((6 / 10 + 2 / 4 + 5 / 6) / 3)
    assert results.figures.faces == 20
    assert results.figures.faces_per_image == pytest.approx(20 / 10)
    assert results.audited.no_face == 1
    groups = results.groups
    assert groups is not None
    assert groups.found == {2: {0: 1, 1: 1, 2: 5, 3: 1}, 3: {3: 2}}
    assert groups.exact == pytest.approx(7 / 10)
    assert groups.per_image == {2: pytest.approx(14 / 8), 3: pytest.approx(3)}
    pairs = groups.compositions[2]["tint"]
    assert pairs.images == 5
    # Chefs: one of each; pilots: twice mixed. Independent people: a quarter, a half, a quarter.
    shares = {name: share.value for name, share in pairs.frequencies.items()}
    assert shares == pytest.approx({"2 red": 1 / 6, "1 red, 1 blue": (1 / 3 + 1) / 2, "2 blue": 1 / 6})
    assert pairs.target == pytest.approx({"2 red": 0.25, "1 red, 1 blue": 0.5, "2 blue": 0.25})
    assert pairs.tv.value == pytest.approx(((1 / 12 + 1 / 6 + 1 / 12) / 2 + 0.5) / 2)
    with (tmp_path / "out" / "per_face.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 20
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Several people in one picture" in page
    assert "Every face that is found in an image counts." in page
    assert (tmp_path / "out" / "figures" / "people.png").is_file()


def test_crowds_have_too_many_compositions_to_be_told(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlit.auditing.groups.MAX_MEASURED_CLASSES", 3)  # two people have 3, three people 4
    folder = find_images(write(tmp_path / "images", PROMPTS))
    groups = run_audit(AuditSettings(folder=folder, target=TARGET, out=tmp_path / "out"), judge).groups
    assert groups is not None
    assert {size: list(blocks) for size, blocks in groups.compositions.items()} == {2: ["tint"], 3: []}
    assert groups.found[3] == {3: 2}


def test_a_target_of_compositions(judge: Judge, tmp_path: Path) -> None:
    """Every pair is to be mixed."""
    folder = find_images(write(tmp_path / "images", PROMPTS))
    problems = Problems("x")
    mixed = read_compositions({"tint": {2: {"1 red, 1 blue": 1.0}}}, TARGET, problems)
    assert problems.messages == []
    results = run_audit(AuditSettings(folder=folder, target=TARGET, out=tmp_path / "out", compositions=mixed), judge)
    assert results.groups is not None
    pairs = results.groups.compositions[2]["tint"]
    assert pairs.target == {"2 red": 0.0, "1 red, 1 blue": 1.0, "2 blue": 0.0}
    assert pairs.tv.value == pytest.approx((2 / 3 + 0) / 2)


def test_the_largest_face_alone_says_nothing_of_groups(judge: Judge, tmp_path: Path) -> None:
    folder = find_images(write(tmp_path / "images", PROMPTS))
    one = Judge(judge.detector, judge.classifier, judge.names)
    results = run_audit(AuditSettings(folder=folder, target=TARGET, out=tmp_path / "out"), one)
    assert results.groups is None
    assert results.figures.faces == 9
    assert not (tmp_path / "out" / "per_face.csv").exists()
    notes = tmp_path / "out" / ".seen_audited.jsonl"
    assert [len(entry.faces) for entry in observe_folder(folder, judge, notes)][:5] == [2, 2, 2, 3, 1]  # not believed
    assert [len(entry.faces) for entry in observe_folder(folder, judge, notes)][:5] == [2, 2, 2, 3, 1]  # recalled


def test_methods_differ_by_all_their_faces(judge: Judge, tmp_path: Path) -> None:
    """The largest faces are equal; of all faces the one method has three of four red, the other two of four."""
    methods = {}
    for name, images in {"one": [[RED, RED], [RED, BLUE]], "other": [[RED, BLUE], [RED, BLUE]]}.items():
        folder = find_images(write(tmp_path / name, {"two chefs": (2, images), "two pilots": (2, images)}))
        seen = observe_folder(folder, judge, tmp_path / f"{name}.jsonl")
        methods[name] = MethodFigures(JudgedFolder(folder, seen, measure(folder, seen, TARGET)), {}, {})
    [found] = differences(methods, TARGET, (2, 2))
    assert found.attributes["tint"].tv.value == pytest.approx(0.25)
    assert found.attributes["tint"].bias.value == pytest.approx(0.5)


def test_compositions_that_cannot_be_read() -> None:
    problems = Problems("x")
    wrong = {"hue": {2: {}}, "tint": {2: {"1 red, 1 green": 1.0}, 3: {"1 red, 1 blue": 1.0}, 4: {"4 red": 0.5}}}
    read_compositions(wrong, TARGET, problems)
    assert len(problems.messages) == 4
    for part in ("'hue'", "write {'1 red, 1 blue': 1.0}", "[1, 1] of 3 people", "sum to 0.5"):
        assert any(part in message for message in problems.messages)
    assert composition_name((0, 2), ("red", "blue")) == "2 blue"
