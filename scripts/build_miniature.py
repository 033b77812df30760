"""Builds checkpoints/miniature: the drawn-face world's embedded models. Run again after an interruption: it resumes."""

from __future__ import annotations

import argparse
from pathlib import Path

from fairlit_miniature.build import build_miniature
from fairlit_miniature.recipe import FULL, QUICK
from fairlit_miniature.stages import STAGES


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--stage", choices=STAGES, help="the only stage to build, after those before it; by default all"
    )
    parser.add_argument("--out", type=Path, default=Path("checkpoints/miniature"), help="folder of the finished models")
    parser.add_argument("--workdir", type=Path, default=Path("build/miniature"), help="folder of intermediate results")
    parser.add_argument("--device", help="where to train; by default a GPU if there is one")
    parser.add_argument("--quick", action="store_true", help="a rough build in minutes, to try the builder itself")
    arguments = parser.parse_args()
    build_miniature(
        QUICK if arguments.quick else FULL,
        arguments.out,
        arguments.workdir,
        device=arguments.device,
        stage=arguments.stage,
    )


if __name__ == "__main__":
    main()
