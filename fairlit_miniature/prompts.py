"""Writes the world's prompts as the command line reads them.

`python -m fairlit_miniature.prompts > configs/prompts/miniature.yaml` renews the file after a change of the world, and
`python -m fairlit_miniature.prompts large` prints the prompts of the large world.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import yaml  # type: ignore[import-untyped]

from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.subjects import Subject
from fairlit_miniature.world import prompt_families
from fairlit_miniature.worlds import WORLDS

HEADER = "# Prompts of the drawn-face world; written by `python -m fairlit_miniature.prompts`.\n"


def prompts_yaml(occupations: Sequence[Subject] = OCCUPATIONS) -> str:
    """Return the text of a prompt file of a world; of the small one's, configs/prompts/miniature.yaml."""
    return HEADER + yaml.safe_dump({"families": prompt_families(occupations)}, sort_keys=False, width=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", nargs="?", choices=WORLDS, default="small", help="whose prompts")
    print(prompts_yaml(WORLDS[parser.parse_args().world]), end="")
