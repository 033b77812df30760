"""The prompts of the paper's experiments: how many there are, that they read well, and that nothing leaks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from fairlit.data import PromptSet
from fairlit.data.prompts.sets import SPLITS

FILE = Path(__file__).parents[2] / "configs" / "prompts" / "paper.yaml"
FAMILIES = ("occupations", "style_and_context", "descriptors", "sports")
SPOKEN_WITH_A_CONSONANT = ("unicyclist", "university", "urologist")


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    return PromptSet.from_file(FILE)


def bare(words: str) -> str:
    """Lower case, no plurals, no punctuation: what must not stand in two places."""
    found = re.findall("[a-z]+", words.lower())
    return " ".join(re.sub("s$", "", re.sub("(?<=[^aeiou])ies$", "y", word)) for word in found)


def occupations(prompts: PromptSet) -> dict[str, list[str]]:
    return {split: list(prompts.families["occupations"].fillers["occupation"][split]) for split in SPLITS}


def test_counts(prompts: PromptSet) -> None:
    assert [len(prompts.families["occupations"].prompts(split)) for split in SPLITS] == [1000, 10, 50]
    shares = [len(prompts.families[name].prompts("train")) for name in FAMILIES]
    assert max(shares) <= 1.01 * min(shares)  # the four families take turns about equally often
    assert [prompts.families[name].repeat for name in FAMILIES] == [1, 6, 20, 4]
    assert all(len(prompts.families[name].prompts("val")) >= 5 for name in FAMILIES)
    assert len(prompts.select("test", ["unrelated"])) == 50
    assert not prompts.families["unrelated"].prompts("train")


def test_occupations_are_common_nouns_each_of_them_once(prompts: PromptSet) -> None:
    every = [word for words in occupations(prompts).values() for word in words]
    assert [word for word, count in Counter(map(bare, every)).items() if count > 1] == []
    assert [word for word in every if not re.fullmatch("[a-z]+([ '-][a-z]+)*", word)] == []
    assert [word for word in every if re.search("(ers|ors|ists|ians|men|women|man|woman|ess)$", word)] == []


def test_no_held_out_occupation_is_trained_on_even_as_a_part(prompts: PromptSet) -> None:
    words = occupations(prompts)
    trained = [bare(word) for word in words["train"]]
    trained += [bare(prompt.text) for name in FAMILIES[1:] for prompt in prompts.families[name].prompts("train")]
    for held in (*words["val"], *words["test"]):
        assert [text for text in trained if f" {bare(held)} " in f" {text} "] == [], held
    assert not {bare(word) for word in words["val"]} & {bare(word) for word in words["test"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_word_stands_in_two_splits(prompts: PromptSet, family: str) -> None:
    for field, splits in prompts.families[family].fillers.items():
        found = [{bare(word) for word in splits[split]} for split in SPLITS]
        assert sum(map(len, found)) == len(set.union(*found)), field


def test_articles(prompts: PromptSet) -> None:
    for prompt in prompts.select("train", ["occupations"]) + prompts.select("test", ["occupations"]):
        found = re.fullmatch("a photo of the face of (an?) (.+), a person", prompt.text)
        assert found
        vowel = found[2][0] in "aeiou" and not found[2].startswith(SPOKEN_WITH_A_CONSONANT)
        assert found[1] == ("an" if vowel else "a"), prompt.text  # none of these begins with a silent h


def test_unrelated_prompts_have_nobody_in_them(prompts: PromptSet) -> None:
    people = {"person", "people", "man", "woman", "boy", "girl", "child", "face", "portrait", "who"}
    words = {bare(word) for splits in occupations(prompts).values() for word in splits}
    for prompt in prompts.select("test", ["unrelated"]):
        text = bare(prompt.text)
        assert not people & set(text.split())
        assert not [word for word in words if f" {word} " in f" {text} "], prompt.text
