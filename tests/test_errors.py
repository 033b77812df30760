from __future__ import annotations

import pytest

from fairlit.errors import CheckpointError, ConfigurationError, FairlitError, Problems


def test_no_problem_raises_nothing() -> None:
    with Problems("target") as problems:
        pass
    problems.raise_if_any()


def test_one_problem_is_one_line() -> None:
    with pytest.raises(ConfigurationError) as caught, Problems("data") as problems:
        problems.add("seed: got -1; give 0 or more")
    assert str(caught.value) == "data: seed: got -1; give 0 or more"


def test_several_problems_are_numbered_in_order() -> None:
    with pytest.raises(ConfigurationError) as caught, Problems("data") as problems:
        problems.add("first")
        problems.add("second")
    assert str(caught.value).splitlines() == ["data: 2 problems", "  1. first", "  2. second"]


def test_a_configuration_error_in_the_block_joins_what_was_noted() -> None:
    with pytest.raises(ConfigurationError) as caught, Problems("data") as problems:
        problems.add("first")
        raise ConfigurationError("then this")
    assert "1. first" in str(caught.value)
    assert "2. then this" in str(caught.value)


def test_collecting_goes_on_after_the_error() -> None:
    reached = []
    with pytest.raises(ConfigurationError) as caught, Problems("data") as problems:
        with problems.collecting():
            raise ConfigurationError("first")
        reached.append(True)
        with problems.collecting():
            raise ConfigurationError("second")
    assert reached
    assert problems.messages == ["first", "second"]
    assert "2 problems" in str(caught.value)


@pytest.mark.parametrize("error", [KeyError("bug"), CheckpointError("damaged")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, Problems("data") as problems:
        problems.add("noted before")
        with problems.collecting():
            raise error
    assert caught.value is error


def test_kinds_of_errors() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(CheckpointError, RuntimeError)
    assert issubclass(ConfigurationError, FairlitError)
    assert issubclass(CheckpointError, FairlitError)
