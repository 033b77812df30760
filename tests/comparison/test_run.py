from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.measure import measure
from fairlit.comparison.charts import distinct_parts
from fairlit.comparison.figures import (
    MethodFigures,
    differences,
    perceived_labels,
    similarity_figures,
    standing,
)
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge, observe_folder
from fairlit.results.comparison import Difference, Standing, difference_of
from fairlit.results.record import Estimate

TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})
RED, BLUE, GREEN = (220, 40, 40), (40, 40, 220), (20, 200, 20)
Colours = Sequence[tuple[int, int, int]]


@pytest.fixture
def method(colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path) -> Callable[..., MethodFigures]:
    def make(name: str, *prompts: Colours, similarity: float = 1.0) -> MethodFigures:
        folder = find_images(colour_folder(*prompts, name=name))
        seen = observe_folder(folder, judge, tmp_path / f"{name}.jsonl")
        grid = torch.full((len(prompts), len(prompts[0])), similarity)
        return MethodFigures(JudgedFolder(folder, seen, measure(folder, seen, TARGET)), {"clip_i": grid}, {})

    return make


def place(found: tuple[Difference, ...], methods: dict[str, MethodFigures]) -> Standing:
    return standing(found, {name: entry.judged.figures for name, entry in methods.items()}, "tint")


def test_differences_are_those_of_the_figures_and_change_sign(method: Callable[..., MethodFigures]) -> None:
    plain = method("plain", [RED] * 4, [RED] * 4, [BLUE] * 4)
    fair = method("fair", [RED, BLUE] * 2, [RED, BLUE] * 2, [RED, RED, RED, BLUE], similarity=0.9)
    methods = {"plain": plain, "fair": fair}
    found = differences(methods, TARGET, (3, 4))
    assert len(found) == 1
    change = difference_of(found, "plain", "fair").attributes["tint"].tv
    assert change.value == pytest.approx(0.5 - 0.25 / 3)  # three times 1/2, against 0, 0 and 1/4
    assert change.value == pytest.approx(
        plain.judged.figures.attributes["tint"].tv.value - fair.judged.figures.attributes["tint"].tv.value
    )
    assert 0 < change.low < change.value < change.high
    back = difference_of(found, "fair", "plain")
    assert back.attributes["tint"].tv == Estimate(-change.value, -change.high, -change.low)
    assert back.similarities.measured["clip_i"].value == pytest.approx(-0.1)
    assert place(found, methods) == Standing(best="fair", ahead_of=("plain",))


def test_a_method_is_not_ahead_of_its_equal(method: Callable[..., MethodFigures]) -> None:
    prompts = [RED, RED, RED, BLUE], [RED, BLUE, BLUE, BLUE]
    methods = {"one": method("one", *prompts), "other": method("other", *prompts)}
    found = differences(methods, TARGET, (2, 4))
    change = difference_of(found, "one", "other").attributes["tint"].tv
    assert change.value == 0
    assert change.low == -change.high < 0  # four images of two prompts may agree by chance
    assert place(found, methods).not_ahead_of == ("other",)


def test_images_without_a_face_or_missing_have_no_label(
    method: Callable[..., MethodFigures], tmp_path: Path, judge: Judge
) -> None:
    entry = method("some", [RED, GREEN, BLUE], [BLUE, BLUE, RED])
    assert perceived_labels(entry.judged, TARGET, (2, 3)).flatten().tolist() == [0, -1, 1, 1, 1, 0]
    (tmp_path / "some" / "prompt_1" / "img_1.png").unlink()
    folder = find_images(tmp_path / "some")
    seen = observe_folder(folder, judge, tmp_path / "again.jsonl")
    judged = JudgedFolder(folder, seen, entry.judged.figures)
    assert perceived_labels(judged, TARGET, (2, 3)).flatten().tolist() == [0, -1, 1, 1, -1, 0]


def test_methods_without_faces_stand_nowhere(method: Callable[..., MethodFigures]) -> None:
    methods = {"faces": method("faces", [RED, BLUE]), "none": method("none", [GREEN, GREEN])}
    found = differences(methods, TARGET, (1, 2))
    assert place(found, methods) == Standing(best="faces")


def test_similarities_are_means_over_prompts_of_what_is_there() -> None:
    values = torch.tensor([[1.0, 0.5], [0.2, torch.nan], [torch.nan, torch.nan]])
    found = similarity_figures({"clip_i": values}).measured["clip_i"]
    assert found.value == pytest.approx((0.75 + 0.2) / 2)
    assert found.low < found.value < found.high


def test_differences_of_two_prompts_have_a_width(method: Callable[..., MethodFigures]) -> None:
    """Two images a prompt: both prompts are half and half by one method, and of one colour by the other."""
    methods = {"mixed": method("mixed", [RED, BLUE], [BLUE, RED]), "plain": method("plain", [RED] * 2, [BLUE] * 2)}
    found = differences(methods, TARGET, (2, 2))
    change = difference_of(found, "mixed", "plain").attributes["tint"].tv
    assert change.value == -0.5
    assert change.high - change.low > 0.5


def test_prompts_are_told_apart_by_what_differs() -> None:
    assert distinct_parts(["a chef", "a nurse"]) == ["… chef", "… nurse"]
    assert distinct_parts(["one only"]) == ["one only"]
    assert distinct_parts(["the end", "the end of it"]) == ["…", "… of it"]
