from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from measured import measured_at, summary_of

from fairlit.pictures.chart_style import WIDE
from fairlit.pictures.operating_curves import curves_chart, draw_curves
from fairlit.results.run import RunSummary

SETTINGS = {"guidance_scale": 3.0, "evaluation_steps": 12, "min_guidance_scale": 1.0, "max_guidance_scale": 5.0}
BOTH = ("gender", "age")


def summary() -> RunSummary:
    """Two attributes, of which the target is uniform for one, over guidance scales and strengths."""
    points = [measured_at(scale, shares=(0.9, 0.7), attributes=BOTH) for scale in (1.1, 7.5)]
    points += [measured_at(3.0, strength=strength, attributes=BOTH) for strength in (0.0, 0.5)]
    return summary_of(points, SETTINGS, attributes=BOTH)


def test_every_attribute_has_a_panel_for_everything_that_differs() -> None:
    figure = curves_chart(summary())(WIDE)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        title for title in ("bias, gender", "distance to target, age", "distance to target, joint") for _ in range(2)
    ]
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["guidance scale", "strength of the adaptor"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["before", "after", "at best", "range in training"]


def test_points_lie_where_they_were_measured() -> None:
    """Bias of 0.9 to 0.1 is 0.8, of 0.7 to 0.3 is 0.4; the usual point has 1 and 0.2."""
    gender = curves_chart(summary())(WIDE).axes[0]
    before, after = (container.lines[0].get_xydata() for container in gender.containers)
    assert before[:, 1] == pytest.approx([0.8, 1.0, 0.8])
    assert after[:, 1] == pytest.approx([0.4, 0.2, 0.4])
    between = (before[:, 0] + after[:, 0]) / 2  # the two stand a little apart
    assert between == pytest.approx([1.1, 3.0, 7.5])
    reach = 7.5 - 1.1
    assert (after[:, 0] - before[:, 0] < 0.03 * reach).all()


def test_nothing_is_cut_off_and_no_texts_overlap() -> None:
    points = [*summary().operating_points, measured_at(3.0, steps=4, attributes=BOTH)]
    figure = curves_chart(summary_of(points, SETTINGS, attributes=BOTH))(WIDE)
    whole = figure.get_tightbbox()
    assert 0 <= whole.x0 < whole.x1 <= WIDE
    boxes = _texts(figure)
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_a_curve_without_intervals_or_faces_is_drawn() -> None:
    """One prompt has no interval, and no face no bias."""
    assert np.asarray(draw_curves(summary_of([measured_at(7.5)], SETTINGS))).std() > 0


def _texts(figure: Figure) -> list:
    figure.draw_without_rendering()
    shown = []
    for axes in figure.axes:
        low, high = sorted(axes.get_xlim())
        ticks = [label for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
                 if low <= place <= high]  # fmt: skip
        low, high = sorted(axes.get_ylim())
        ticks += [label for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
                  if low <= place <= high]  # fmt: skip
        shown += [*ticks, axes.title, axes._left_title, axes.xaxis.label]
    shown += figure.legends[0].get_texts()
    return [text.get_window_extent() for text in shown if text.get_text()]
