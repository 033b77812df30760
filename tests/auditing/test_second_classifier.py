from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from coloured_folders import BLUE, GREEN, RED, Tint
from torch import Tensor

from fairlit.auditing.run import AuditSettings, run_audit
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.fairness import noise_floor_tv
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge
from fairlit.results.audit import AuditResults

PURPLE = (140, 40, 100)
TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})


class Strict(Tint):
    """Takes what is not fully red for blue; knows fewer attributes, and the classes in another order."""

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        return {"tint": ("blue", "red")}

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        red = 20 * (faces[:, 0].mean(dim=(1, 2)) - 0.7)
        return {"tint": torch.stack([-red, red], dim=1)}


class Stranger(Strict):
    """Knows something else altogether."""

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        return {"size": ("small", "large")}


@pytest.fixture
def both(judge: Judge) -> Judge:
    names = {**judge.names, "second_classifier": "strict"}
    return dataclasses.replace(judge, second=Strict().freeze(), names=names)


def test_parts_and_agreement_by_hand(colour_folder: Callable[..., Path], both: Judge, tmp_path: Path) -> None:
    """Of RED, PURPLE, PURPLE, BLUE one classifier sees 3 of 4 as red and the other 1; of RED, BLUE both see one."""
    folder = colour_folder([RED, PURPLE, PURPLE, BLUE, GREEN], [RED, BLUE], [GREEN])
    settings = AuditSettings(
        folder=find_images(folder, ["first <b>", "second", "nobody"]), target=TARGET, out=tmp_path / "out"
    )
    results = run_audit(settings, both)
    assert results.second_classifier is not None
    first, second = results.second_classifier.distances  # there is nothing to say of nobody
    chance = noise_floor_tv([0.5, 0.5], 4)
    assert (first.prompt, first.attribute, first.faces, first.agreement) == ("first <b>", "tint", 4, 0.5)
    assert (first.distance, first.chance, first.classifiers) == pytest.approx((0.25, chance, 0.5))
    assert first.model == pytest.approx(0.25 - 0.5 - chance)
    assert (second.distance, second.classifiers, second.agreement) == (0.0, 0.0, 1.0)
    assert results.second_classifier.agreement["tint"].value == pytest.approx((0.5 + 1.0) / 2)
    assert AuditResults.read(tmp_path / "out") == results
    assert results.judge.second_classifier == "strict"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "both classifiers agree on 75.0 %" in page
    assert f'<td class="wide">first &lt;b&gt;</td><td>tint</td><td>4</td><td>0.250</td><td>{chance:.3f}</td>' in page
    assert "mean of 2 prompts" in page


def test_what_was_noted_without_the_second_classifier_is_looked_at_again(
    colour_folder: Callable[..., Path], judge: Judge, both: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AuditSettings(folder=find_images(colour_folder([RED, PURPLE])), target=TARGET, out=tmp_path / "out")
    without = run_audit(settings, judge)
    assert without.second_classifier is None
    assert "second_classifier" not in (tmp_path / "out" / "results.json").read_text()
    assert "second classifier" not in (tmp_path / "out" / "report.html").read_text()
    results = run_audit(settings, both)
    assert results.figures == without.figures  # the first one alone judges
    monkeypatch.setattr(Judge, "look", lambda *_: pytest.fail("looked at images that were noted"))
    assert run_audit(settings, both).second_classifier == results.second_classifier


def test_every_face_counts_where_all_do(colour_folder: Callable[..., Path], both: Judge, tmp_path: Path) -> None:
    settings = AuditSettings(folder=find_images(colour_folder([RED, PURPLE])), target=TARGET, out=tmp_path / "out")
    second = run_audit(settings, dataclasses.replace(both, faces="all")).second_classifier
    assert second is not None
    assert [(one.faces, one.agreement) for one in second.distances] == [(2, 0.5)]


def test_no_face_anywhere(colour_folder: Callable[..., Path], both: Judge, tmp_path: Path) -> None:
    settings = AuditSettings(folder=find_images(colour_folder([GREEN])), target=TARGET, out=tmp_path / "out")
    second = run_audit(settings, both).second_classifier
    assert second is not None
    assert (second.distances, second.agreement["tint"].known) == ((), False)


def test_a_second_classifier_of_other_attributes_is_refused(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path
) -> None:
    settings = AuditSettings(folder=find_images(colour_folder([RED])), target=TARGET, out=tmp_path / "out")
    with pytest.raises(ConfigurationError, match="attribute 'tint' is unknown"):
        run_audit(settings, dataclasses.replace(judge, second=Stranger().freeze()))
