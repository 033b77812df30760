"""The public surface, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import fairlit

ROOT = Path(__file__).parents[1]


def test_the_names_that_users_may_rely_on() -> None:
    assert fairlit.TargetDistribution({"a": {"x": 0.5, "y": 0.5}}).attributes == ("a",)
    for name in ("assign_targets", "solver_coefficients", "step_weights", "pairwise_bias", "noise_floor"):
        assert callable(getattr(fairlit.functional, name))
    assert callable(fairlit.load_adaptor)
    assert callable(fairlit.save_adaptor)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fairlit.nonsense


def test_the_mathematics_is_light() -> None:
    """Using the functions on tensors loads neither diffusers nor Lightning."""
    code = (
        "import sys, fairlit; fairlit.functional.noise_floor([0.5, 0.5], 60); "
        "print([name for name in ('diffusers', 'lightning', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_figure_of_the_readme_example_is_true() -> None:
    assert round(fairlit.functional.noise_floor([0.5, 0.5], 60), 3) == 0.103


def test_constraints_cover_the_dependencies() -> None:
    """The tested set names every direct dependency, those of the extras too."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    wanted = [*project["dependencies"], *(one for one in extras if not one.startswith("fairlit["))]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    for requirement in wanted:
        name = requirement.split("[")[0].split(">")[0].split("=")[0].strip().lower().replace("_", "-")
        assert name in pinned, name


def test_citation_and_package_agree_on_the_version() -> None:
    import tomllib

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
