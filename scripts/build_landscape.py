"""Builds checkpoints/landscape from checkpoints/miniature: pictures of one to three people. Resumes when run again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fairlit_miniature.landscape import FULL, QUICK, build_landscape


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--miniature", type=Path, default=Path("checkpoints/miniature"), help="where it starts from")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/landscape"), help="folder of the finished model")
    parser.add_argument("--workdir", type=Path, default=Path("build/landscape"), help="folder of intermediate results")
    parser.add_argument("--device", default="cpu", help="where to train")
    parser.add_argument("--quick", action="store_true", help="a rough build in minutes, to try the builder itself")
    arguments = parser.parse_args()
    recipe = QUICK if arguments.quick else FULL
    figures = build_landscape(
        recipe, arguments.miniature, arguments.out, workdir=arguments.workdir, device=arguments.device
    )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
