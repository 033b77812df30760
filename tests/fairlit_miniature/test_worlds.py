from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import yaml

from fairlit_miniature import world
from fairlit_miniature.drawing import BACKDROPS, CLOTHES, LANDSCAPE, draw_scene
from fairlit_miniature.headgear import HEADGEAR
from fairlit_miniature.models import MAX_TOKENS
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.prompts import prompts_yaml
from fairlit_miniature.props import PROPS
from fairlit_miniature.subjects import SPLITS, Look, Subject
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_faces import build_detector
from fairlit_miniature.worlds import WORLDS

LARGE = WORLDS["large"]
SOFT_TOKENS = 6
PERSON = {"gender": "female", "skin_tone": "tan", "age": "young"}


def scene(subject: Subject, seed: int = 0, people: int = 1) -> world.Scene:
    return world.Scene("occupations", subject, (PERSON,) * people, {}, "", "", seed)


def test_the_large_world_has_new_test_occupations() -> None:
    splits = Counter(job.split for job in LARGE)
    assert splits["train"] >= 120
    assert splits["val"] == 16
    assert splits["test"] == 24
    assert not {job.name for job in LARGE if job.split == "test"} & {job.name for job in OCCUPATIONS}
    assert {job.name for job in OCCUPATIONS} < {job.name for job in LARGE}
    for names in ([job.name for job in LARGE], [job.plural for job in LARGE]):
        assert len(set(names)) == len(names)
        assert all(name.replace(" ", "").isalpha() and name == name.lower() for name in names)
        assert all(len(name.split()) <= 2 for name in names)


@pytest.mark.parametrize("split", SPLITS)
def test_biases_are_as_in_the_small_world(split: str) -> None:
    """Ranges are the same; leanings to either side are as many; their mean size is within a tenth."""
    small = [job.bias for job in OCCUPATIONS]
    large = [job.bias for job in LARGE if job.split == split]
    males = [bias.male for bias in large]
    assert min(bias.male for bias in small) <= min(males)
    assert max(males) <= max(bias.male for bias in small)
    assert abs(np.mean([male > 0.5 for male in males]) - 0.5) < 0.15
    leaning = [np.mean([abs(2 * bias.male - 1) for bias in biases]) for biases in (small, large)]
    assert leaning[1] == pytest.approx(leaning[0], abs=0.1)
    tones = np.mean([bias.skin_tone for bias in large], axis=0)
    assert np.abs(tones - np.mean([bias.skin_tone for bias in small], axis=0)).max() < 0.08
    young = [np.mean([bias.young for bias in biases]) for biases in (small, large)]
    assert young[1] == pytest.approx(young[0], abs=0.08)
    for bias in large:
        assert sum(bias.skin_tone) == pytest.approx(1.0)
        assert 0 <= bias.young <= 1


def test_no_two_occupations_have_the_same_composition() -> None:
    assert len({job.look for job in LARGE}) == len(LARGE)

    def painters(look: Look) -> tuple[str, str, str, str]:
        return look.backdrop, look.clothes, look.headgear, look.prop

    known = {painters(job.look) for job in OCCUPATIONS}
    further = [painters(job.look) for job in LARGE[len(OCCUPATIONS) :]]
    assert len(set(further)) == len(further), "they differ in more than colours"
    assert not known & set(further)


def test_every_painter_is_used_and_there() -> None:
    for painters, field in ((BACKDROPS, "backdrop"), (CLOTHES, "clothes"), (HEADGEAR, "headgear"), (PROPS, "prop")):
        assert {getattr(job.look, field) for job in LARGE} - {"none"} == set(painters), field


def test_looks_differ_visibly() -> None:
    """One person drawn as everybody: pictures are at least 8 of 255 apart, on average over pixels."""
    pixels = np.stack([draw_scene(scene(job)).pixels for job in LARGE]).astype(np.float32).reshape(len(LARGE), -1)
    distances = torch.cdist(torch.from_numpy(pixels), torch.from_numpy(pixels), p=1) / pixels.shape[1]
    distances.fill_diagonal_(torch.inf)
    nearest = distances.min(dim=1)
    names = [(LARGE[i].name, LARGE[int(j)].name) for i, j in enumerate(nearest.indices) if nearest.values[i] < 8]
    assert not names


def test_mtcnn_finds_the_faces_of_the_large_world() -> None:
    """At least 95 % of all, and of no occupation none of three."""
    further = LARGE[len(OCCUPATIONS) :]
    scenes = []
    for number, job in enumerate(further * 3):
        labels = {name: classes[number % len(classes)] for name, classes in world.ATTRIBUTES.items()}
        scenes.append(world.Scene("occupations", job, (labels,), {}, "", "", number))
    pictures = np.stack([draw_scene(drawn).pixels for drawn in scenes])
    found = build_detector()(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255.0).has_face
    assert found.float().mean() >= 0.95
    by_job = found.view(3, len(further)).any(dim=0)
    assert [job.name for job, seen in zip(further, by_job, strict=True) if not seen] == []


@pytest.mark.parametrize("people", [2, 3])
def test_props_and_hats_hide_no_neighbours_face(people: int) -> None:
    """Groups with and without hats and props are the same where faces are, but for the brows' edge."""
    for job in LARGE[len(OCCUPATIONS) :]:
        look = job.look
        bare = Subject(job.name, job.split, job.bias, Look(*_plain(look)), job.plural)
        whole, plain = (draw_scene(scene(subject, 3, people), LANDSCAPE) for subject in (job, bare))
        for left, top, right, bottom in whole.boxes:
            wide, tall = right - left, bottom - top
            inner = np.s_[
                int(top + 0.42 * tall) : int(bottom - 0.12 * tall), int(left + 0.2 * wide) : int(right - 0.2 * wide)
            ]
            np.testing.assert_array_equal(whole.pixels[inner], plain.pixels[inner], err_msg=job.name)


def _plain(look: Look) -> tuple[str, tuple, str, tuple]:
    return look.backdrop, look.backdrop_colors, look.clothes, look.clothes_colors


def test_the_tokenizer_of_the_large_world_holds_its_words() -> None:
    tokenizer = build_tokenizer(LARGE)
    for word in world.vocabulary(LARGE):
        assert len(tokenizer.tokenize(word)) == 1, word
    longest = max(
        len(tokenizer(world.sample_scene(0, index, occupations=LARGE).caption).input_ids) for index in range(3000)
    )
    assert longest <= MAX_TOKENS - SOFT_TOKENS


def test_prompts_of_the_large_world_are_its_tables() -> None:
    families = yaml.safe_load(prompts_yaml(LARGE))["families"]
    for split in SPLITS:
        names = [job.name for job in LARGE if job.split == split]
        assert families["occupations"]["fillers"]["occupation"][split] == names
        assert families["style_and_context"]["fillers"]["occupation"][split] == names
        assert families["groups"]["fillers"]["people"][split] == [job.plural for job in LARGE if job.split == split]


def test_scenes_of_the_large_world_show_all_its_occupations() -> None:
    drawn = {world.sample_scene(0, index, occupations=LARGE).subject.name for index in range(6000)}
    assert {job.name for job in LARGE} <= drawn
    balanced = {world.balanced_scene(0, index, LARGE).subject.name for index in range(3000)}
    assert {job.name for job in LARGE} == balanced
