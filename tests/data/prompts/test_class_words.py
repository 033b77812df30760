"""Words of classes."""

from __future__ import annotations

from fairlit.data.prompts.class_words import check_words, phrases, words_by_attribute
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution

TARGET = TargetDistribution({"gender": {"female": 0.25, "male": 0.75}, "skin_tone": {"light": 0.5, "very_dark": 0.5}})


def test_words_in_the_order_of_the_config_and_of_the_table() -> None:
    words = {"skin_tone": {"light": "light-skinned"}}
    assert phrases(words, TARGET) == [
        "light-skinned female",
        "very dark female",
        "light-skinned male",
        "very dark male",
    ]
    assert words_by_attribute(words, TARGET) == [["female", "male"], ["light-skinned", "very dark"]]


def test_all_that_is_wrong_with_words_at_once() -> None:
    problems = Problems("words")
    check_words({"age": {"young": "young"}, "gender": {"diverse": "x", "female": "male"}}, TARGET, problems)
    assert len(problems.messages) == 3
    assert "'age' is no attribute of the target" in problems.messages[0]
    assert "'diverse' is no class of 'gender'" in problems.messages[1]
    assert "classes of 'gender' are called 'male'" in problems.messages[2]
