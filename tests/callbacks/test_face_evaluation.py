from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from fairlit.adaptors import Lora
from fairlit.callbacks import FaceEvaluation
from fairlit.data import PromptBatch
from fairlit.errors import ConfigurationError
from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.functional import TargetDistribution, noise_floor
from fairlit.io.digests import tensor_digest
from fairlit.results import RunSummary
from fairlit.results.run_table import TableConfig, run_table
from fairlit.training import FairFinetuner, Generated, Models, Sampling
from fairlit.training.finetuning.operating_points import OperatingPoint, operating_points

BALANCED = TargetDistribution({"gender": {"male": 0.5, "female": 0.5}})  # not in the classifier's order
MOSTLY_FEMALE = TargetDistribution({"gender": {"female": 0.75, "male": 0.25}})
IMAGES = 4
USUAL, STRONG, WEAK = OperatingPoint(7.5), OperatingPoint(12.0), OperatingPoint(7.5, 0.5)
NAMED = {"named_gender_male": ("gender", "male")}
WEIGHTS = {"layer": torch.ones(2)}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> FairFinetuner:
    """A finetuner whose models were never loaded; what it logs is kept in `module.logged`."""
    made: Any = FairFinetuner(Models("base", "trained against", "auditor"), Lora(rank=2))
    judge = SimpleNamespace(classes={"gender": ("female", "male"), "age": ("young", "old")})
    made.frozen_models = SimpleNamespace(audit_classifier=judge)
    made.ema = SimpleNamespace(applied=nullcontext)  # validation and test then have a third variant
    monkeypatch.setattr(made.adaptor, "parameters", lambda: WEIGHTS)
    made.logged = {}
    monkeypatch.setattr(made, "log", lambda name, value, **_: made.logged.update({name: value}))
    monkeypatch.setattr(made, "describe", lambda: {"seed": 0})
    return made


def trainer(folder: Path, stage: TrainerFn) -> Any:
    return SimpleNamespace(
        default_root_dir=str(folder),
        datamodule=SimpleNamespace(target=BALANCED, trained_families={"occupations", "sports"}, named_families=NAMED),
        is_global_zero=True,
        sanity_checking=False,
        fast_dev_run=False,
        loggers=[],
        global_step=20,
        state=SimpleNamespace(fn=stage),
    )


def generated(females: int, males: int, direction: list[float]) -> Generated:
    """The first images show women, then come men, the rest has no face; all have the same CLIP features."""
    count = females + males
    rows = torch.tensor([[0.9, 0.1]] * females + [[0.3, 0.7]] * males).reshape(count, 2)
    faces = Faces(
        torch.arange(count), torch.tensor([[8.0, 8.0, 24.0, 24.0]] * count).reshape(count, 4), torch.ones(count),
        torch.zeros(count, 5, 2), IMAGES,
    )  # fmt: skip
    features = torch.tensor([direction]).repeat(IMAGES, 1)
    observation = Observation(faces, {"gender": rows, "age": rows})
    return Generated(torch.full((IMAGES, 3, 32, 32), 0.5), observation, {"clip": features}, torch.tensor([[1.0, 0.0]]))


def batch(index: int, prompt: str, family: str, target: TargetDistribution) -> PromptBatch:
    return PromptBatch(index, prompt, family, target, [(0, 2, index, image) for image in range(IMAGES)])


BATCHES = (
    batch(0, "a chef", "occupations", BALANCED),
    batch(1, "a judge", "occupations", BALANCED),
    batch(2, "a skier", "sports", MOSTLY_FEMALE),
)
BEFORE = (generated(0, 4, [1.0, 0.0]), generated(3, 1, [0.0, 1.0]), generated(2, 2, [1.0, 0.0]))
AFTER = (generated(2, 2, [0.6, 0.8]), generated(1, 2, [0.0, 1.0]), generated(3, 1, [1.0, 0.0]))


def test_a_test_writes_what_was_measured(module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback, run = FaceEvaluation(picture_prompts=2), trainer(tmp_path, TrainerFn.TESTING)
    callback.load_state_dict({"fit_seconds": 100.0})
    callback.on_test_epoch_start(run, module)
    for some, before, after in zip(BATCHES, BEFORE, AFTER, strict=True):
        callback.on_test_batch_end(run, module, {USUAL.name: {"original": before, "ema": after}}, some)
    callback.on_test_epoch_end(run, module)
    callback.on_test_end(run, module)
    summary = json.loads((tmp_path / "summary.json").read_text())
    before, after = summary["before"], summary["after"]
    assert before["attributes"]["gender"]["bias"] == pytest.approx((1.0 + 0.5) / 2)
    assert after["attributes"]["gender"]["bias"] == pytest.approx((0.0 + 1 / 3) / 2)
    assert after["attributes"]["gender"]["frequencies"]["male"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    floors = (noise_floor([0.5, 0.5], 4) + noise_floor([0.5, 0.5], 3)) / 2
    assert after["attributes"]["gender"]["noise_floor"] == pytest.approx(floors)
    assert after["attributes"]["gender"]["target"] == {"female": 0.5, "male": 0.5}
    assert (after["face_rate"], after["images"], after["prompts"]) == (7 / 8, 8, 2)
    assert before["clip_i"] == pytest.approx(1.0)
    assert after["clip_i"] == pytest.approx((0.6 + 1.0) / 2)
    assert before["clip_i_swapped"] == pytest.approx(0.0)
    assert after["clip_t"] == pytest.approx(0.6 / 2)
    assert [entry["prompt"] for entry in after["per_prompt"]] == ["a chef", "a judge"]
    sports = summary["families"]["sports"]
    assert sports["original"]["attributes"]["gender"]["tv"] == pytest.approx(0.25)
    assert sports["ema"]["attributes"]["gender"]["tv"] == pytest.approx(0.0)
    assert (summary["judge"], summary["judge_is_trainer"], summary["after_is"]) == ("auditor", False, "ema")
    assert summary["wall_seconds"] == pytest.approx(100 + summary["test_seconds"])
    assert summary["config"] == {"seed": 0}
    assert summary["adaptor"] == tensor_digest(WEIGHTS)
    assert summary["sampling"]["evaluation_steps"] == 25
    assert (tmp_path / "before_after.png").is_file()
    of_prompts = sorted(path.name for path in (tmp_path / "before_after").iterdir())
    assert [name[:9] for name in of_prompts] == ["000_a_che", "001_a_jud", "002_a_ski"]  # more than `picture_prompts`
    printed = capsys.readouterr().out
    assert "2 prompts, 8 images each way, judged by auditor" in printed
    assert "sports: 1 prompt, 4 images each way, judged by auditor" in printed


def test_further_guidance_scales_and_strengths_are_measured_apart(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Similarities are to the unchanged model's images of the same point."""
    callback, run = FaceEvaluation(), trainer(tmp_path, TrainerFn.TESTING)
    taken: list[str] = []
    run.loggers = [SimpleNamespace(log_image=lambda key, images, step: taken.append(key))]
    module.sampling = Sampling(evaluation_guidance_scales=(12.0,), evaluation_strengths=(0.5,))
    callback.on_test_epoch_start(run, module)
    outputs = {
        USUAL.name: {"original": BEFORE[0], "ema": AFTER[0]},
        STRONG.name: {"original": BEFORE[1], "ema": generated(1, 3, [0.6, 0.8])},
        WEAK.name: {"original": BEFORE[0], "ema": BEFORE[0]},
    }
    for some in (BATCHES[0], BATCHES[2]):  # the second is of a family with a target of its own
        callback.on_test_batch_end(run, module, outputs, some)
    callback.on_test_epoch_end(run, module)
    callback.on_test_end(run, module)
    strong, weak = RunSummary.read(tmp_path).operating_points
    assert (strong.guidance_scale, strong.strength, weak.guidance_scale, weak.strength) == (12.0, 1.0, 7.5, 0.5)
    biases = [figures.distribution.attributes["gender"].bias.value for figures in (strong.before, strong.after)]
    assert biases == pytest.approx([0.5, 0.5])
    assert strong.after.similarities.measured["clip_i"].value == pytest.approx(0.8)
    assert weak.before.distribution.attributes["gender"].bias.value == pytest.approx(1.0)
    assert strong.after.distribution.prompts == 1
    assert module.logged["operating_points/guidance_12/ema/bias/gender"] == pytest.approx(0.5)
    assert module.logged["operating_points/guidance_7.5_strength_0.5/ema/bias/gender"] == pytest.approx(1.0)
    assert taken == ["test/before_after", "test/operating_points"]
    printed = capsys.readouterr().out
    assert f"picture  {tmp_path / 'operating_points.png'}" in printed
    lines = [line.split() for line in printed.splitlines()]
    points = [line for line in lines if "bias," in line and ("7.5" in line or "12" in line)]
    assert [line[line.index("gender") + 2 :][:3:2] for line in points] == [["7.5", "0.5"], ["7.5", "1"], ["12", "1"]]


def test_curves_of_an_earlier_test_do_not_stay(module: Any, tmp_path: Path) -> None:
    callback, run = FaceEvaluation(), trainer(tmp_path, TrainerFn.TESTING)
    for scales in ((12.0,), ()):
        module.sampling = Sampling(evaluation_guidance_scales=scales)
        callback.on_test_epoch_start(run, module)
        outputs = {point.name: {"original": BEFORE[0], "ema": AFTER[0]} for point in operating_points(module.sampling)}
        callback.on_test_batch_end(run, module, outputs, BATCHES[0])
        callback.on_test_epoch_end(run, module)
        assert (tmp_path / "operating_points.png").exists() == bool(scales)


def test_pictures_of_prompts_of_an_earlier_test_do_not_stay(module: Any, tmp_path: Path) -> None:
    callback, run = FaceEvaluation(picture_prompts=1), trainer(tmp_path, TrainerFn.TESTING)
    (tmp_path / "before_after").mkdir()
    (tmp_path / "before_after" / "of mine.png").write_bytes(b"")
    for prompts in (BATCHES[:2], BATCHES[1:2]):
        callback.on_test_epoch_start(run, module)
        for some in prompts:
            callback.on_test_batch_end(run, module, {USUAL.name: {"original": BEFORE[0], "ema": AFTER[0]}}, some)
        callback.on_test_epoch_end(run, module)
        names = {path.name[:3] for path in (tmp_path / "before_after").iterdir()}
        assert names == {"of ", *(f"{some.index:03d}" for some in prompts)}


def test_what_remains_is_taken_apart(module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the chefs the judge takes 3 of 4 for women, the other classifier all of 4, at training's steps 2 of 4."""
    callback, run = FaceEvaluation(), trainer(tmp_path, TrainerFn.TESTING)
    module.sampling = Sampling(evaluation_step_counts=(21, 25))  # training takes 19 to 23, evaluation 25
    module.frozen_models.classifier = SimpleNamespace(classes={"gender": ("male", "female"), "age": ("young", "old")})

    def seen(females: int, by_other: int) -> Generated:
        made = generated(females, 4 - females, [1.0, 0.0])
        rows = torch.tensor([[0.2, 0.8]] * by_other + [[0.9, 0.1]] * (4 - by_other))  # male, female
        return made._replace(trained_against={"gender": rows, "age": rows})

    callback.on_test_epoch_start(run, module)
    names = [point.name for point in operating_points(module.sampling)]
    assert names == ["guidance_7.5", "guidance_7.5_steps_21"]
    for some in (BATCHES[0], BATCHES[2]):
        usual, fewer = ({"original": seen(4, 4), "ema": seen(*counts)} for counts in ((3, 4), (4, 2)))
        callback.on_test_batch_end(run, module, dict(zip(names, (usual, fewer), strict=True)), some)
    callback.on_test_epoch_end(run, module)
    callback.on_test_end(run, module)
    summary = RunSummary.read(tmp_path)
    [parts] = summary.distances  # the other prompt is of a family with a target of its own
    chance = noise_floor([0.5, 0.5], 4) / 2  # of two classes, the distance is half of the bias
    assert (parts.prompt, parts.attribute, parts.faces) == ("a chef", "gender", 4)
    assert [parts.distance, parts.chance, parts.classifiers] == pytest.approx([0.25, chance, -0.25])
    assert [parts.solver_steps, parts.model] == pytest.approx([0.5, -chance])
    assert summary.operating_points[0].steps == 21
    printed = capsys.readouterr().out
    assert "what the distance that remains is made of" in printed
    assert "mean of 1 prompt " in printed
    assert "add up to the distance" in " ".join(printed.split())


def test_prompts_that_name_a_class_are_told_by_how_often_they_get_it(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback, run = FaceEvaluation(), trainer(tmp_path, TrainerFn.TESTING)
    callback.on_test_epoch_start(run, module)
    male = BALANCED.given("gender", "male")
    batches = (
        BATCHES[0],
        batch(1, "a male chef", "named_gender_male", male),
        batch(2, "a male judge", "named_gender_male", male),
    )
    before, after = ((0, 4), (1, 3)), ((2, 2), (1, 2))
    for some, *counts in zip(batches, ((4, 0), *before), ((2, 2), *after), strict=True):
        old, new = (generated(*women_and_men, [1.0, 0.0]) for women_and_men in counts)
        callback.on_test_batch_end(run, module, {USUAL.name: {"original": old, "ema": new}}, some)
    callback.on_test_epoch_end(run, module)
    callback.on_test_end(run, module)
    summary = RunSummary.read(tmp_path)
    [named] = summary.named_classes
    assert (named.attribute, named.label) == ("gender", "male")
    assert named.before.value == pytest.approx((1 + 3 / 4) / 2)
    assert named.after.value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (summary.after.distribution.prompts, dict(summary.families)) == (1, {})
    [line] = [line for line in capsys.readouterr().out.splitlines() if " male " in line and "0.875" in line]
    assert "0.583" in line
    assert "| gender | male | 0.875" in run_table(TableConfig(summaries=[str(tmp_path)]))


def test_validation_logs_means_and_writes_every_prompt(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fairlit")
    callback = FaceEvaluation()

    def validate(stage: TrainerFn) -> None:
        run = trainer(tmp_path, stage)
        callback.on_validation_epoch_start(run, module)
        for some, before, after in zip(BATCHES[:2], BEFORE, AFTER, strict=False):
            outputs = {"original": before, "finetuned": before, "ema": after}
            callback.on_validation_batch_end(run, module, outputs, some)
        callback.on_validation_epoch_end(run, module)
        callback.on_validation_end(run, module)

    validate(TrainerFn.FITTING)
    validate(TrainerFn.FITTING)  # begins anew, as a run that is resumed does
    assert module.logged["val/finetuned/bias/gender"] == pytest.approx((1.0 + 0.5) / 2)
    assert module.logged["val/ema/bias/gender"] == pytest.approx((0.0 + 1 / 3) / 2)
    assert module.logged["val/ema/face_rate"] == pytest.approx(7 / 8)
    written = json.loads((tmp_path / "validation" / "step_000020.json").read_text())["groups"]["all"]
    found = {entry["prompt"]: entry["attributes"]["gender"] for entry in written["ema"]["per_prompt"]}
    assert found["a chef"]["bias"] == pytest.approx(0.0)
    assert found["a judge"]["bias"] == pytest.approx(1 / 3)
    assert found["a judge"]["noise_floor"] == pytest.approx(noise_floor([0.5, 0.5], 3))
    picture = tmp_path / "validation" / "step_000020.png"
    assert picture.is_file()
    assert capsys.readouterr().out == ""  # within training there is a progress bar to be left alone
    validate(TrainerFn.VALIDATING)
    assert caplog.messages == [f"replaced {picture} and step_000020.json, of an earlier validation"]


def test_prompts_with_targets_of_their_own_and_untrained_families_are_reported_apart(
    module: Any, tmp_path: Path
) -> None:
    callback, run = FaceEvaluation(), trainer(tmp_path, TrainerFn.TESTING)
    callback.on_test_epoch_start(run, module)
    mostly_male = TargetDistribution({"gender": {"female": 0.25, "male": 0.75}})
    batches = (
        BATCHES[2],
        batch(3, "a boxer", "sports", mostly_male),
        batch(4, "a golfer", "sports", MOSTLY_FEMALE),
        batch(5, "a diver", "sports", BALANCED),
        batch(6, "a cat", "unrelated", BALANCED),
    )
    for some in batches:
        callback.on_test_batch_end(run, module, {USUAL.name: {"original": BEFORE[2], "ema": BEFORE[2]}}, some)
    callback.on_test_epoch_end(run, module)
    summary = json.loads((tmp_path / "summary.json").read_text())
    found = {"": summary["before"]} | {name: group["ema"] for name, group in summary["families"].items()}
    assert {name: [entry["prompt"] for entry in figures["per_prompt"]] for name, figures in found.items()} == {
        "": ["a diver"],
        "sports": ["a skier", "a golfer"],
        "sports_2": ["a boxer"],
        "unrelated": ["a cat"],  # no family that was trained on
    }
    assert found["sports_2"]["attributes"]["gender"]["target"] == {"female": 0.25, "male": 0.75}


def test_no_face_anywhere(module: Any, tmp_path: Path) -> None:
    callback, run = FaceEvaluation(), trainer(tmp_path, TrainerFn.TESTING)
    callback.on_test_epoch_start(run, module)
    nobody = generated(0, 0, [1.0, 0.0])
    callback.on_test_batch_end(run, module, {USUAL.name: {"original": nobody, "ema": nobody}}, BATCHES[0])
    callback.on_test_epoch_end(run, module)
    callback.on_test_end(run, module)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["after"]["attributes"]["gender"]["bias"] is None
    assert summary["after"]["face_rate"] == 0


def test_seconds_of_training_survive_a_checkpoint(module: Any, tmp_path: Path) -> None:
    callback = FaceEvaluation()
    callback.load_state_dict({"fit_seconds": 5.0})
    assert callback.state_dict() == {"fit_seconds": 5.0}
    callback.on_fit_start(trainer(tmp_path, TrainerFn.FITTING), module)
    assert 5.0 <= callback.state_dict()["fit_seconds"] < 6.0


def test_pictures_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="picture_prompts, picture_images: got 0, 8; give at least 1"):
        FaceEvaluation(picture_prompts=0)
