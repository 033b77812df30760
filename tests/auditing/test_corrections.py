"""Figures corrected for the classifier's errors, by hand."""

from __future__ import annotations

import pytest
import torch

from fairlit.auditing.corrections import corrected_figures
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.metrics import AttributeDistribution
from fairlit.results.figures import CorrectedFigures, DistributionFigures

TARGET = TargetDistribution({"sign": {"a": 0.5, "b": 0.5}, "size": {"s": 0.25, "t": 0.75}})
SURE = torch.tensor([[1000, 0], [0, 1000]])
# Of 100 faces that are a it takes 10 for b, of 100 that are b none for a.
SLANTED = torch.tensor([[900, 100], [0, 1000]])


def figures_of(*counts: list[list[int]]) -> DistributionFigures:
    """Figures of prompts with so many faces of each sign and size, as `auditing.measure.measure` shapes them."""
    metric = AttributeDistribution(TARGET)
    for prompt, table in enumerate(counts):
        labels = [(i, j) for i in range(2) for j in range(2) for _ in range(table[i][j])]
        predictions = {
            name: torch.nn.functional.one_hot(torch.tensor([label[axis] for label in labels]), 2).float()
            for axis, name in enumerate(TARGET.attributes)
        }
        metric.update(torch.full((len(labels),), prompt), predictions, torch.arange(len(labels)))
    return metric.compute()


def corrected(figures: DistributionFigures, confusions: dict[str, torch.Tensor]) -> dict[str, CorrectedFigures]:
    found = corrected_figures(figures, TARGET, confusions)
    assert all(block.frequencies and block.tv and block.bias for block in found.values())
    return found


def test_correction_by_hand() -> None:
    figures = figures_of([[9, 9], [11, 11]], [[18, 0], [0, 2]])  # a: 18 of 40, and 18 of 20
    found = corrected(figures, {"sign": SLANTED})
    assert list(found) == ["sign"]  # neither size nor the joint classes were validated
    block = found["sign"]
    assert block.frequencies["a"].value == pytest.approx((18 / 40 / 0.9 + 18 / 20 / 0.9) / 2)  # 0.5 and 1
    assert block.tv.value == pytest.approx((0 + 0.5) / 2)
    assert block.bias.value == pytest.approx((0 + 1) / 2)
    for estimate in (block.tv, block.bias):
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1
    assert block.frequencies["a"].high == 1.0  # cut


def test_joint_classes_are_corrected_along_each_axis() -> None:
    figures = figures_of([[9, 9], [11, 11]], [[9, 9], [11, 11]])
    found = corrected(figures, {"sign": SLANTED, "size": SURE})
    assert list(found) == ["sign", "size", "joint_classes"]
    # Seen [[.225, .225], [.275, .275]]; of a nine tenths are seen: [[.25, .25], [.25, .25]].
    assert [share.value for share in found["joint_classes"].frequencies.values()] == pytest.approx([0.25] * 4)
    assert found["joint_classes"].tv.value == pytest.approx(0.25)  # the target is .125, .375, .125, .375
    sure = corrected(figures, {"sign": SURE, "size": SURE})
    assert sure["sign"].tv.value == pytest.approx(figures.attributes["sign"].tv.value)


def test_one_prompt_has_intervals_of_its_images() -> None:
    block = corrected(figures_of([[9, 9], [11, 11]]), {"sign": SLANTED})["sign"]
    assert block.frequencies["a"].value == pytest.approx(0.5)
    low, high = block.frequencies["a"].interval
    assert 0.25 < low < 0.4
    assert 0.6 < high < 0.75
    assert block.tv.low != block.tv.low


def test_what_cannot_be_corrected_says_why() -> None:
    figures = figures_of([[9, 9], [11, 11]], [[9, 9], [11, 11]])
    blind = torch.tensor([[500, 500], [500, 500]])
    assert "hardly told apart" in corrected_figures(figures, TARGET, {"sign": blind})["sign"].problem
    assert corrected_figures(figures, TARGET, {}) == {}


def test_very_many_classes_are_not_corrected() -> None:
    target = TargetDistribution({"hat": {str(number): 1 / 65 for number in range(65)}})
    metric = AttributeDistribution(target, draws=50)
    metric.update(torch.tensor([0, 1]), {"hat": torch.eye(65)[:2]})
    found = corrected_figures(metric.compute(), target, {"hat": 100 * torch.eye(65).long()})
    assert found["hat"] == CorrectedFigures(problem="corrections are made for 64 classes at most")
