from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from fairlit.data.prompts.sets import PromptSet
from fairlit_miniature import world
from fairlit_miniature.drawing import BACKDROPS, CLOTHES, LANDSCAPE, draw_scene
from fairlit_miniature.headgear import HEADGEAR
from fairlit_miniature.models import MAX_TOKENS
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.prompts import prompts_yaml
from fairlit_miniature.props import PROPS
from fairlit_miniature.subjects import DESCRIPTORS, SPLITS, SPORTS, Look, Subject
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_faces import build_detector

ROOT = Path(__file__).parents[2]
ALL = (*OCCUPATIONS, *SPORTS, *DESCRIPTORS)
SOFT_TOKENS = 6
PERSON = {"gender": "female", "skin_tone": "tan", "age": "young"}


def show(subject: Subject, seed: int = 0, people: int = 1) -> world.Scene:
    return world.Scene("occupations", subject, (PERSON,) * people, {}, "", "", seed)


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
    assert subject.look.prop == "none" or subject.look.prop in PROPS


def test_occupations_are_as_many_and_as_biased_as_required() -> None:
    by_split = Counter(job.split for job in OCCUPATIONS)
    assert len(OCCUPATIONS) >= 160
    assert by_split["train"] >= 120
    assert by_split["val"] == 16
    assert by_split["test"] == 24
    assert sum(0.4 <= job.bias.male <= 0.6 for job in OCCUPATIONS) >= 10, "some are nearly balanced"


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_is_biased_alike(split: str) -> None:
    """Leanings to either side are as many; their mean size, skin tones and ages are those of all occupations."""
    biases, everybody = ([job.bias for job in OCCUPATIONS if job.split in splits] for splits in ((split,), SPLITS))
    males = [bias.male for bias in biases]
    assert np.mean([abs(2 * male - 1) for male in males]) >= 0.35, "guidance doubles it"
    assert abs(np.mean([male > 0.5 for male in males]) - 0.5) < 0.15
    leaning = [np.mean([abs(2 * bias.male - 1) for bias in some]) for some in (biases, everybody)]
    assert leaning[0] == pytest.approx(leaning[1], abs=0.1)
    tones = [np.mean([bias.skin_tone for bias in some], axis=0) for some in (biases, everybody)]
    assert np.abs(tones[0] - tones[1]).max() < 0.08
    young = [np.mean([bias.young for bias in some]) for some in (biases, everybody)]
    assert young[0] == pytest.approx(young[1], abs=0.08)


def test_splits_are_disjoint() -> None:
    for names in ([job.name for job in OCCUPATIONS], [job.plural for job in OCCUPATIONS]):
        assert len(set(names)) == len(names)
        assert all(name.replace(" ", "").isalpha() and name == name.lower() for name in names)
        assert all(len(name.split()) <= 2 for name in names)


def test_no_two_occupations_have_the_same_look() -> None:
    assert len({job.look for job in OCCUPATIONS}) == len(OCCUPATIONS)
    pixels = np.stack([draw_scene(show(job)).pixels for job in OCCUPATIONS]).astype(np.float32)
    flat = torch.from_numpy(pixels.reshape(len(OCCUPATIONS), -1))
    distances = (torch.cdist(flat, flat, p=1) / flat.shape[1]).fill_diagonal_(torch.inf)
    nearest = distances.min(dim=1)
    names = [
        (OCCUPATIONS[i].name, OCCUPATIONS[int(j)].name) for i, j in enumerate(nearest.indices) if nearest.values[i] < 8
    ]
    assert not names, "the same person drawn as both is less than 8 of 255 apart, on average over pixels"


def test_every_painter_is_used() -> None:
    for painters, field in ((BACKDROPS, "backdrop"), (CLOTHES, "clothes"), (HEADGEAR, "headgear"), (PROPS, "prop")):
        assert {getattr(subject.look, field) for subject in ALL} - {"none"} == set(painters), field


def test_mtcnn_finds_the_faces_of_every_occupation() -> None:
    """At least 95 % of a picture each, and of no occupation none of three."""
    combinations = list(itertools.product(*world.ATTRIBUTES.values()))

    def finds(jobs: Sequence[Subject], seed: int) -> torch.Tensor:
        pictures = []
        for number, job in enumerate(jobs, start=seed):
            labels = dict(zip(world.ATTRIBUTES, combinations[number % len(combinations)], strict=True))
            scene = world.Scene("occupations", job, (labels,), {}, "", "", number)
            pictures.append(torch.from_numpy(draw_scene(scene).pixels).permute(2, 0, 1))
        return build_detector()(torch.stack(pictures) / 255.0).has_face

    found = finds(OCCUPATIONS, 0)
    assert found.float().mean() >= 0.95
    missed = [job for job, seen in zip(OCCUPATIONS, found.tolist(), strict=True) if not seen]
    again = torch.stack([finds(missed, 1000), finds(missed, 2000)]).any(dim=0).tolist() if missed else []
    assert [job.name for job, seen in zip(missed, again, strict=True) if not seen] == []


@pytest.mark.parametrize("people", [2, 3])
def test_props_and_hats_hide_no_neighbours_face(people: int) -> None:
    """Groups with and without hats and props are the same where faces are, but for the brows' edge."""
    for job in OCCUPATIONS:
        look = job.look
        plain = Look(look.backdrop, look.backdrop_colors, look.clothes, look.clothes_colors)
        bare = Subject(job.name, job.split, job.bias, plain, job.plural)
        whole, reduced = (draw_scene(show(subject, 3, people), LANDSCAPE) for subject in (job, bare))
        for left, top, right, bottom in whole.boxes:
            wide, tall = right - left, bottom - top
            inner = np.s_[
                int(top + 0.42 * tall) : int(bottom - 0.12 * tall), int(left + 0.2 * wide) : int(right - 0.2 * wide)
            ]
            np.testing.assert_array_equal(whole.pixels[inner], reduced.pixels[inner], err_msg=job.name)


def test_captions_are_short_enough_for_soft_tokens() -> None:
    tokenizer = build_tokenizer()
    longest = max(len(tokenizer(world.sample_scene(0, index).caption).input_ids) for index in range(3000))
    assert longest <= MAX_TOKENS - SOFT_TOKENS


def test_prompt_file_is_the_worlds() -> None:
    path = ROOT / "configs" / "prompts" / "miniature.yaml"
    assert path.read_text() == prompts_yaml()
    prompts = PromptSet.from_file(path)
    drawn = {world.sample_scene(0, index).caption for index in range(20_000)}
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
    shown = {world.balanced_scene(0, index).subject for index in range(2000)}
    assert shown == set(OCCUPATIONS)
