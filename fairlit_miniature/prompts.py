"""Writes the world's prompts as the command line reads them.

`python -m fairlit_miniature.prompts > configs/prompts/miniature.yaml` renews the file after a change of the world.
"""

from __future__ import annotations

import yaml  # type: ignore[import-untyped]

from fairlit_miniature.world import prompt_families

HEADER = "# Prompts of the drawn-face world; written by `python -m fairlit_miniature.prompts`.\n"


def prompts_yaml() -> str:
    """Return the text of configs/prompts/miniature.yaml."""
    return HEADER + yaml.safe_dump({"families": prompt_families()}, sort_keys=False, width=120)


if __name__ == "__main__":
    print(prompts_yaml(), end="")
