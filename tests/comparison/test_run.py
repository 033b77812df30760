from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from fairlit.auditing.measure import measure
from fairlit.auditing.report import Audited
from fairlit.comparison.charts import distinct_parts
from fairlit.comparison.figures import (
    MethodFigures,
    difference_of,
    differences,
    perceived_labels,
    similarity_figures,
    standing,
)
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge, observe_folder

TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})
RED, BLUE, GREEN = (220, 40, 40), (40, 40, 220), (20, 200, 20)
Colours = Sequence[tuple[int, int, int]]


@pytest.fixture
def method(colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path) -> Callable[..., MethodFigures]:
    def make(name: str, *prompts: Colours, similarity: float = 1.0) -> MethodFigures:
        folder = find_images(colour_folder(*prompts, name=name))
        seen = observe_folder(folder, judge, tmp_path / f"{name}.jsonl")
        grid = torch.full((len(prompts), len(prompts[0])), similarity)
        return MethodFigures(Audited(folder, seen, measure(folder, seen, TARGET)), {"clip_i": grid}, {})

    return make


def test_differences_are_those_of_the_figures_and_change_sign(method: Callable[..., MethodFigures]) -> None:
    plain = method("plain", [RED] * 4, [RED] * 4, [BLUE] * 4)
    fair = method("fair", [RED, BLUE] * 2, [RED, BLUE] * 2, [RED, RED, RED, BLUE], similarity=0.9)
    methods = {"plain": plain, "fair": fair}
    found = differences(methods, TARGET, (3, 4))
    assert len(found) == 1
    change = difference_of(found, "plain", "fair", "tint", "tv")
    assert change["value"] == pytest.approx(0.5 - 0.25 / 3)  # three times 1/2, against 0, 0 and 1/4
    assert change["value"] == pytest.approx(
        plain.audited.figures["attributes"]["tint"]["tv"] - fair.audited.figures["attributes"]["tint"]["tv"]
    )
    low, high = change["ci"]
    assert 0 < low < change["value"] < high
    back = difference_of(found, "fair", "plain", "tint", "tv")
    assert (back["value"], back["ci"]) == (-change["value"], (-high, -low))
    kept = difference_of(found, "fair", "plain", "similarities", "clip_i")
    assert kept["value"] == pytest.approx(-0.1)
    assert standing(found, methods, "tint") == {"best": "fair", "ahead_of": ["plain"], "not_ahead_of": []}


def test_a_method_is_not_ahead_of_its_equal(method: Callable[..., MethodFigures]) -> None:
    prompts = [RED, RED, RED, BLUE], [RED, BLUE, BLUE, BLUE]
    methods = {"one": method("one", *prompts), "other": method("other", *prompts)}
    found = differences(methods, TARGET, (2, 4))
    assert difference_of(found, "one", "other", "tint", "tv") == {"value": 0.0, "ci": (0.0, 0.0)}
    assert standing(found, methods, "tint")["not_ahead_of"] == ["other"]


def test_images_without_a_face_or_missing_have_no_label(
    method: Callable[..., MethodFigures], tmp_path: Path, judge: Judge
) -> None:
    entry = method("some", [RED, GREEN, BLUE], [BLUE, BLUE, RED])
    assert perceived_labels(entry.audited, TARGET, (2, 3)).flatten().tolist() == [0, -1, 1, 1, 1, 0]
    (tmp_path / "some" / "prompt_1" / "img_1.png").unlink()
    folder = find_images(tmp_path / "some")
    seen = observe_folder(folder, judge, tmp_path / "again.jsonl")
    audited = Audited(folder, seen, entry.audited.figures)
    assert perceived_labels(audited, TARGET, (2, 3)).flatten().tolist() == [0, -1, 1, 1, -1, 0]


def test_methods_without_faces_stand_nowhere(method: Callable[..., MethodFigures]) -> None:
    methods = {"faces": method("faces", [RED, BLUE]), "none": method("none", [GREEN, GREEN])}
    found = differences(methods, TARGET, (1, 2))
    assert standing(found, methods, "tint") == {"best": "faces", "ahead_of": [], "not_ahead_of": []}


def test_similarities_are_means_over_prompts_of_what_is_there() -> None:
    values = torch.tensor([[1.0, 0.5], [0.2, torch.nan], [torch.nan, torch.nan]])
    figures = similarity_figures({"clip_i": values})
    assert figures["clip_i"] == pytest.approx((0.75 + 0.2) / 2)
    assert figures["clip_i_ci"][0] < figures["clip_i"] < figures["clip_i_ci"][1]


def test_prompts_are_told_apart_by_what_differs() -> None:
    assert distinct_parts(["a chef", "a nurse"]) == ["… chef", "… nurse"]
    assert distinct_parts(["one only"]) == ["one only"]
    assert distinct_parts(["the end", "the end of it"]) == ["…", "… of it"]
