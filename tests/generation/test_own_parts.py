"""A method of somebody's own, in a file of the current folder: by class path, stopped and resumed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlit.data.prompts.families import Prompt
from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation import GenerationPlan
from fairlit.generation import run as runner
from fairlit.generation.run import generate, missing_images
from fairlit.io.class_paths import instantiate
from fairlit.mitigation import Method

OWN = '''
from contextlib import contextmanager

from fairlit.mitigation import Method
from fairlit.mitigation.unchanged import one_prompt_sampler


class Helper:
    def __init__(self, word):
        self.word = word


class Suffix(Method):
    """Adds a word, by a helper that is an object."""

    name = "suffix"
    needs_target = False

    def __init__(self, word: str = "smiling") -> None:
        self.word = word
        self.helper = Helper(word)

    @contextmanager
    def prepare(self, backbone, plan, target):
        assert target is None
        yield one_prompt_sampler(backbone, plan, lambda prompt: f"{prompt}, {self.helper.word}")


class Opaque(Suffix):
    def __init__(self, helper=None) -> None:
        super().__init__()
        self.helper = helper or Helper("x")


class Described(Opaque):
    def settings(self):
        return {"word": self.helper.word}


class Forgetful(Suffix):
    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()


class Bound(Suffix):
    needs_target = True
'''
PROMPTS = [Prompt("a doctor", "people"), Prompt("a nurse", "people")]
HALF = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "methods_of_somebody.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "methods_of_somebody"
    sys.modules.pop("methods_of_somebody", None)


def plan_of(method: Method, model: Path, out: Path, target: TargetDistribution | None = None) -> GenerationPlan:
    return GenerationPlan(str(model), PROMPTS, out, images=2, method=method, target=target, steps=1, batch_size=2)


def test_stopped_and_resumed_by_another_process(
    own: str, tiny_pipeline_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    save = runner.save_png

    def stopping(image: object, path: Path, parameters: dict[str, object]) -> None:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(path)
        save(image, path, parameters)  # type: ignore[arg-type]

    spec = {"class_path": f"{own}.Suffix", "init_args": {"word": "tall"}}
    first = instantiate(spec, Method, "method")
    assert first.describe() == {"name": "suffix", "word": "tall"}
    with Problems("generate") as problems:
        plan_of(first, tiny_pipeline_folder, tmp_path / "out", HALF).check(problems)
    monkeypatch.setattr(runner, "save_png", stopping)
    with pytest.raises(KeyboardInterrupt):
        generate(plan_of(first, tiny_pipeline_folder, tmp_path / "out", HALF))
    monkeypatch.setattr(runner, "save_png", save)
    del sys.modules[own]  # a new process has other classes and objects
    again = instantiate(spec, Method, "method")
    assert type(again) is not type(first)
    assert generate(plan_of(again, tiny_pipeline_folder, tmp_path / "out")) == 3
    assert missing_images(plan_of(again, tiny_pipeline_folder, tmp_path / "out")) == []
    with pytest.raises(ConfigurationError, match="made with method"):
        missing_images(plan_of(instantiate(f"{own}.Suffix", Method, "method"), tiny_pipeline_folder, tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Opaque", "Opaque: helper: got .*override settings"),
        ("Forgetful", "argument 'strength' is not kept.*override settings"),
    ],
)
def test_settings_that_are_no_plain_data_are_refused_early(
    own: str, tiny_pipeline_folder: Path, tmp_path: Path, name: str, words: str
) -> None:
    plan = plan_of(instantiate(f"{own}.{name}", Method, "method"), tiny_pipeline_folder, tmp_path / "out")
    with pytest.raises(ConfigurationError, match=words), Problems("generate") as problems:
        plan.check(problems)
    assert instantiate(f"{own}.Described", Method, "method").describe() == {"name": "suffix", "word": "x"}


def test_a_method_that_needs_a_target_is_told_so(own: str, tiny_pipeline_folder: Path, tmp_path: Path) -> None:
    method = instantiate(f"{own}.Bound", Method, "method")
    plan = plan_of(method, tiny_pipeline_folder, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="target: got none"), Problems("generate") as problems:
        plan.check(problems)
    with pytest.raises(ConfigurationError, match="suffix: target: got none"):
        method.required(None)
