"""A chart in all forms that a report needs, and how much a chart holds; drawing is in modules that need matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairlit.io.atomic import atomic_path
from fairlit.io.foreign_text import file_stem

FIGURES = "figures"
"""Folder of a report's charts."""

MAX_CHART_PROMPTS = 60
"""Prompts in a chart; of more, those that are furthest off."""


@dataclass(frozen=True)
class Chart:
    """A chart as files.

    Attributes:
        png: the wide form as PNG.
        svg: the wide form as SVG.
        narrow_svg: the form for phones as SVG.
    """

    png: bytes
    svg: bytes
    narrow_svg: bytes


def write_charts(out: Path, charts: Mapping[str, Chart]) -> None:
    """Write charts by their names as PNG and SVG below ``figures``."""
    for name, chart in charts.items():
        for form, content in (("png", chart.png), ("svg", chart.svg)):
            with atomic_path(out / FIGURES / f"{file_stem(name)}.{form}") as temporary:
                temporary.write_bytes(content)
