"""Parts of one's own, in a file beside the images and named by class path: every command takes them, and resumes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cli_runs import run_fairlit
from PIL import Image

TARGET = "{gender: {female: 0.5, male: 0.5}}"

OWN_PARTS = '''
"""A method, a detector and a classifier that fairlit does not know."""

from contextlib import contextmanager

import torch

from fairlit.faces import FaceClassifier, FaceDetectorBase, Faces
from fairlit.mitigation import Method, NoMitigation


class Helper:
    """Something that JSON cannot hold, and whose repr differs between processes."""

    def __init__(self, shift):
        self.shift = shift


class Shifted(Method):
    """The unchanged model from noise that is shifted by a helper."""

    name = "shifted"
    needs_target = False

    def __init__(self, shift: float = 0.1) -> None:
        self.helper = Helper(shift)

    def settings(self):
        return {"shift": self.helper.shift}

    @contextmanager
    def prepare(self, backbone, plan, target):
        with NoMitigation().prepare(backbone, plan, None) as sample:
            yield lambda chunk, noise: sample(chunk, noise + self.helper.shift)


class Middle(FaceDetectorBase):
    """Takes the middle of every image for a face."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = share

    def forward(self, images):
        count, _, height, width = images.shape
        margin = (1 - self.share) / 2
        box = images.new_tensor([margin * width, margin * height, (1 - margin) * width, (1 - margin) * height])
        points = images.new_zeros(count, 5, 2)
        return Faces(torch.arange(count), box.expand(count, 4), images.new_ones(count), points, count)


class Redness(FaceClassifier):
    """Takes a face for female where it is redder than blue."""

    classes = {"gender": ("female", "male")}
    temperature = {"gender": 1.0}
    size = 8

    def __init__(self, gain: float = 50.0) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(gain))

    def forward(self, faces):
        red, _, blue = (self.gain * faces.mean(dim=(2, 3))).unbind(dim=1)
        return {"gender": torch.stack([red, blue], dim=1)}

    def classify(self, images, faces):
        return self(images[faces.image_index])


class Blueness(Redness):
    """The same, in a class of its own: who audits is not who leads."""
'''


def fairlit(folder: Path, *arguments: str) -> str:
    """What ``fairlit ARGUMENTS`` prints, started in a folder by a process of its own."""
    done = run_fairlit(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own_parts.py").write_text(OWN_PARTS)
    for number, colour in enumerate([(220, 40, 40), (200, 60, 60), (40, 40, 220)]):
        (tmp_path / "images" / "a chef").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(tmp_path / "images" / "a chef" / f"{number}.png")
    (tmp_path / "images" / "a chef" / "prompt.txt").write_text("a photo of a chef")
    return tmp_path


def test_a_method_of_ones_own_resumes_in_another_process(folder: Path, tiny_pipeline_folder: Path) -> None:
    command = ["generate", "a doctor", "--model", str(tiny_pipeline_folder), "--steps", "2", "--guidance_scale", "1"]
    command += ["--method", "own_parts.Shifted", "--method.shift", "0.25", "--out", "made", "--device", "cpu"]
    assert "made     2 images" in fairlit(folder, *command, "--images", "2")
    assert "made     1 image of 1 prompt, 2 were there already" in fairlit(folder, *command, "--images", "3")
    lines = [json.loads(line) for line in (folder / "made" / "manifest.jsonl").read_text().splitlines()]
    assert [line["method"] for line in lines] == [{"name": "shifted", "shift": 0.25}] * 3


def test_audit_with_detector_and_classifier_of_ones_own(folder: Path) -> None:
    command = ["audit", "images", "--target", TARGET, "--device", "cpu", "--out", "audit"]
    command += ["--classifier", "own_parts.Redness", "--detector"]
    command += ["{class_path: own_parts.Middle, init_args: {share: 0.75}}"]
    fairlit(folder, *command)
    results = json.loads((folder / "audit" / "results.json").read_text())
    assert results["figures"]["attributes"]["gender"]["frequencies"] == pytest.approx({"female": 2 / 3, "male": 1 / 3})
    notes = sorted((folder / "audit").glob(".seen*"))[0]
    seen = notes.read_text().splitlines()
    notes.write_text("\n".join(seen[:3]) + "\n")  # as a stop leaves it: one image is still to be judged
    fairlit(folder, *command)
    assert sorted(notes.read_text().splitlines()) == sorted(seen)  # what was noted was believed


def test_compare_and_edit_with_parts_of_ones_own(folder: Path, tiny_pipeline_folder: Path, tiny_prompts: Path) -> None:
    (folder / "judge.yaml").write_text(yaml.safe_dump({"class_path": "own_parts.Redness", "init_args": {"gain": 20.0}}))
    common = ["--model", str(tiny_pipeline_folder), "--steps", "2", "--guidance_scale", "1.5", "--device", "cpu"]
    common += ["--detector", "own_parts.Middle", "--target", TARGET]
    methods = {"mine": {"class_path": "own_parts.Shifted", "init_args": {"shift": 0.5}}}
    (folder / "methods.yaml").write_text(yaml.safe_dump({"methods": methods}))
    command = ["compare", "--config", "methods.yaml", "--prompts", str(tiny_prompts), "--images", "2", *common]
    command += ["--classifier", "judge.yaml", "--out", "comparison"]
    assert "made     8 images by 2 methods" in fairlit(folder, *command)
    next((folder / "comparison" / "images" / "judged" / "mine").rglob("*.png")).unlink()
    assert "made     1 image by 2 methods, 7 were there already" in fairlit(folder, *command)
    results = json.loads((folder / "comparison" / "results.json").read_text())
    assert results["methods"]["mine"]["settings"] == {"name": "shifted", "shift": 0.5}

    command = ["edit", "images", *common, "--steps", "4", "--out", "edited", "--classifier", "own_parts.Redness"]
    command += ["--audit_classifier", "own_parts.Blueness", "--template", "a {words}", "--editing.tries", "1"]
    assert "edited   1 set of images:" in fairlit(folder, *command)
    assert "edited   1 set of images, 1 of them before" in fairlit(folder, *command)
    edits = [json.loads(line) for line in (folder / "edited" / "edits.jsonl").read_text().splitlines()]
    assert edits[0]["method"]["classifier"] == "own_parts.Redness"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classifier", "own_parts.Reddness"], "classifier: got 'own_parts.Reddness', which cannot be imported"),
        (["--classifier", "own_parts.Middle"], "expected a subclass of fairlit.faces.face_classifier.FaceClassifier"),
        (["--detector", "own_parts.Redness"], "expected a subclass of fairlit.faces.detector.FaceDetectorBase"),
    ],
)
def test_what_is_no_such_part_is_refused(folder: Path, arguments: list[str], message: str) -> None:
    given = {"--classifier": "own_parts.Redness", "--detector": "own_parts.Middle"} | dict([arguments])
    command = [
        "audit",
        "images",
        "--target",
        TARGET,
        "--out",
        "audit",
        *(part for pair in given.items() for part in pair),
    ]
    with pytest.raises(AssertionError) as caught:
        fairlit(folder, *command)
    assert message in str(caught.value)
