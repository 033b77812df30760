from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fairlit.cli import main
from fairlit.results.audit import AuditResults

TARGET = "{gender: {female: 0.5, male: 0.5}}"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(3):
        (tmp_path / "images" / "a chef").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (80 * number, 90, 90)).save(tmp_path / "images" / "a chef" / f"{number}.png")
    return tmp_path / "images"


def test_an_audit_starts_and_ends_without_what_takes_seconds_to_import(
    images: Path, tiny_models: dict[str, str], tmp_path: Path
) -> None:
    unused = ("lightning", "pytorch_lightning", "diffusers", "torchvision", "torch._dynamo", "scipy.stats")
    arguments = ["audit", str(images), "--target", TARGET, "--classifier", tiny_models["audit_classifier"]]
    code = (
        "import sys\nfrom fairlit.cli import main\n"
        f"main({[*arguments, '--out', str(tmp_path / 'out'), '--device', 'cpu']!r})\n"
        f"print([name for name in {unused} if name in sys.modules])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert json.loads((tmp_path / "out" / "results.json").read_text())["audited"]["no_face"] == 3


def test_a_flat_folder_is_warned_of_on_the_terminal_on_top_of_the_report_and_in_the_results(
    images: Path, tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--target", TARGET, "--classifier", tiny_models["audit_classifier"], "--device", "cpu"]
    main(["audit", str(images / "a chef"), *arguments, "--out", str(tmp_path / "flat")])
    words = f"3 images lie directly in {images / 'a chef'} and count as one prompt"
    assert f"warning  {words}" in capsys.readouterr().out
    page = (tmp_path / "flat" / "report.html").read_text()
    assert 0 < page.index(words) < page.index('<section class="verdict')
    [doubt] = AuditResults.read(tmp_path / "flat").doubts or ()
    assert doubt.startswith(words)
    main(["audit", str(images), *arguments, "--out", str(tmp_path / "folders")])
    (images / "a chef" / "prompt.txt").write_text("a photo of a chef")
    main(["audit", str(images / "a chef"), *arguments, "--out", str(tmp_path / "told")])
    assert "warning" not in capsys.readouterr().out
    for name in ("folders", "told"):
        assert "count as one prompt" not in (tmp_path / name / "report.html").read_text()
        assert "doubts" not in json.loads((tmp_path / name / "results.json").read_text())


def test_results_of_other_settings_are_replaced_only_where_that_is_asked_for(
    images: Path, tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, both = tmp_path / "out", ["--faces", "all", "--detector", "stand_ins.MiddleFaces"]
    command = ["audit", str(images), "--target", TARGET, "--classifier", tiny_models["audit_classifier"]]
    command += ["--device", "cpu", "--out", str(out)]
    for file in images.glob("*/*.png"):
        with Image.open(file) as image:
            image.paste((255, 90, 90), (0, 0, 20, 40))  # a face for `MiddleFaces`
            image.save(file)
    main([*command, *both])
    (out / "figures" / "of_mine.png").write_bytes(b"mine")
    first = (out / "results.json").read_bytes()
    main([*command, *both, "--title", "The same audit", "--report_images", "2", "--batch_size", "1"])
    assert "The same audit" in (out / "report.html").read_text()
    again = json.loads((out / "results.json").read_text())
    assert {key: again[key] for key in ("figures", "verdict")} == {
        key: json.loads(first)[key] for key in ("figures", "verdict")
    }
    before = (out / "results.json").read_bytes()
    for settings, words in (
        ([*both, "--tolerance", "0.3"], "were made with tolerance 0.1, not 0.3; expected"),
        ([*both, "--faces", "largest"], "were made with faces 'all', not 'largest'; expected"),
        ([*both, "--target", "{gender: {female: 0.4, male: 0.6}}"], "were made with target"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([*command, *settings])
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert words in error
        assert "give another --out, or --overwrite to replace" in error
        assert (out / "results.json").read_bytes() == before
    assert (out / "per_face.csv").is_file()
    (out / "results.json").rename(tmp_path / "kept")
    main([*command, *both, "--tolerance", "0.3"])  # without results, as after a stop, there is nothing to protect
    assert json.loads((out / "results.json").read_text())["tolerance"] == 0.3
    main([*command, "--overwrite"])  # nobody's face is found by MTCNN, and the largest one counts
    assert json.loads((out / "results.json").read_text())["audited"]["no_face"] == 3
    assert not (out / "per_face.csv").exists()
    assert [file.name for file in (out / "figures").iterdir()] == ["of_mine.png"]
    main(command)
    (out / ".settings.jsonl").unlink()  # as earlier versions of fairlit left it
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    assert "whose results.json is not known to be of these settings" in capsys.readouterr().err


def test_a_classifier_that_was_trained_anew_at_its_path_is_noticed(
    images: Path, tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = shutil.copytree(tiny_models["audit_classifier"], tmp_path / "judge")
    command = ["audit", str(images), "--target", TARGET, "--classifier", str(judge), "--device", "cpu"]
    command += ["--out", str(tmp_path / "out")]
    main(command)
    shutil.copytree(tiny_models["classifier"], judge, dirs_exist_ok=True)
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    assert "results that were made with another classifier than is there now; expected" in capsys.readouterr().err
    main([*command, "--overwrite"])
    main(command)


def test_a_path_may_be_spelt_in_another_way(
    images: Path, tiny_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = shutil.copytree(tiny_models["audit_classifier"], tmp_path / "judge")
    monkeypatch.chdir(tmp_path)
    command = ["audit", "--target", TARGET, "--device", "cpu", "--out", "out"]
    for folder, classifier in (("images", "judge"), ("./images", "./judge"), (str(images), str(judge))):
        main([*command, folder, "--classifier", classifier])
        assert AuditResults.read("out").judge.classifier == classifier
    shutil.copytree(judge, tmp_path / "other")
    with pytest.raises(SystemExit) as caught:
        main([*command, "images", "--classifier", "other"])
    assert caught.value.code == 2


def test_a_classifier_whose_folder_is_not_called_in_utf_8_is_refused_in_words(
    images: Path, tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / os.fsdecode(b"judge\xff")
    try:
        shutil.copytree(tiny_models["audit_classifier"], odd)
    except OSError:
        pytest.skip("file system wants UTF-8")
    with pytest.raises(SystemExit) as caught:
        main(["audit", str(images), "--target", TARGET, "--classifier", str(odd), "--out", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert "model.safetensors' cannot be read" in capsys.readouterr().err


def test_a_model_is_generated_from_and_compared_with_itself(
    tiny_models: dict[str, str], tiny_prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["audit", "--model", tiny_models["backbone"], "--prompts", str(tiny_prompts), "--images", "2"]
    command += ["--steps", "2", "--guidance_scale", "1", "--classifier", tiny_models["audit_classifier"]]
    command += ["--target", TARGET, "--out", str(tmp_path / "out"), "--detector", "stand_ins.MiddleFaces"]
    main(command)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["audited"]["layout"], results["audited"]["images"], results["reference_images"]) == (
        "manifest",
        4,
        None,
    )
    assert results["audited"]["with_face"] > 0
    assert results["judge"]["detector"] == "stand_ins.MiddleFaces"
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--seed", "3"])
    assert "were made with seed 0, not 3" in capsys.readouterr().err
    main([*command, "--seed", "3", "--overwrite"])
    assert "made again: 4 images that are damaged or of other settings" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "results.json").read_text())["audited"]["images"] == 4


def test_a_second_classifier_says_what_distances_are_made_of(
    images: Path, tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in images.rglob("*.png"):
        with Image.open(path) as picture:
            picture.paste((250, 60, 60), (0, 0, 20, 40))  # redder on the left: a face
            picture.save(path)
    command = ["audit", str(images), "--target", TARGET, "--classifier", tiny_models["audit_classifier"]]
    command += ["--detector", "stand_ins.MiddleFaces", "--out", str(tmp_path / "out")]
    main([*command, "--second_classifier", tiny_models["classifier"]])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    [parts] = results["second_classifier"]["distances"]
    printed = capsys.readouterr().out
    assert f"alike    gender: both classifiers agree on {100 * parts['agreement']:.1f} %" in printed
    assert f"{parts['distance']:.3f}" in next(line for line in printed.splitlines() if " a chef " in line)
    assert results["judge"]["second_classifier"] == tiny_models["classifier"]
    with pytest.raises(SystemExit):
        main([*command, "--second_classifier", tiny_models["audit_classifier"]])
    assert "which is the classifier that judges; expected another one" in capsys.readouterr().err


def test_all_problems_come_together(images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(
            ["audit", str(tmp_path / "none"), "--tolerance", "2", "--classifier", str(tmp_path), "--report_images", "0"]
        )
    assert caught.value.code == 2
    error = capsys.readouterr().err
    for words in ("out: got nothing", "tolerance: got 2", "report_images: got 0", "target: got nothing"):
        assert words in error
    assert "expected a folder with images" in error
    with pytest.raises(SystemExit):
        main(["audit", str(images), "--out", str(images / "audit")])
    assert "lies within the folder that is audited" in capsys.readouterr().err
    assert f"classifier: {tmp_path}" in error
    with pytest.raises(SystemExit):
        main(["audit", "--target", TARGET])
    assert "give either a folder of images, or --model" in capsys.readouterr().err
