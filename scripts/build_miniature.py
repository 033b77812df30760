"""Builds checkpoints/miniature: the drawn-face world's embedded models. Run again after an interruption: it resumes."""

from __future__ import annotations

import argparse
from pathlib import Path

from fairlit_miniature.build import build_miniature
from fairlit_miniature.recipe import FULL, LARGE, LARGE_QUICK, QUICK
from fairlit_miniature.stages import STAGES

RECIPES = {("small", False): FULL, ("small", True): QUICK, ("large", False): LARGE, ("large", True): LARGE_QUICK}
LARGE_OUT = Path("checkpoints/large")  # its finished stages; nothing uses them before all are there


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--world", choices=("small", "large"), default="small", help="the world whose occupations to draw"
    )
    parser.add_argument(
        "--stage", choices=STAGES, help="the only stage to build, after those before it; by default all"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder of the finished models; by default checkpoints/miniature, of the large world {LARGE_OUT}",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        help="folder of intermediate results; by default build/miniature or build/miniature_large",
    )
    parser.add_argument("--device", help="where to train; by default a GPU if there is one")
    parser.add_argument("--quick", action="store_true", help="a rough build in minutes, to try the builder itself")
    arguments = parser.parse_args()
    small = arguments.world == "small"
    build_miniature(
        RECIPES[arguments.world, arguments.quick],
        arguments.out or (Path("checkpoints/miniature") if small else LARGE_OUT),
        arguments.workdir or Path("build/miniature" if small else "build/miniature_large"),
        device=arguments.device,
        stage=arguments.stage,
    )


if __name__ == "__main__":
    main()
