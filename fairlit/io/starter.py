"""A folder to start from: configs, prompts and a README."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fairlit.errors import Problems
from fairlit.io.atomic import atomic_folder, atomic_write_text
from fairlit.io.model_folders import check_new_folder
from fairlit.io.shipped import EXAMPLES, shipped_folder

_OWN_MODEL = {
    "finetune.yaml": "starter/finetune.yaml",
    "prompts.yaml": "starter/prompts.yaml",
    "audit.yaml": "starter/audit.yaml",
    "README.md": "starter/README.md",
}
_EXAMPLE = {
    "finetune.yaml": "demo.yaml",
    "prompts.yaml": "prompts/miniature.yaml",
    "audit.yaml": "audit/demo.yaml",
    "README.md": "starter/example.md",
}
_EXAMPLE_PATHS = {
    "configs/prompts/miniature.yaml": "prompts.yaml",
    "runs/audit/demo": "runs/audit",
    "runs/demo": "runs/finetune",
}


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """Settings of `fairlit init`; see `write_starter`.

    Args:
        folder: folder to write; must be new or empty
        example: start from the example models, ready to run, instead of a model of your own
    """

    heading: ClassVar[str] = "Folder"

    folder: str | None = None
    example: bool = False


def write_starter(config: InitConfig) -> list[Path]:
    """Write configs to finetune and audit with, prompts and a README, all at once or not at all.

    Args:
        config: settings.

    Returns:
        The files.

    Raises:
        ConfigurationError: the folder holds something already, or the example models are not installed.
    """
    configs = shipped_folder("configs")
    with Problems("init") as problems:
        if config.folder is None:
            problems.add("folder: got nothing; give the folder to write")
        else:
            check_new_folder(config.folder, "folder", problems)
        if config.example and shipped_folder("checkpoints") is None:
            problems.add(f"example: got no example models; expected them installed; run `pip install {EXAMPLES}`")
        if configs is None:
            problems.add("configs: got none beside the package; expected those of fairlit; install it again")
    assert configs is not None
    assert config.folder is not None
    files, paths = (_EXAMPLE, _EXAMPLE_PATHS) if config.example else (_OWN_MODEL, {})
    with atomic_folder(config.folder) as folder:
        for name, source in files.items():
            atomic_write_text(folder / name, _with_paths((configs / source).read_text(encoding="utf-8"), paths))
    return [Path(config.folder, name) for name in files]


def _with_paths(text: str, paths: Mapping[str, str]) -> str:
    for old, new in paths.items():
        text = text.replace(old, new)
    return text
