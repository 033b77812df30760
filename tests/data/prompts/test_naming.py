"""Prompts that name a class: what they say, what they aim at, and when they come."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from fairlit.data import PromptBatch, PromptDataModule
from fairlit.data.prompts.naming import ClassNaming
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution

TARGET = {"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.75, "old": 0.25, "ageless": 0.0}}
JOBS = {"train": ["nurse", "pilot"], "val": ["judge"], "test": ["clown", "diver"]}
LABELS = [("gender", "female"), ("gender", "male"), ("age", "young"), ("age", "old")]  # those with a share


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    families = {"jobs": {"templates": ["a photo of a {job}"], "fillers": {"job": JOBS}}}
    path.write_text(yaml.safe_dump({"families": families}))
    return str(path)


def build(file: str, **naming: Any) -> PromptDataModule:
    settings = ClassNaming(**{"after": "photo of an?", "words": {"age": {"old": "elderly"}}} | naming)
    return PromptDataModule(file, TARGET, images_per_prompt=3, test_images=5, naming=settings)


def test_a_share_of_the_training_steps_names_each_class_as_often_as_another(file: str) -> None:
    plain, data = build(file), build(file, share=0.4)
    batches = [data.batch("train", index) for index in range(2000)]
    named = [(index, batch) for index, batch in enumerate(batches) if batch.family != "jobs"]
    assert 0.36 < len(named) / 2000 < 0.44
    for attribute, label in LABELS:
        own = [batch for _, batch in named if batch.family == f"named_{attribute}_{label}"]
        assert 0.2 < len(own) / len(named) < 0.3
        assert {batch.target for batch in own} == {data.target.given(attribute, label)}
        word = "elderly" if label == "old" else label
        assert {batch.prompt for batch in own} == {f"a photo of a {word} {job}" for job in JOBS["train"]}
    for index, batch in enumerate(batches):  # noise, and the order of prompts, are those of a run without
        assert batch.keys == plain.batch("train", index).keys
        assert batch.prompt.split()[-1] == plain.batch("train", index).prompt.split()[-1]
    assert batches[:20] == [build(file, share=0.4).batch("train", index) for index in range(20)]


def test_tests_name_each_class_after_the_plain_prompts(file: str) -> None:
    data = build(file, test_images=2)
    batches = list(data.test_dataloader())
    assert batches[:2] == list(build(file).test_dataloader()) == list(data.predict_dataloader())
    named = batches[2:]
    assert [batch.index for batch in named] == list(range(2, 10))
    assert [data.named_families[batch.family] for batch in named] == LABELS * 2
    assert named[5] == PromptBatch(
        7,
        "a photo of a male diver",
        "named_gender_male",
        data.target.given("gender", "male"),
        [(0, 2, 7, 0), (0, 2, 7, 1)],
    )
    assert len(data.test_dataloader()) == 10
    assert not set(data.named_families) & data.trained_families


def test_what_is_left_of_a_joint_target_once_a_class_is_known() -> None:
    target = TargetDistribution.from_joint({"a": ["x", "y"], "b": ["u", "v"]}, [[0.5, 0.0], [0.2, 0.3]])
    assert target.given("a", "y").table.flatten().tolist() == pytest.approx([0, 0, 0.4, 0.6])
    assert target.given("b", "v").table.flatten().tolist() == pytest.approx([0, 0, 0, 1])
    with pytest.raises(ConfigurationError, match="a: got 'z'; expected a class with a share in the target"):
        target.given("a", "z")
    with pytest.raises(ConfigurationError, match="age: got 'ageless'"):
        TargetDistribution(TARGET).given("age", "ageless")


def test_all_texts_are_known_beforehand(file: str) -> None:
    data = build(file, share=0.1, test_images=1)
    texts = set(data.texts())
    assert {data.batch("train", index).prompt for index in range(200)} <= texts
    assert {batch.prompt for batch in data.test_dataloader()} <= texts
    assert not any("male" in text for text in build(file).texts())


def test_wrong_settings_are_refused(file: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClassNaming(share=1.5, test_images=-1, template="{words}")
    for part in ("share: got 1.5", "test_images: got -1", "lacks its placeholder {prompt}"):
        assert part in str(caught.value)
    with pytest.raises(ConfigurationError, match="naming: words: 'hair' is no attribute of the target"):
        build(file, words={"hair": {"red": "red-haired"}})
