"""``fairlit edit`` on drawn people with the embedded models, and output editing in ``fairlit compare``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image, ImageCms

from fairlit.cli import main
from fairlit.pictures.files import read_image, read_parameters
from fairlit.pictures.manifest import read_manifest, write_manifest
from fairlit.results.edits import read_edits
from fairlit.results.manifest import ManifestEntry
from fairlit_miniature.drawing import LANDSCAPE, draw_scene
from fairlit_miniature.world import sample_scene

REPOSITORY = Path(__file__).parents[2]
MODELS = str(REPOSITORY / "checkpoints" / "miniature")
ALL_MALE = "{gender: {female: 0, male: 1}}"
EDITING = {
    "classifier": f"{MODELS}/classifier_train",
    "words": {"gender": {}, "skin_tone": {"light": "light-skinned", "tan": "tan-skinned"}},
    "template": "a photo of the face of a {words} person",
    "keep": ["skin_tone"],
    "detection": {"scale": 2.0, "min_score": 0.9},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two prompts: two PNGs of pairs, and two JPEGs beside a damaged file."""
    scenes = [scene for scene in (sample_scene(11, n, (0, 0, 0, 0, 1.0)) for n in range(12)) if len(scene.people) == 2]
    for number, scene in enumerate(scenes[:4]):
        prompt, kind = ("two people", "png") if number < 2 else ("a pair", "jpg")
        file = tmp_path / "images" / prompt / f"{number}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "prompt.txt").write_text(prompt)
        Image.fromarray(draw_scene(scene, LANDSCAPE).pixels).save(file, quality=95)
    (tmp_path / "images" / "a pair" / "9.png").write_bytes(b"no image")
    return tmp_path / "images"


@pytest.fixture
def command(folder: Path, tmp_path: Path) -> list[str]:
    config = tmp_path / "edit.yaml"
    config.write_text(yaml.safe_dump(EDITING))
    arguments = ["edit", str(folder), "--config", str(config), "--model", f"{MODELS}/pipeline", "--steps", "8"]
    arguments += ["--guidance_scale", "1.5", "--audit_classifier", f"{MODELS}/classifier_audit"]
    return [*arguments, "--device", "cpu", "--out", str(tmp_path / "out"), "--target", ALL_MALE]


def test_a_folder_is_edited_and_goes_on_where_it_was(
    command: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(command)
    told, out = capsys.readouterr().out, tmp_path / "out"
    results = json.loads((out / "results.json").read_text())
    summary = results["summary"]
    assert (summary["sets"], summary["images"], len(summary["damaged"])) == (2, 4, 1)
    assert summary["faces"] >= 6
    assert summary["fewest"] == summary["classes"]["female"]["before"] > 0
    assert 0 < summary["made"] <= summary["chosen"]
    assert summary["classes"]["male"]["after"] == summary["classes"]["male"]["before"] + summary["made"]
    assert summary["asked"] == summary["made"]
    assert 0 <= summary["confirmed_ci"][0] <= summary["confirmed_share"] <= summary["confirmed_ci"][1] <= 1
    assert summary["pixels_changed_outside"] == 0 < summary["pixels_outside"]
    assert summary["distance"]["after"] < summary["distance"]["before"]
    for words in (
        "changes  ",
        "fewest possible",
        "confirmed by the auditing classifier",
        "outside  0 of",
        "left out 1",
    ):
        assert words in told

    entries, _ = read_manifest(out / "images")
    assert len(entries) == 4
    edited = [entry for entry in entries if any(edit.made for edit in read_edits(entry.further))]
    assert edited
    for entry in entries:
        copy = out / "images" / entry.file
        assert entry.prompt == copy.parent.name
        if entry in edited:
            assert copy.suffix == ".png"
            assert (read_parameters(copy) or {})["edits"] == entry.further["edits"]
        else:
            assert copy.read_bytes() == (folder / entry.file).read_bytes()
    with Image.open(out / "before_after.png") as picture:
        assert picture.width > 200

    text = (out / "edits.jsonl").read_text()
    (out / "edits.jsonl").write_text(text[: len(text) - 40])  # as a process that was killed leaves it
    shutil.rmtree(out / "images" / "a pair")
    main(command)
    assert "of them before" not in capsys.readouterr().out
    assert json.loads((out / "results.json").read_text())["sets"] == results["sets"]
    assert (out / "edits.jsonl").read_text() == text
    main(command)
    assert "2 of them before" in capsys.readouterr().out

    for entry in (edited[0], next(entry for entry in entries if entry not in edited)):
        written = out / "images" / entry.file
        whole = written.read_bytes()
        written.write_bytes(whole[: len(whole) * 3 // 5])  # as a full disk or a broken copy leaves it
        main(command)
        assert "2 of them before" not in capsys.readouterr().out
        assert written.read_bytes() == whole

    first = next((folder / "two people").glob("0*"))
    shutil.copy(first, first.with_name("7.png"))  # one more image: its set is not finished any more
    main(command)
    assert "edited   2 sets of images, 1 of them before" in capsys.readouterr().out
    assert len(read_manifest(out / "images")[0]) == 5
    text = (out / "edits.jsonl").read_text()

    with pytest.raises(SystemExit) as caught:
        main([*command, "--guidance_scale", "2"])
    assert caught.value.code == 2
    assert "holds edits that were made with guidance_scale 1.5, not 2.0" in capsys.readouterr().err
    assert (out / "edits.jsonl").read_text() == text
    main([*command, "--guidance_scale", "2", "--overwrite"])
    assert "of them before" not in capsys.readouterr().out
    assert json.loads((out / "results.json").read_text())["settings"]["guidance_scale"] == 2


def test_classifiers_that_were_trained_anew_at_their_paths_are_noticed(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lead, auditor = (shutil.copytree(f"{MODELS}/classifier_{kind}", tmp_path / kind) for kind in ("train", "audit"))
    command = [*command, "--classifier", str(lead), "--audit_classifier", str(auditor), "--editing.tries", "1"]
    main(command)
    main(command)
    assert "2 of them before" in capsys.readouterr().out
    for folder, name in ((lead, "classifier"), (auditor, "audit_classifier")):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"temperature": {"gender": 9.0}}))
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert caught.value.code == 2
        assert f"edits that were made with another {name} than is there now; give" in capsys.readouterr().err
        main([*command, "--overwrite"])
        assert "of them before" not in capsys.readouterr().out


def test_colours_and_orientation_of_a_photograph(command: list[str], folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "two people")
    sources = sorted((folder / "a pair").glob("*.jpg"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for source in sources:
        with Image.open(source) as image:
            turned = image.rotate(90, expand=True)
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        turned.save(source, quality=95, exif=exif, icc_profile=profile)
        assert read_image(source).shape == (3, 64, LANDSCAPE)
    main([*command, "--target", "{gender: {female: 1, male: 0}}"])
    entries, _ = read_manifest(tmp_path / "out" / "images")
    edited = [entry.file for entry in entries if any(edit.made for edit in read_edits(entry.further))]
    assert edited
    for file in edited:
        with Image.open(tmp_path / "out" / "images" / file) as image:
            assert image.size == (LANDSCAPE, 64)
            assert image.info["icc_profile"] == profile


def test_every_pair_mixed(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = "{gender: {2: {'1 female, 1 male': 1.0}}}"
    main([*command, "--scope", "folder", "--compositions", mixed, "--target", "{gender: {male: 0.5, female: 0.5}}"])
    summary = json.loads((tmp_path / "out" / "results.json").read_text())["summary"]
    rows = summary["compositions"]["2"]
    assert set(rows) == {"2 female", "1 female, 1 male", "2 male"}
    before, after = rows["1 female, 1 male"]
    assert sum(counts[0] for counts in rows.values()) == sum(counts[1] for counts in rows.values())
    assert after >= before
    if summary["made"] == summary["fewest"]:
        assert after == sum(counts[1] for counts in rows.values())
    assert f"2 people, 1 female, 1 male: {before} images before, {after} after" in capsys.readouterr().out


def test_all_images_of_a_folder_as_one_set(command: list[str], folder: Path, tmp_path: Path) -> None:
    """What the manifest says of the source stays, but for classes that were dealt out: edits make others."""
    sources = list(folder.rglob("[0-8].*"))
    said: dict[str, Any] = {"dealt_classes": {"gender": "female"}, "further": {"steps": 3}}
    write_manifest(
        folder, [ManifestEntry(file=f"{path.parent.name}/{path.name}", prompt="two people", **said) for path in sources]
    )
    main([*command, "--scope", "folder", "--target", "{gender: {female: 0.5, male: 0.5}}"])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [record["set"] for record in results["sets"]] == ["all images"]
    entries, _ = read_manifest(tmp_path / "out" / "images")
    assert [(entry.further["steps"], entry.dealt_classes) for entry in entries] == [(3, None)] * len(sources)
    counts = results["summary"]["classes"]
    if results["summary"]["made"] == results["summary"]["fewest"]:
        assert abs(counts["female"]["after"] - counts["male"]["after"]) <= 1


def test_all_problems_come_together(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    train = f"{MODELS}/classifier_train"
    command = ["edit", str(folder), "--classifier", train, "--target", "{shoes: {red: 0.5, blue: 0.5}}"]
    command += ["--out", str(folder / "out")]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--audit_classifier", train, "--steps", "0", "--device", "no", "--model", "no/model/here"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    for words in ("device: got 'no'", "steps: got 0", "model: 'no/model/here'", "lie one within the other", "'shoes'"):
        assert words in error
    assert "audit_classifier: is the one that leads the edits" in error
    with pytest.raises(SystemExit):
        main(["edit", "--editing.tries", "0", "--classifier", train])
    error = capsys.readouterr().err
    for words in (*(f"{name}: got nothing" for name in ("folder", "target", "model", "out")), "tries: got 0"):
        assert words in error
    with pytest.raises(SystemExit):
        main(["edit", str(folder / "a pair"), "--out", str(tmp_path), "--classifier", train])
    error = capsys.readouterr().err
    assert f"out: {tmp_path} holds something other than edits" in error
    assert "lie one within the other" in error
    with pytest.raises(SystemExit):
        main(["edit", str(tmp_path / "nowhere"), "--out", str(tmp_path / "file")])
    error = capsys.readouterr().err
    for words in ("expected a folder with images", "file is a file", "classifier: got nothing; give --classifier"):
        assert words in error


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "configs" / "edit").glob("*.yaml")))
def test_every_config_of_edits_lacks_nothing_but_a_folder(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(SystemExit):
        main(["edit", "--config", f"configs/edit/{name}", "--out", "runs/of_a_test"])
    assert capsys.readouterr().err.startswith("fairlit: edit: folder: got nothing; give the folder of the images first")


def test_output_editing_beside_the_plain_model(tmp_path: Path) -> None:
    methods = {
        "none": {"class_path": "fairlit.mitigation.NoMitigation"},
        "edited": {"class_path": "fairlit.mitigation.OutputEditing", "init_args": EDITING},
    }
    config = {
        "model": f"{MODELS}/pipeline",
        "methods": methods,
        "prompts": str(tmp_path / "prompts.txt"),
        "images": 4,
        "steps": 6,
        "guidance_scale": 1.5,
        "faces": "all",
        "target": {"gender": {"female": 0.0, "male": 1.0}},
        "classifier": f"{MODELS}/classifier_audit",
        "detection": {"scale": 2.0, "min_score": 0.9},
        "device": "cpu",
        "out": str(tmp_path / "out"),
    }
    (tmp_path / "prompts.txt").write_text("a photo of the face of a nurse, a person")
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(config))
    main(["compare", "--config", str(tmp_path / "compare.yaml")])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    found = results["methods"]
    edits = found["edited"]["edits"]
    assert edits["chosen"] >= edits["made"] >= edits["confirmed"] > 0
    assert found["none"]["edits"] is None
    assert found["edited"]["needs"] == ["words", "classifier"]
    shares = [found[name]["figures"]["attributes"]["gender"]["frequencies"]["male"] for name in ("none", "edited")]
    assert shares[0] < shares[1]
    assert found["none"]["groups"]["found"]["1"]["1"] >= 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"chose {edits['chosen']} faces to regenerate, of which {edits['made']} were" in page
    assert "Several people in one picture" in page
    judged = tmp_path / "out" / "images" / "judged"
    plain, edited = (sorted((judged / name).glob("*/*.png")) for name in ("none", "edited"))
    changed = [bool((read_image(one) != read_image(other)).any()) for one, other in zip(plain, edited, strict=True)]
    assert sum(changed) == edits["made"]
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "images").rglob("*.png")}
    main(["compare", "--config", str(tmp_path / "compare.yaml")])  # goes on, and takes images with edits for finished
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())


def test_classifiers_that_have_learnt_nothing_are_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = []
    for name in ("classifier_train", "classifier_audit"):
        shutil.copytree(f"{MODELS}/{name}", tmp_path / name)
        copies.append(tmp_path / name)
        file = tmp_path / name / "config.json"
        one, four = [[29, 0], [43, 0]], [[9, 0, 0, 0]] * 4
        tables = {"gender": one, "skin_tone": four, "age": one}
        found = {key: {"confusion": table, "ece_before": 0.1, "ece_after": 0.1} for key, table in tables.items()}
        file.write_text(json.dumps(json.loads(file.read_text()) | {"validation": found}))
    with pytest.raises(SystemExit) as caught:
        main([*command, "--classifier", str(copies[0]), "--audit_classifier", str(copies[1])])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    for words in (
        "classifier: got a classifier that has learnt nothing about 'gender': balanced accuracy 0.50 on its 72",
        "classifier: got a classifier that has learnt nothing about 'skin_tone': balanced accuracy 0.25 on its 36",
        "audit_classifier: got a classifier that has learnt nothing about 'gender'",
    ):
        assert words in error
    assert "about 'age'" not in error  # nobody asks about it
