from __future__ import annotations

import pytest

from fairlit.errors import CheckpointError, ConfigurationError, FairlitError, Problems


def test_no_problem_raises_nothing() -> None:
    with Problems("target") as problems:
        pass
    problems.raise_if_any()
    assert problems.messages == []


def test_one_problem_is_one_line() -> None:
    with pytest.raises(ConfigurationError) as caught, Problems("data") as problems:
        problems.add("seed: got -1; give 0 or more")
    assert str(caught.value) == "data: seed: got -1; give 0 or more"


def test_several_problems_are_numbered_in_order() -> None:
    problems = Problems("data")
    problems.add("first")
    problems.add("second")
    with pytest.raises(ConfigurationError) as caught:
        problems.raise_if_any()
    assert str(caught.value).splitlines() == ["data: 2 problems", "  1. first", "  2. second"]


def test_lists_within_the_list_are_indented() -> None:
    problems = Problems("config")
    problems.add("data: 2 problems\n  1. first\n  2. second")
    problems.add("third")
    with pytest.raises(ConfigurationError) as caught:
        problems.raise_if_any()
    lines = ["config: 2 problems", "  1. data: 2 problems", "     1. first", "     2. second", "  2. third"]
    assert str(caught.value).splitlines() == lines


def note_and_raise(error: Exception) -> None:
    with Problems("data") as problems:
        problems.add("first")
        raise error


def test_a_configuration_error_in_the_block_joins_what_was_noted() -> None:
    with pytest.raises(ConfigurationError) as caught:
        note_and_raise(ConfigurationError("then this"))
    assert str(caught.value).splitlines() == ["data: 2 problems", "  1. first", "  2. then this"]


def end_early(error: Exception | None = None) -> None:
    with Problems("data") as problems:
        problems.add("first")
        problems.add("second")
        try:
            problems.raise_if_any()
        finally:
            if error is not None:
                raise error


def test_a_block_that_is_ended_early_says_everything_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        end_early()
    assert str(caught.value).splitlines() == ["data: 2 problems", "  1. first", "  2. second"]
    with pytest.raises(ConfigurationError) as caught:
        end_early(ConfigurationError("then this"))
    assert str(caught.value).splitlines() == ["data: 3 problems", "  1. first", "  2. second", "  3. then this"]


def test_a_parameter_that_is_the_subject_is_named_once() -> None:
    for message in ("model: got 1; expected 2", "got 1; expected 2"):
        with pytest.raises(ConfigurationError) as caught:
            end_early_with(message)
        assert str(caught.value) == "model: got 1; expected 2"


def end_early_with(message: str) -> None:
    with Problems("model") as problems:
        problems.add(message)


def test_collecting_goes_on_after_the_error() -> None:
    problems = Problems("data")
    for message in ("first", "second"):
        with problems.collecting():
            raise ConfigurationError(message)
    assert problems.messages == ["first", "second"]


@pytest.mark.parametrize("error", [KeyError("bug"), CheckpointError("damaged")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        note_and_raise(error)
    assert caught.value is error
    with pytest.raises(type(error)), Problems("data").collecting():
        raise error


def test_kinds_of_errors() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(CheckpointError, RuntimeError)
    assert issubclass(ConfigurationError, FairlitError)
    assert issubclass(CheckpointError, FairlitError)


def test_numbers_below_a_minimum_are_named() -> None:
    problems = Problems("x")
    problems.at_least("steps", 1, 1)
    problems.at_least("weight", 0.0, 0)
    assert problems.messages == []
    problems.at_least("steps", 0, 1)
    problems.at_least("weight", -0.5, 0)
    problems.at_least("scale", float("nan"), 0)
    assert problems.messages == [
        "steps: got 0; give at least 1",
        "weight: got -0.5; give 0 or more",
        "scale: got nan; give 0 or more",
    ]
