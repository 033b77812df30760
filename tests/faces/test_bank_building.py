from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_faces import draw_face, save_face
from facenet_pytorch.models import inception_resnet_v1
from PIL import Image
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairlit.cli import main
from fairlit.errors import CheckpointError, ConfigurationError, NotFiniteError
from fairlit.faces import ClassifierEmbedder, FaceBank, FaceDetector
from fairlit.faces.bank_building import NO_FACE, build_bank
from fairlit.faces.embedding import download_inception_resnet, load_embedder
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.world import balanced_scene

EMBEDDER = str(Path(__file__).parents[2] / "checkpoints" / "miniature" / "classifier_train")
COUNT = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces in two folders, a text that claims to be a picture, and a hidden file."""
    root = tmp_path_factory.mktemp("faces")
    for number in range(COUNT):
        save_face(draw_face(number)[0], root / ("first" if number < 6 else "second") / f"{number:02d}.png")
    (root / "first" / "99.jpg").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    return root


def faces_of(folder: Path) -> Tensor:
    return torch.stack([draw_face(number)[0] for number in range(COUNT)]).float() / 255


@torch.no_grad()
def test_a_bank_holds_the_embeddings_in_order(folder: Path, tmp_path: Path) -> None:
    embedder = ClassifierEmbedder(EMBEDDER)
    with Progress(disable=True) as progress:
        report = build_bank(
            folder, embedder, tmp_path / "bank.safetensors", progress=progress, batch_size=4, part_size=5
        )
    assert report.faces == COUNT
    assert list(report.skipped) == ["first/99.jpg"]
    assert json.loads((tmp_path / "bank.safetensors.skipped.json").read_text()) == report.skipped
    bank = FaceBank.load(tmp_path / "bank.safetensors", embedder)
    features = embedder.features(faces_of(folder))
    expected = features / features.norm(dim=1, keepdim=True)
    torch.testing.assert_close(bank.embeddings, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bank.nearest(features[3:5]), expected[3:5], atol=1e-5, rtol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank.safetensors", "bank.safetensors.skipped.json"]


@torch.no_grad()
def test_a_bank_reads_pictures_as_the_audit_does_and_waits_for_no_pipe(tmp_path: Path) -> None:
    pixels = draw_face(0)[0]
    upright = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    orientation = Image.Exif()
    orientation[0x0112] = 6  # turned by a quarter, clockwise, when it is shown
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    upright.transpose(Image.Transpose.ROTATE_90).save(pictures / "0.tif", exif=orientation)
    upright.save(pictures / "1.avif", quality=100)
    os.mkfifo(pictures / "2.png")
    (pictures / "3.png").symlink_to("nowhere")
    embedder = ClassifierEmbedder(EMBEDDER)
    with Progress(disable=True) as progress:
        report = build_bank(pictures, embedder, tmp_path / "bank.safetensors", progress=progress)
    assert report.skipped == {
        "2.png": "cannot be read (no regular file)",
        "3.png": "cannot be read (a link that leads nowhere)",
    }
    features = embedder.features(pixels[None].float() / 255)
    expected = features / features.norm(dim=1, keepdim=True)
    found = FaceBank.load(tmp_path / "bank.safetensors", embedder).embeddings
    torch.testing.assert_close(found[:1], expected, atol=1e-5, rtol=1e-4)
    assert float((found[1] * expected[0]).sum()) > 0.99


class Counting(ClassifierEmbedder):
    """Counts pictures, and dies after some."""

    seen, limit = 0, 10**9

    def features(self, crops: Tensor) -> Tensor:
        self.seen += len(crops)
        if self.seen > self.limit:
            raise KeyboardInterrupt
        return super().features(crops)


def test_an_interrupted_run_goes_on_and_a_changed_one_begins_anew(folder: Path, tmp_path: Path) -> None:
    def run(out: Path, limit: int = 10**9, part_size: int = 4) -> Counting:
        embedder = Counting(EMBEDDER)
        embedder.limit = limit
        with Progress(disable=True) as progress:
            if limit < COUNT:
                with pytest.raises(KeyboardInterrupt):
                    build_bank(folder, embedder, out, progress=progress, batch_size=2, part_size=part_size)
            else:
                build_bank(folder, embedder, out, progress=progress, batch_size=2, part_size=part_size)
        return embedder

    run(tmp_path / "whole.safetensors")
    run(tmp_path / "bank.safetensors", limit=6)
    assert not (tmp_path / "bank.safetensors").exists()
    assert run(tmp_path / "bank.safetensors").seen == COUNT - 4  # it died in the second part of four files
    assert torch.equal(
        load_file(tmp_path / "bank.safetensors")["embeddings"], load_file(tmp_path / "whole.safetensors")["embeddings"]
    )
    run(tmp_path / "bank.safetensors", limit=6)
    assert run(tmp_path / "bank.safetensors", part_size=3).seen == COUNT


@pytest.mark.parametrize("damage", ["cut", "NaN", "header"])
def test_a_damaged_part_is_made_again(damage: str, folder: Path, tmp_path: Path) -> None:
    def run(out: Path, limit: int = 10**9) -> Counting:
        embedder = Counting(EMBEDDER)
        embedder.limit = limit
        with Progress(disable=True) as progress, suppress(KeyboardInterrupt):
            build_bank(folder, embedder, out, progress=progress, batch_size=2, part_size=4)
        return embedder

    run(tmp_path / "whole.safetensors")
    run(tmp_path / "bank.safetensors", limit=10)  # two parts of four files are done
    part = tmp_path / ".bank.safetensors.parts" / "000000.safetensors"
    rows = load_file(part)["embeddings"]
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        header = "{" if damage == "header" else "{}"
        save_file({"embeddings": rows * torch.nan if damage == "NaN" else rows}, part, {"skipped": header})
    assert run(tmp_path / "bank.safetensors").seen == COUNT - 3  # of the second part, whose fourth file is no picture
    assert torch.equal(
        load_file(tmp_path / "bank.safetensors")["embeddings"], load_file(tmp_path / "whole.safetensors")["embeddings"]
    )


@torch.no_grad()
def test_faces_are_found_and_cropped_where_asked(tmp_path: Path) -> None:
    images = [torch.from_numpy(draw_scene(balanced_scene(3, number)).pixels).permute(2, 0, 1) for number in range(4)]
    for number, pixels in enumerate(images):
        save_face(pixels, tmp_path / "pictures" / f"{number}.png")
    Image.new("RGB", (80, 80), "gray").save(tmp_path / "pictures" / "4.png")
    embedder, detector = ClassifierEmbedder(EMBEDDER), FaceDetector(scale=2.0)
    with Progress(disable=True) as progress:
        report = build_bank(
            tmp_path / "pictures", embedder, tmp_path / "bank.safetensors", progress=progress, detector=detector
        )
    batch = torch.stack(images).float() / 255
    faces = detector(batch).largest()
    assert len(faces) >= 3
    assert report.faces == len(faces)
    assert report.skipped["4.png"] == NO_FACE
    bank = FaceBank.load(tmp_path / "bank.safetensors", embedder)
    torch.testing.assert_close(bank.embeddings, embedder.embed(batch, faces), atol=1e-5, rtol=1e-4)


def test_the_command_says_what_it_did_and_what_is_wrong(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bank.safetensors"
    main(["face-bank", str(folder), "--embedder", EMBEDDER, "--out", str(out), "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "skipped     first/99.jpg: cannot be read" in printed
    assert f"face bank   {out}: {COUNT} faces" in printed
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(["face-bank", str(tmp_path / "empty"), "--embedder", EMBEDDER, "--detection.scale", "2"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    for part in ("3 problems", "which has no picture", "out: got nothing", "give --detect too"):
        assert part in message


def test_a_bank_that_is_there_is_replaced_on_request_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, embedder = shutil.copytree(folder, tmp_path / "faces"), shutil.copytree(EMBEDDER, tmp_path / "embedder")
    out = tmp_path / "bank.safetensors"
    command = ["face-bank", str(pictures), "--embedder", str(embedder), "--out", str(out), "--device", "cpu"]
    main(command)
    told, whole, made = capsys.readouterr().out, out.read_bytes(), out.stat().st_mtime_ns
    main([*command, "--batch_size", "3"])
    found = capsys.readouterr().out
    assert f"found    {out}: made of the same pictures with the same settings before" in found
    assert found.splitlines()[-2:] == told.splitlines()[-2:]  # what was skipped, and the number of faces
    assert out.stat().st_mtime_ns == made

    (pictures / "first" / "00.png").unlink()
    config = json.loads((embedder / "config.json").read_text())
    (embedder / "config.json").write_text(json.dumps(config | {"mean": [0.4, 0.4, 0.4]}))
    for arguments, words in (
        (command, "a face bank of other pictures and embedder; expected a new file"),
        ([*command, "--embedder", str(tmp_path / "none")], "a face bank of another embedder; expected"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert f"out: got {out}, {words}" in capsys.readouterr().err
        assert out.read_bytes() == whole
    main([*command, "--overwrite"])
    assert f"{COUNT - 1} faces" in capsys.readouterr().out
    out.write_text("mine")
    with pytest.raises(SystemExit):
        main(command)
    assert "a file that is not known to be a face bank of these pictures and settings" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_the_command_detects_faces_as_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = torch.from_numpy(draw_scene(balanced_scene(3, 0)).pixels).permute(2, 0, 1)
    save_face(image, tmp_path / "pictures" / "0.png")
    arguments = [
        "face-bank",
        str(tmp_path / "pictures"),
        "--embedder",
        EMBEDDER,
        "--out",
        str(tmp_path / "bank"),
        "--detect",
    ]
    main([*arguments, "--detection.scale", "2"])
    assert ": 1 face\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*arguments, "--detection.min_score", "1", "--overwrite"])
    assert NO_FACE in capsys.readouterr().err


def test_no_face_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "a.png").write_text("no picture")
    with Progress(disable=True) as progress, pytest.raises(ConfigurationError, match=r"gave no face \(a\.png"):
        build_bank(tmp_path / "faces", ClassifierEmbedder(EMBEDDER), tmp_path / "bank.safetensors", progress=progress)


def test_inception_resnet_is_fetched_only_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(network: inception_resnet_v1.InceptionResnetV1, name: str) -> None:
        asked.append(name)
        torch.nn.init.ones_(network.last_linear.weight)

    monkeypatch.setattr(inception_resnet_v1, "load_weights", fetch)
    download_inception_resnet("vggface2", tmp_path / "inception.safetensors")
    assert asked == ["vggface2"]
    network: Any = load_embedder(str(tmp_path / "inception.safetensors"))
    assert torch.equal(network.network.last_linear.weight, torch.ones(512, 1792))
    assert asked == ["vggface2"]
    with pytest.raises(ConfigurationError, match="'lfw'"):
        download_inception_resnet("lfw", tmp_path / "other")

    def fail(network: object, name: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr(inception_resnet_v1, "load_weights", fail)
    with pytest.raises(CheckpointError, match="no network"):
        download_inception_resnet("vggface2", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_embeddings_that_are_not_finite_become_no_bank(folder: Path, tmp_path: Path) -> None:
    embedder = load_embedder(EMBEDDER)
    embedder.classifier.mean.fill_(torch.nan)  # type: ignore[attr-defined]  # no weight, so no file told of it
    with Progress(disable=True) as progress, pytest.raises(NotFiniteError, match=r"face embedder: first/00\.png"):
        build_bank(folder, embedder, tmp_path / "bank.safetensors", progress=progress, batch_size=4)
    assert not (tmp_path / "bank.safetensors").exists()
