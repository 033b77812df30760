"""The search for what closes the rest of the distance, on the miniature and very short."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from script_runs import demo_of_few_images, load_script, run_script

from fairlit.adaptors import Lora
from fairlit.commands.training import build
from fairlit.data import PromptBatch
from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.functional import TargetDistribution
from fairlit.training import Generated

ROOT = Path(__file__).parents[2]
TARGET = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
OPTIONS = ["--steps", "1", "--images", "2", "--prompts", "1", "--named_images", "1", "--only", "margin of 3"]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_a_finished_variant_is_a_row_and_is_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*OPTIONS, *demo_of_few_images(tmp_path, 5), "--out", str(tmp_path)]
    run_script("search", *options)
    printed = capsys.readouterr().out
    assert "margin of 3, seed 0: distance" in printed
    row = json.loads((tmp_path / "margin_of_3_0.json").read_text())
    assert row["settings"]["overlay"]["model"]["init_args"]["alignment"] == {"margin": 3.0}
    assert row["before"]["clip_i"] == pytest.approx(1.0)
    assert row["after"]["obeyed"] in (0.0, 0.5, 1.0)  # of a face for each of two classes, where it was found
    assert row["seconds"] > 0
    run_script("search", *options)
    again = capsys.readouterr().out
    assert "seed 0: distance" not in again
    assert again.strip().splitlines()[-2:] == printed.strip().splitlines()[-2:]
    run_script("search", *options, "--images", "3", "--table")  # of other settings
    assert capsys.readouterr().out == "no variant is finished\n"
    with pytest.raises(SystemExit, match="--only: got margin; expected some of baseline"):
        run_script("search", "--only", "margin")


def test_every_variant_is_a_config(tmp_path: Path) -> None:
    """All keys at once; where two variants give one key, the later counts."""
    script = load_script("search")
    every = {key: value for settings in script.variants(8).values() for key, value in settings.items()}
    options = Namespace(steps=8, images=2, prompts=1)
    path = tmp_path / "every.yaml"
    path.write_text(yaml.safe_dump(script._overlay(every, 3, options)))
    cli = build(["--config=configs/demo.yaml", f"--config={path}"])
    assert (cli.model.alignment.margin, cli.model.seed, cli.datamodule.naming.share) == (
        3.0,
        3,
        every["data.naming.share"],
    )
    assert (cli.trainer.accumulate_grad_batches, cli.trainer.max_steps) == (2, 4)
    assert cli.model.adaptor.describe()["contrasts"] == [["female", "male"]]  # of the last variant
    demo = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())["model"]["init_args"]["adaptor"]["init_args"]
    adaptors = [settings["model.adaptor"] for settings in script.variants(8).values() if "model.adaptor" in settings]
    assert len(adaptors) > 5
    for adaptor in adaptors:
        assert Lora(**(demo | adaptor["init_args"])).rank in (1, 4, 8, 16)


def test_classifiers_that_order_classes_otherwise_are_compared_by_names() -> None:
    script = load_script("search")
    module = SimpleNamespace(
        audit_classifier=SimpleNamespace(classes={"gender": ("female", "male")}),
        frozen=SimpleNamespace(classifier=SimpleNamespace(classes={"gender": ("male", "female")})),
        device=torch.device("cpu"),
    )
    judge = script.Judgement(module, SimpleNamespace(target=TARGET))
    count = 4
    faces = Faces(
        torch.arange(count),
        torch.tensor([[1.0, 1.0, 9.0, 9.0]] * count),
        torch.ones(count),
        torch.zeros(count, 5, 2),
        count,
    )
    audited = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]])  # three women
    trained = torch.tensor([[0.3, 0.7], [0.3, 0.7], [0.6, 0.4], [0.9, 0.1]])  # two
    images, features = torch.zeros(count, 3, 8, 8), {"clip": torch.tensor([[1.0, 0.0]] * count)}
    seen = Generated(images, Observation(faces, {"gender": audited}), features, None, {"gender": trained})
    judge.add(PromptBatch(0, "a chef", "jobs", TARGET, []), seen, seen)
    judge.add_named(seen, "gender", "male")
    figures = judge.figures()
    assert (figures.distance, figures.distance_by_trainer) == pytest.approx((0.25, 0.0))
    assert (figures.disagreement, figures.obeyed, figures.clip_i) == pytest.approx((1 / 4, 1 / 4, 1.0))


def test_a_row_is_the_mean_over_seeds() -> None:
    script = load_script("search")
    before = script.Figures(0.4, 0.1, 0.3, None, 1.0, 0.9)
    after = [script.Figures(0.1, 0.1, 0.2, None, 0.9, 0.8), script.Figures(0.2, 0.1, 0.0, None, 0.8, 1.0)]
    rows = {"margin of 3": [script.Row({}, before, one, seconds) for one, seconds in zip(after, (10, 30), strict=True)]}
    *_, unchanged, mean = script.table(rows).splitlines()
    assert unchanged == "| unchanged model | 2 | 0.400 | 0.100 | 0.300 | - | 1.000 | 0.900 |  |"
    assert mean == "| margin of 3 | 2 | 0.150 | 0.100 | 0.100 | - | 0.850 | 0.900 | 20 |"
