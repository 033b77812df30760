"""Sizes of the differences from the published code: those that can be derived without a model."""

from __future__ import annotations

import pytest
from script_runs import load_script


def test_rows_that_can_be_derived() -> None:
    script = load_script("published_differences")
    left = dict(script.averages())
    # diffusers' EMAModel copies the weights at its first update; ours begins with decays 2/11, 3/12, ..., 11/20.
    expected = 1.0
    for update in range(1, 11):
        expected *= (1 + update) / (10 + update)
    assert float(left["share of the initial weights after 10 updates, fairlit"]) == pytest.approx(expected, rel=0.01)
    assert float(left["share of the initial weights after 10 updates, diffusers' EMAModel"]) == 0
    errors = dict(script.draws())
    assert float(errors["standard error of a confidence of 0.8, 100 draws"]) == 0.04
    # Seven outputs lie on sixteen columns and each reads two of them, none twice: 14 / 16; the same for rows.
    pixels = dict(script.resizing())
    assert float(pixels["pixels without gradient, antialias False"].rstrip("%")) == pytest.approx(
        100 * (1 - (7 / 8) ** 2), abs=0.1
    )
    assert pixels["pixels without gradient, antialias True"] == "0.0%"


def test_faces_that_are_unsure_lower_the_image_loss_only_if_they_count_as_changing() -> None:
    rows = dict(load_script("published_differences").unsure_faces(("gender",), 24, 2))
    change, keep = (
        float(rows[f"mean image loss factor, gender: `unsure: {reading}`"]) for reading in ("change", "keep")
    )
    assert 0 < float(rows["faces without a confident target, gender, 24 images"].rstrip("%")) < 100
    assert 0.2 <= change < keep <= 1
