from __future__ import annotations

import csv
import json
import shutil
import statistics
from pathlib import Path

import pytest
import yaml

from fairlit.cli import main
from fairlit.commands.compare import COMMAND
from fairlit.mitigation import Method
from fairlit.pictures.files import read_image

CONFIGS = Path(__file__).parents[2] / "configs" / "compare"


@pytest.fixture
def config(tiny_models: dict[str, str], tiny_prompts: Path, tmp_path: Path) -> Path:
    (tmp_path / "unrelated.txt").write_text("a <script>alert(1)</script> mountain\n")
    shutil.copytree(tiny_models["audit_classifier"], tmp_path / "judge")
    settings = json.loads((tmp_path / "judge" / "config.json").read_text())
    settings["validation"] = {"age": {"confusion": [[29, 0], [43, 0]], "ece_before": 0.1, "ece_after": 0.1}}
    (tmp_path / "judge" / "config.json").write_text(json.dumps(settings))
    path = tmp_path / "compare.yaml"
    content = {
        "model": tiny_models["backbone"],
        "prompts": str(tiny_prompts),
        "images": 6,
        "unrelated_prompts": str(tmp_path / "unrelated.txt"),
        "unrelated_images": 2,
        "steps": 2,
        "guidance_scale": 1.5,
        "batch_size": 4,
        "target": {"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.5, "old": 0.5}},
        "classifier": str(tmp_path / "judge"),
        "detector": {"class_path": "stand_ins.MiddleFaces"},
        "clip": tiny_models["clip"],
        "device": "cpu",
        "out": str(tmp_path / "out"),
        "title": "<b>tiny</b>",
        "methods": {
            "attribute words": {"class_path": "fairlit.mitigation.AttributeWords"},
            "far <away>": {
                "class_path": "fairlit.mitigation.EthicalIntervention",
                "init_args": {"sentence": ", a person"},
            },
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_methods_share_noise_and_end_in_one_report(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", "--config", str(config)])
    out = tmp_path / "out"
    printed = capsys.readouterr().out
    assert f"report   {out / 'report.html'}" in printed
    assert "made     42 images by 3 methods" in printed  # 3 methods x (2 prompts x 6 + 1 x 2)
    results = json.loads((out / "results.json").read_text())
    assert set(results["methods"]) == {"unchanged model", "attribute words", "far <away>"}
    assert results["reference"] == "unchanged model"
    assert results["judge"]["learnt_nothing"] == ["age"]
    alarm = "By its own validation, this classifier knows no more than chance about age (balanced accuracy 0.50)."
    assert alarm in " ".join(printed.replace("│", " ").split())  # in a box
    page = (out / "report.html").read_text()
    assert page.index(alarm) < page.index('<section class="verdict')
    assert results["methods"]["unchanged model"]["similarities"]["clip_i"] == pytest.approx(1.0, abs=1e-5)
    one, other = (
        [read_image(file).float() for file in sorted((out / "images" / "judged" / name).glob("000_*/*.png"))]
        for name in ("unchanged_model", "far_away")
    )
    for place, image in enumerate(one):  # the random model hardly reads texts: the same noise, nearly the same image
        distances = [float((image - found).abs().mean()) for found in other]
        assert distances.index(min(distances)) == place
    assert results["methods"]["attribute words"]["needs"] == ["words"]
    assert all(found["seconds_an_image"] > 0 for found in results["methods"].values())
    assert "dino" not in results["methods"]["unchanged model"]["similarities"]
    assert len(results["differences"]) == 3
    assert {"attributes", "joint_classes", "similarities", "unrelated"} <= results["differences"][0].keys()

    with (out / "per_image.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 36
    assert {row["folder"] for row in rows} == set(results["methods"])
    own = [float(row["clip_i"]) for row in rows if row["folder"] == "far <away>"]
    found = results["methods"]["far <away>"]["similarities"]["clip_i"]
    assert sum(own) / len(own) == pytest.approx(found, abs=1e-4)  # prompts of as many images: the mean of means

    page = (out / "report.html").read_text()
    assert page.index("<table") < page.index("<figure")
    for words in ("perceived", "classifiers err", "needs words for the classes", "needs nothing", "far &lt;away&gt;"):
        assert words in page
    assert "<script" not in page
    assert "<away>" not in page
    assert "http" not in page.split("</style>")[1]
    assert {"methods.png", "methods.svg", "prompts.png", "shares_gender.svg"} <= {
        file.name for file in (out / "figures").iterdir()
    }

    times = {file: file.stat().st_mtime_ns for file in out.glob("images/**/*.png")}
    features = {file: file.stat().st_mtime_ns for file in out.glob(".features*")}
    assert len(features) == 6
    gone = next(iter(times))
    gone.unlink()
    main(["compare", "--config", str(config)])  # goes on: makes the missing image, and nothing twice
    assert "made     1 image by 3 methods, 41 were there already" in capsys.readouterr().out
    assert all(file.stat().st_mtime_ns == time for file, time in times.items() if file != gone)
    assert sum(file.stat().st_mtime_ns != time for file, time in features.items()) == 1
    again = json.loads((out / "results.json").read_text())
    assert again["differences"] == results["differences"]


def test_images_made_otherwise_are_not_mixed(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--config", str(config), "--only", "[attribute words]", "--max_prompts", "1"])
    with pytest.raises(SystemExit):
        main(["compare", "--config", str(config), "--only", "[attribute words]", "--seed", "3"])
    assert "were made with max_prompts 1, not None" in capsys.readouterr().err
    main(["compare", "--config", str(config), "--only", "[attribute words]", "--seed", "3", "--overwrite"])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["prompts"] == 2
    log = tmp_path / "out" / ".seconds.jsonl"
    notes = [json.loads(line) for line in log.read_text().splitlines()]
    made_with = list(dict.fromkeys(note["made_with"] for note in notes if note["method"] == "attribute words"))
    assert len(made_with) == 2  # of both seeds; what the first took does not count any more
    rates = [note["seconds"] / note["images"] for note in notes if note["made_with"] == made_with[1] and note["images"]]
    assert results["methods"]["attribute words"]["seconds_an_image"] == pytest.approx(statistics.median(rates))
    with pytest.raises(SystemExit):
        main(["compare", "--config", str(config), "--seed", "3"])
    assert "were made with methods" in capsys.readouterr().err


def test_all_problems_come_together(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "--config", str(config), "--adaptor", str(tmp_path / "nowhere"), "--clip", "no such clip"]
    with pytest.raises(SystemExit) as caught:
        main([*command, "--images", "0", "--tolerance", "2", "--unrelated_images", "0", "--only", "[adaptor, others]"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    for words in ("images: got 0", "tolerance: got 2", "unrelated_images: got 0", "clip: 'no such clip'"):
        assert words in error
    assert "only: got 'others'; expected names of methods" in error
    assert "methods.adaptor: path:" in error
    assert error.count("images: got 0") == 2  # once for all methods, and once for unrelated prompts
    with pytest.raises(SystemExit):
        main(["compare"])
    error = capsys.readouterr().err
    for words in ("out: got nothing", "target: got nothing", "model: got nothing", "classifier: got nothing"):
        assert words in error
    assert "none to compare with" in error


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_every_config_of_a_comparison_stands_alone_or_on_the_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parents[1])
    base = CONFIGS / "miniature_gender.yaml"
    given = COMMAND.parse(["--config", str(base), "--config", str(CONFIGS / name)])
    methods = given.methods
    assert all(isinstance(method, Method) for method in methods.values())
    assert {"unchanged model", "attribute words", "finetuned"} <= methods.keys()
    for path in (given.model, given.prompts, given.unrelated_prompts, given.classifier, given.clip, given.dino):
        assert Path(path).exists(), path
