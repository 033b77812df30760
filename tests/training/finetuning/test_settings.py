from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from fairlit.diffusion.acceleration import Acceleration
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces import AttributeClassifier, ClassifierConfig, FaceDetection
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.training.finetuning.settings import Gradient, Models, ReferenceImages, Replay, Sampling

TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
CLASSES = {"gender": ("female", "male"), "age": ("young", "old")}


@pytest.fixture
def models(tiny_pipeline_folder: Path, tmp_path: Path) -> Models:
    """Complete, on a copy that a test may damage."""
    shutil.copytree(tiny_pipeline_folder, tmp_path / "pipeline")
    classifier = AttributeClassifier(ClassifierConfig(CLASSES, "shufflenet_v2", TINY, 32))
    for name in ("train", "audit"):
        classifier.save(tmp_path / name)
    dino = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16)
    Dinov2Model(dino).save_pretrained(tmp_path / "dino")
    (tmp_path / "bank.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return Models(
        str(tmp_path / "pipeline"),
        str(tmp_path / "train"),
        str(tmp_path / "audit"),
        clip="openai/clip-vit-base-patch32",  # taken on trust
        dino=str(tmp_path / "dino"),
        face_embedder=str(tmp_path / "train"),
        face_bank=str(tmp_path / "bank.safetensors"),
    )


def complaints(models: Models, targets: list[TargetDistribution] | None = None) -> list[str]:
    problems = Problems("test")
    models.check(problems)
    models.check_targets(targets or [], problems)
    return problems.messages


def target(**marginals: dict[str, float]) -> TargetDistribution:
    return TargetDistribution(marginals)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_complete_models_pass_and_no_weights_are_loaded(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(torch.nn.Module, "load_state_dict", refuse)
    fine = [target(gender={"male": 0.5, "female": 0.5}), target(age={"young": 1.0, "old": 0.0})]
    assert complaints(models, fine) == []
    bare = Models(models.backbone, models.classifier)
    assert complaints(bare, fine) == []


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (lambda folder: shutil.rmtree(folder / "pipeline" / "unet"), "pipeline/unet is missing"),
        (lambda folder: shutil.rmtree(folder / "dino"), "models.dino: "),
        (lambda folder: (folder / "dino" / "config.json").unlink(), "dino/config.json is missing"),
        (lambda folder: cut(folder / "dino" / "model.safetensors"), "models.dino: "),
        (lambda folder: cut(folder / "train" / "model.safetensors"), "models.classifier: "),
        (lambda folder: (folder / "audit" / "model.safetensors").unlink(), "models.audit_classifier: "),
        (lambda folder: (folder / "audit" / "config.json").unlink(), "models.audit_classifier: "),
        (lambda folder: shutil.rmtree(folder / "audit"), "models.audit_classifier: "),
        (lambda folder: (folder / "bank.safetensors").unlink(), "bank.safetensors, which does not exist"),
        (lambda folder: cut(folder / "bank.safetensors"), "models.face_bank: "),
    ],
)
def test_missing_and_damaged_files(models: Models, tmp_path: Path, harm: Callable[[Path], None], part: str) -> None:
    harm(tmp_path)
    messages = complaints(models)
    assert any(part in message for message in messages), messages
    assert all(str(tmp_path) in message and (";" in message or ":" in message) for message in messages)


def test_all_problems_at_once(models: Models, tmp_path: Path) -> None:
    broken = replace(models, backbone=str(tmp_path / "nothing"), clip=str(tmp_path / "no clip"), face_bank=None)
    first, second, third = complaints(broken)
    assert "nothing" in first
    assert "models.clip" in second
    assert third == "models: face_embedder and face_bank go together; give both or neither"


def test_several_classifiers_are_checked_one_by_one(models: Models, tmp_path: Path) -> None:
    several = replace(models, classifier=[str(tmp_path / "train"), str(tmp_path / "audit")])
    assert complaints(several, [target(gender={"female": 0.5, "male": 0.5})]) == []
    assert (several.judge, replace(several, audit_classifier=None).judge) == (
        str(tmp_path / "audit"),
        f"{tmp_path / 'train'}, {tmp_path / 'audit'}",
    )
    (tmp_path / "audit" / "model.safetensors").unlink()
    assert [message.split(":")[0] for message in complaints(several)] == [
        "models.classifier[1]",
        "models.audit_classifier",
    ]
    config = json.loads((tmp_path / "audit" / "config.json").read_text())
    config["classes"] = dict(reversed(config["classes"].items()))
    (tmp_path / "audit" / "config.json").write_text(json.dumps(config))
    assert any(message.startswith("models.classifier[1]: got classes {'age'") for message in complaints(several))
    assert complaints(replace(models, classifier=[]))[0].startswith("models.classifier: got an empty list")


def test_targets_that_a_classifier_does_not_know(models: Models, tmp_path: Path) -> None:
    strange = [target(gender={"female": 0.5, "man": 0.5}), target(hat={"none": 0.5, "cap": 0.5})]
    messages = complaints(models, strange)
    assert len(messages) == 4  # two classifiers, two targets
    assert messages[0].startswith(f"models.classifier ({models.classifier}) does not fit the target")
    assert "'man' of 'gender' is unknown, use 'female', 'male'" in messages[0]
    assert "'male' of 'gender' has no share" in messages[0]
    assert "attribute 'hat' is unknown, use one of 'gender', 'age'" in messages[1]
    assert messages[2].startswith("models.audit_classifier (")
    config = tmp_path / "audit" / "config.json"
    content = json.loads(config.read_text())
    content["classes"]["gender"] = ["women", "men"]
    config.write_text(json.dumps(content))
    [message] = complaints(models, [target(gender={"female": 0.5, "male": 0.5})])
    assert message.startswith("models.audit_classifier (")
    assert "'women' of 'gender' has no share" in message


@pytest.mark.parametrize(
    ("build", "count", "parts"),
    [
        (lambda: Sampling(min_steps=5, max_steps=4), 1, ["min_steps, max_steps: got 5, 4"]),
        (lambda: Sampling(min_steps=0), 1, ["got 0, 23"]),
        (
            lambda: Sampling(evaluation_steps=0, guidance_scale=-0.5, batch_size=0, image_size=12),
            4,
            ["evaluation_steps: got 0", "guidance_scale: got -0.5", "batch_size: got 0", "image_size: got 12"],
        ),
        (
            lambda: Sampling(
                min_guidance_scale=-0.5,
                max_guidance_scale=-0.6,
                evaluation_guidance_scales=(3.0, -1.0),
                evaluation_strengths=(-1.0,),
                evaluation_step_counts=(0,),
            ),
            5,
            [
                "min_guidance_scale: got -0.5",
                "min_guidance_scale, max_guidance_scale: got -0.5, -0.6",
                "evaluation_guidance_scales: got -1.0",
                "evaluation_strengths: got -1.0",
                "evaluation_step_counts: got 0",
            ],
        ),
        (lambda: Sampling(max_guidance_scale=3.0), 1, ["got 7.5, 3.0; expected min <= max"]),
        (lambda: Sampling(image_size=0), 1, ["image_size: got 0"]),
        (lambda: Sampling(image_size=(64, 30)), 1, ["image_size: got (64, 30)"]),
        (lambda: Sampling(solver="heun"), 1, ["solver: got 'heun'; choose one of pipeline, dpm-solver++, ddim, euler"]),
        (lambda: Sampling(prompt_padding="short"), 1, ["prompt_padding: got 'short'; choose one of longest"]),
        (
            lambda: FaceDetection(min_size=3, scale=0, min_score=2, batch_size=0),
            4,
            ["min_size: got 3", "scale: got 0", "min_score: got 2", "batch_size: got 0"],
        ),
        (lambda: Gradient(mode="half"), 1, ["mode: got 'half'; choose one of replay, detached, published, full"]),
        (
            lambda: Gradient(weights="flat", loss_batch=-1),
            2,
            ["weights: got 'flat'", "loss_batch: got -1"],
        ),
        (lambda: Gradient(last_evaluations=2), 1, ["last_evaluations: got 2 with mode replay"]),
        (
            lambda: Replay(micro_batch=0, memory_budget=-1.0, keep=-1.0, step_fraction=1.5),
            5,
            [
                "micro_batch: got 0",
                "memory_budget: got -1.0 GiB",
                "with micro_batch 0; give one",
                "keep: got -1.0 GiB",
                "step_fraction: got 1.5",
            ],
        ),
        (lambda: Replay(memory_budget=float("nan")), 1, ["memory_budget: got nan GiB"]),
        (lambda: ReferenceImages(noise_pool=0), 1, ["noise_pool: got 0"]),
        (lambda: ReferenceImages(noise_pool=1, cache=__file__), 1, [f"cache: got {__file__}, which is a file"]),
        (lambda: Acceleration(attention="fast"), 1, ["attention: got 'fast'"]),
        (lambda: Gradient(mode="full", weights="natural"), 1, ["weights: got natural with mode full"]),
        (lambda: Gradient(mode="full", last_evaluations=0), 1, ["last_evaluations: got 0 with mode full"]),
    ],
)
def test_numbers_out_of_range(build: Callable[[], object], count: int, parts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build()
    assert count == 1 or f"{count} problems" in str(caught.value)
    assert all(part in str(caught.value) for part in parts)


def test_numbers_in_range() -> None:
    Sampling(min_steps=1, max_steps=1, evaluation_steps=1, guidance_scale=1.0, image_size=8, batch_size=1)
    Sampling(image_size=(512, 768))
    assert Sampling(guidance_scale=3.0, max_guidance_scale=7.5).guidance_range == (3.0, 7.5)
    Gradient(mode="full", last_evaluations=1)
    Gradient(mode="detached", weights="natural")


def test_the_cache_of_the_first_version_is_read_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ReferenceImages().cache_folder() is None  # new noise in each step: nothing comes again
    assert ReferenceImages(noise_pool=1, cache=None).cache_folder() is None
    pooled = ReferenceImages(noise_pool=1)
    assert pooled.cache_folder() == Path("runs/reference_images")
    (tmp_path / "runs" / "originals").mkdir(parents=True)
    assert pooled.cache_folder() == Path("runs/originals")
    assert ReferenceImages(noise_pool=1, cache="mine").cache_folder() == Path("mine")
    (tmp_path / "runs" / "reference_images").mkdir()
    assert pooled.cache_folder() == Path("runs/reference_images")


def test_results_name_the_judge() -> None:
    assert Models("base", "trained").judge == "trained"
    assert Models("base", "trained", "auditor").judge == "auditor"
    own = {"class_path": "mine.Judge", "init_args": {"size": 8}}
    assert Models("base", "trained", own).judge == "mine.Judge"


def test_classifiers_that_have_learnt_nothing_are_refused(models: Models, tmp_path: Path) -> None:
    for name, confusion in (("train", [[29, 0], [43, 0]]), ("audit", [[14, 6], [6, 14]])):
        config = tmp_path / name / "config.json"
        entry = {"confusion": confusion, "ece_before": 0.1, "ece_after": 0.1}
        config.write_text(json.dumps(json.loads(config.read_text()) | {"validation": {"gender": entry}}))
    [message] = complaints(models, [target(gender={"female": 0.5, "male": 0.5})])
    assert message.startswith(
        "models.classifier: got a classifier that has learnt nothing about 'gender': balanced accuracy 0.50"
    )
    assert complaints(models, [target(age={"young": 0.5, "old": 0.5})]) == []  # of which nothing is known


def test_classifiers_that_are_often_wrong_are_warned_of(
    models: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "audit" / "config.json"
    entry = {"confusion": [[14, 6], [6, 14]], "ece_before": 0.1, "ece_after": 0.1}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"validation": {"gender": entry}}))
    with caplog.at_level("WARNING", "fairlit"):
        models.warn_of_errors([target(gender={"female": 0.5, "male": 0.5})])
        replace(models, classifier="no/where").warn_of_errors([target(age={"young": 0.5, "old": 0.5})])
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("models.audit_classifier: often wrong about 'gender': balanced accuracy 0.70")


def test_errors_are_corrected_for_where_they_are_known(models: Models, tmp_path: Path) -> None:
    def found(models: Models, **shares: dict[str, float]) -> list[str]:
        problems = Problems("config")
        models.check_validated([target(**shares)], problems)
        return problems.messages

    halves = {"gender": {"female": 0.5, "male": 0.5}}
    [message] = found(models, **halves, age={"young": 0.5, "old": 0.5})
    assert "has no validation of gender, age; expected confusion matrices" in message
    config = tmp_path / "train" / "config.json"
    entry = {"confusion": [[19, 1], [2, 18]], "ece_before": 0.1, "ece_after": 0.1}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"validation": {"gender": entry}}))
    assert found(models, **halves) == []
    [message] = found(replace(models, classifier=[models.classifier, models.classifier]), **halves)  # type: ignore[list-item]
    assert "got true with 2 classifiers; expected one" in message
