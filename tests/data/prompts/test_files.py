"""What prompt files may hold beyond templates and words: whole prompts, templates of a split, targets, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlit.data import PromptSet
from fairlit.data.prompts.families import fill, with_article
from fairlit.data.prompts.sets import SPLITS
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution

MOSTLY = {"gender": {"female": 0.75, "male": 0.25}}
RARELY = {"gender": {"female": 0.25, "male": 0.75}}
JOBS = {"train": ["doctor", "actor"], "val": ["chef"], "test": ["pilot"]}
OCCUPATIONS = {
    "prompt_templates_train": ["A photo of a {occupation}", "{occupation}, a person"],
    "prompt_templates_test": ["The face of a {occupation}"],
    "occupations_train_set": ["actor", "Nurse"],
    "occupations_val_set": ["chef"],
    "test_prompts": ["a photo of a pilot", "a judge"],
}
SPORTS = {"train_prompts": ["a skier", "a sailor"], "val_prompts": ["a boxer"], "test_prompts": ["a golfer"]}


def write(path: Path, content: Any) -> Path:
    text = json.dumps(content, indent="\t") if path.suffix == ".json" else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def read(tmp_path: Path, **families: Any) -> PromptSet:
    return PromptSet.from_file(write(tmp_path / "p.yaml", {"families": families}))


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        PromptSet.from_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def texts(prompts: PromptSet, *families: str) -> list[list[str]]:
    return [[prompt.text for prompt in prompts.select(split, families or None)] for split in SPLITS]


def test_articles_follow_the_sound() -> None:
    spoken = (
        "an actor, an athletics coach, an electrician, an ice sculptor, an oboist, an umpire, an usher, an undertaker, "
        "an uninsured driver, an hourly worker, an honest person, an heir, an honour guard, an X-ray technician, "
        "a nurse, a unicyclist, a university dean, a union leader, a user, a utility worker, a urologist, a ukulele "
        "player, a European, a one-man band, a hotel manager, a historian, a youth worker, a web designer"
    )
    for phrase in spoken.split(", "):
        article, words = phrase.split(" ", 1)
        assert with_article(words) == f"{article} {words}"


def test_a_template_may_ask_for_the_article() -> None:
    words = {"job": "engineer", "place": "at sea"}
    assert fill("{a job} {place}, a {job}, {an job}", words) == "an engineer at sea, a engineer, an engineer"


def test_templates_of_each_split_and_whole_prompts(tmp_path: Path) -> None:
    family = {
        "templates": {"train": ["{a job}", "the {job}"], "test": ["{a job} at work"]},
        "fillers": {"job": JOBS},
        "prompts": {"train": ["a crowd", "a doctor"], "val": ["a couple"]},
        "repeat": 2,
    }
    train = ["a doctor", "an actor", "the doctor", "the actor", "a crowd"]
    assert texts(read(tmp_path, f=family)) == [train * 2, ["a couple"], ["a pilot at work"]]


def test_words_and_prompts_with_targets_of_their_own(tmp_path: Path) -> None:
    jobs = {"train": ["doctor", {"text": "nurse", "target": MOSTLY}], "val": ["chef"], "test": ["pilot"]}
    family = {
        "templates": ["{a job}", "the {job} {place}"],
        "fillers": {"job": jobs, "place": {"train": ["at sea"]}},
        "prompts": {"train": [{"text": "a crowd", "target": RARELY}, "a couple"]},
        "target": {"age": {"young": 0.5, "old": 0.5}},
    }
    common = TargetDistribution(family["target"])
    own, other = TargetDistribution(MOSTLY), TargetDistribution(RARELY)
    assert {prompt.text: prompt.target for prompt in read(tmp_path, f=family).select("train")} == {
        "a doctor": common,
        "a nurse": own,
        "the doctor at sea": common,
        "the nurse at sea": own,
        "a crowd": other,
        "a couple": common,
    }


@pytest.mark.parametrize(
    ("family", "part"),
    [
        ({}, "`templates` is empty; write at least one, e.g. 'a photo of a {word}', or `prompts`"),
        ({"prompts": ["a crowd"]}, "prompts must be lists under train, val, test; got ['a crowd']"),
        ({"prompts": {"train": ["a {job}"]}}, "prompt 'a {job}' has a brace; move what is to be filled in to"),
        ({"prompts": {"train": ["a", "b"], "test": ["b"]}}, "prompts: b in both train and test"),
        ({"prompts": {"train": [{"text": "a"}]}}, "train is [{'text': 'a'}]; write a list of texts"),
        (
            {"prompts": {"train": [{"text": "a", "target": {"gender": {"female": 1.5, "male": 0}}}]}},
            "prompts: 'a': target distribution: shares of 'gender'",
        ),
        (
            {"prompts": {"train": [{"text": "a", "target": MOSTLY}, {"text": "a", "target": RARELY}]}},
            "'a' has two targets; give it one",
        ),
        ({"templates": {"training": ["a {job}"]}, "fillers": {"job": JOBS}}, "under train, val, test; got 'training'"),
        ({"templates": {"train": "a {job}"}, "fillers": {"job": JOBS}}, "templates is 'a {job}'; write a list"),
        (
            {
                "templates": ["{a job} {place}"],
                "fillers": {
                    "job": {"train": [{"text": "nurse", "target": MOSTLY}]},
                    "place": {"train": [{"text": "at sea", "target": RARELY}]},
                },
            },
            "targets of their own for job and place; give such targets to the words of one placeholder only",
        ),
        ({"file": "sports.yaml"}, "file is 'sports.yaml'; give a JSON file in the published layout"),
        ({"file": "absent.json"}, "absent.json: cannot be read"),
        ({"file": "absent.json", "prompts": {"train": ["a"]}}, "has prompts beside `file`; give one or the other"),
    ],
)
def test_what_is_refused(tmp_path: Path, family: dict[str, Any], part: str) -> None:
    assert part in refusal(write(tmp_path / "p.yaml", {"families": {"f": family}}))


def test_published_files_are_read_as_they_are(tmp_path: Path) -> None:
    prompts = PromptSet.from_file(write(tmp_path / "occupation.json", OCCUPATIONS))
    assert list(prompts.families) == ["occupation"]
    train = ["A photo of a actor", "A photo of a Nurse", "actor, a person", "Nurse, a person"]
    assert texts(prompts) == [train, ["The face of a chef"], ["a photo of a pilot", "a judge"]]
    assert texts(PromptSet.from_file(write(tmp_path / "sports.json", SPORTS))) == list(SPORTS.values())


def test_published_files_may_be_families_among_others(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "sports.json", SPORTS)
    prompts = read(
        tmp_path,
        athletes={"file": "data/sports.json", "repeat": 4, "target": MOSTLY},
        jobs={"templates": ["{a job}"], "fillers": {"job": JOBS}},
    )
    assert texts(prompts, "athletes") == [SPORTS["train_prompts"] * 4, SPORTS["val_prompts"], SPORTS["test_prompts"]]
    assert {prompt.target for prompt in prompts.select("test", ["athletes"])} == {TargetDistribution(MOSTLY)}
    assert len(prompts.select("train")) == 8 + 2


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ([1], ["not the published layout"]),
        ({"prompts": ["a"]}, ["not the published layout"]),
        ({**SPORTS, "more_prompts": ["a"]}, ["unknown key more_prompts; known are"]),
        ({"prompt_templates_train": ["a {occupation}"]}, ["has prompt_templates_train but no occupations_train_set"]),
        ({"occupations_val_set": ["chef"]}, ["has occupations_val_set but no prompt_templates_test"]),
        (
            {**OCCUPATIONS, "train_prompts": ["a cook"]},
            ["has both prompt_templates_train and train_prompts, and which of them is meant for train is not said"],
        ),
        (
            {**OCCUPATIONS, "prompt_templates_train": ["a {job}"], "occupations_val_set": ["actor"]},
            ["asks for {job}", "actor in both train and val"],
        ),
        ({**SPORTS, "test_prompts": "a golfer"}, ["prompts: test is 'a golfer'; write a list of texts"]),
        ({**SPORTS, "test_prompts": ["a {sport}"]}, ["prompt 'a {sport}' has a brace"]),
    ],
)
def test_what_is_not_clear_in_a_published_file_is_refused(tmp_path: Path, content: Any, parts: list[str]) -> None:
    message = refusal(write(tmp_path / "p.json", content))
    for part in parts:
        assert part in message


def test_json_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    assert "cannot be read" in refusal(path)
    path.write_text('{"train_prompts": [')
    assert "is not valid JSON" in refusal(path)
