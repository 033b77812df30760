from __future__ import annotations

from dataclasses import replace

from measured import measured_at, summary_of

from fairlit.results.curves import operating_curves

SETTINGS = {"guidance_scale": 3.0, "evaluation_steps": 12, "min_guidance_scale": 1.0, "max_guidance_scale": 5.0}


def test_curves_are_of_points_that_differ_in_one_thing() -> None:
    """Of a range of one number, as of steps here, nothing is told."""
    points = (measured_at(7.5), measured_at(3.0, strength=0.0), measured_at(3.0, strength=1.5), measured_at(1.5))
    settings = SETTINGS | {"min_steps": 5, "max_steps": 5}
    guidance, strength, steps = operating_curves(summary_of((*points, measured_at(3.0, steps=4)), settings))
    assert (guidance.places, strength.places, steps.places) == ((1.5, 3.0, 7.5), (0.0, 1.0, 1.5), (4, 12))
    assert (guidance.trained, strength.trained, steps.trained) == ((1.0, 5.0), None, None)
    assert [point.strength for point in guidance.points] == [1.0] * 3
    assert [curve.title for curve in operating_curves(summary_of(points, settings))] == [guidance.title, strength.title]


def test_one_point_makes_no_curve() -> None:
    summary = summary_of((), SETTINGS)
    assert operating_curves(summary) == []
    assert operating_curves(replace(summary, operating_points=(measured_at(2.0, strength=0.5),))) == []
