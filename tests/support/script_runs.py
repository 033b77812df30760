"""Runs of the command-line helpers in scripts/, in this process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run_script(name: str, *arguments: str | Path) -> None:
    """``python scripts/NAME.py ARGUMENTS``."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the types of their fields
    if str(SCRIPTS) not in sys.path:  # as when run: scripts may import one another
        sys.path.insert(0, str(SCRIPTS))
    spec.loader.exec_module(module)
    module.main([str(argument) for argument in arguments])
