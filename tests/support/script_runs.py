"""Runs of the scripts in benchmarks/ and scripts/, in this process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import yaml

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "benchmarks", ROOT / "scripts")


def load_script(name: str) -> ModuleType:
    """The module of ``NAME.py``, found in `FOLDERS` and executed anew."""
    path = next(path for folder in FOLDERS if (path := folder / f"{name}.py").is_file())
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the types of their fields
    if str(path.parent) not in sys.path:  # as when run: scripts may import one another
        sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    return module


def demo_of_few_images(folder: Path, images: int) -> list[str]:
    """Options by which a script trains as in the guided demo, on `images` images a step."""
    overlay = folder / "few_images.yaml"
    overlay.write_text(yaml.safe_dump({"data": {"init_args": {"images_per_prompt": images}}}))
    configs = ["configs/demo.yaml", "configs/demo/guided.yaml", str(overlay)]
    return [option for path in configs for option in ("--config", path)]


def run_script(name: str, *arguments: str | Path) -> None:
    """``python FOLDER/NAME.py ARGUMENTS``."""
    load_script(name).main([str(argument) for argument in arguments])
