from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fairlit.data.prompts.sets import PromptSet
from fairlit_miniature import world
from fairlit_miniature.drawing import BACKDROPS, CLOTHES
from fairlit_miniature.headgear import HEADGEAR
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.prompts import prompts_yaml
from fairlit_miniature.subjects import DESCRIPTORS, SPLITS, SPORTS, Subject

ROOT = Path(__file__).parents[2]
ALL = (*OCCUPATIONS, *SPORTS, *DESCRIPTORS)


@pytest.mark.parametrize("subject", ALL, ids=lambda subject: subject.name)
def test_shares_and_looks_are_valid(subject: Subject) -> None:
    for attribute, classes in world.ATTRIBUTES.items():
        shares = subject.bias.shares(attribute)
        assert len(shares) == len(classes)
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) >= 0
    assert subject.look.backdrop in BACKDROPS
    assert subject.look.clothes in CLOTHES
    assert subject.look.headgear == "none" or subject.look.headgear in HEADGEAR


def test_occupations_are_as_many_and_as_biased_as_required() -> None:
    by_split = Counter(job.split for job in OCCUPATIONS)
    assert len(OCCUPATIONS) >= 30
    assert by_split["train"] >= 18
    tested = [job.bias.male for job in OCCUPATIONS if job.split == "test"]
    assert np.mean([abs(2 * male - 1) for male in tested]) >= 0.4, "guidance doubles it"
    assert abs(sum(male > 0.5 for male in tested) - len(tested) / 2) <= 1
    assert sum(0.4 <= job.bias.male <= 0.6 for job in OCCUPATIONS) >= 2, "some are nearly balanced"


def test_splits_are_disjoint() -> None:
    names = [job.name for job in OCCUPATIONS]
    assert len(set(names)) == len(names)
    looks = [(job.look.clothes, job.look.clothes_colors, job.look.headgear, job.look.backdrop) for job in OCCUPATIONS]
    assert len(set(looks)) == len(looks), "no two occupations look alike"


def test_prompt_file_is_the_worlds() -> None:
    path = ROOT / "configs" / "prompts" / "miniature.yaml"
    assert path.read_text() == prompts_yaml()
    prompts = PromptSet.from_file(path)
    drawn = {world.sample_scene(0, index).caption for index in range(6000)}
    for split in SPLITS:
        texts = {prompt.text for prompt in prompts.select(split, ["occupations"])}
        assert texts == {world.caption("occupations", job, {}) for job in OCCUPATIONS if job.split == split}
        assert texts <= drawn, "what is finetuned on is what the miniature was trained on"


def test_scenes_are_deterministic_and_differ() -> None:
    assert world.sample_scene(3, 17) == world.sample_scene(3, 17)
    assert world.sample_scene(3, 17) != world.sample_scene(3, 18)
    assert world.sample_scene(3, 17) != world.sample_scene(4, 17)


def test_unnamed_attributes_follow_the_bias_and_named_ones_are_uniform() -> None:
    scenes = [world.sample_scene(1, index) for index in range(20_000)]
    male: dict[str, list[bool]] = {}
    named = Counter()
    for scene in scenes:
        for attribute, label in scene.named.items():
            named[attribute, label] += 1
            assert all(person[attribute] == label for person in scene.people)
        if "gender" not in scene.named and scene.subject in OCCUPATIONS:
            male.setdefault(scene.subject.name, []).extend(person["gender"] == "male" for person in scene.people)
    for job in OCCUPATIONS:
        share, n = np.mean(male[job.name]), len(male[job.name])
        spread = np.sqrt(job.bias.male * (1 - job.bias.male) / n)
        assert abs(share - job.bias.male) < 4.5 * spread + 1e-9, job.name
    for attribute, classes in world.ATTRIBUTES.items():
        total = sum(named[attribute, label] for label in classes)
        for label in classes:
            assert named[attribute, label] / total == pytest.approx(1 / len(classes), abs=0.02)


def test_captions_say_who_is_in_the_picture() -> None:
    for index in range(500):
        scene = world.sample_scene(2, index)
        for attribute, label in scene.named.items():
            assert world.WORDS[attribute][label] in scene.caption.replace(",", "").split()
        expected = {1: None, 2: "two", 3: "three"}[len(scene.people)]
        assert expected is None or f" {expected} " in scene.caption


def test_all_captions_of_a_picture_are_true() -> None:
    classes = {word: (attribute, label) for attribute, words in world.WORDS.items() for label, word in words.items()}
    counted = Counter()
    for index in range(500):
        scene = world.sample_scene(2, index)
        own, retold, people = world.captions(scene)
        assert own == scene.caption
        for text in (retold, people):
            said = [classes[word] for word in text.replace(",", "").split() if word in classes]
            assert all(person[attribute] == label for person in scene.people for attribute, label in said)
            counted[len(said)] += 1
        assert {word for word in own.split() if word in classes} <= set(retold.split())
        assert scene.subject.name not in people
        assert scene.subject.name in retold or scene.subject.plural in retold
    assert set(counted) == {0, 1, 2, 3}


def test_full_caption_names_everything_about_a_person() -> None:
    for index in range(20):
        scene = world.balanced_scene(0, index)
        words = world.describe(scene.people[0]).split()
        text = world.full_caption(scene)
        assert set(words) <= set(text.split())
        assert scene.subject.name in text
    texts = [world.full_caption(world.balanced_scene(0, index)) for index in range(20)]
    assert 0 < sum(text.endswith(", a person") for text in texts) < 20, "words before the occupation or after it"


def test_balanced_scenes_are_balanced() -> None:
    counts = Counter(world.balanced_scene(0, index).people[0]["skin_tone"] for index in range(2000))
    assert min(counts.values()) > 400
