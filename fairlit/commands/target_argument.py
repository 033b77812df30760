"""The argument ``--target``."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution


def add_target_argument(parser: ArgumentParser, purpose: str) -> None:
    """Adds ``--target``, optional."""
    explained = f"{purpose}: a YAML file, or shares as '{{gender: {{female: 0.5, male: 0.5}}}}'"
    parser.add_argument("--target", type=str | dict | None, help=explained)


def read_target(given: Namespace, problems: Problems) -> TargetDistribution | None:
    """The target, None where none was given or it is wrong; notes what is wrong."""
    if given.target is not None:
        with problems.collecting():
            return TargetDistribution.read(given.target)
    return None
