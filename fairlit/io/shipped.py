"""Files that come with fairlit, found by the path that they have in its repository.

``configs/...`` is part of fairlit itself; ``checkpoints/...`` comes with the example models, the distribution
`fairlit-miniature`. What exists in the current folder goes first, so a checkout uses its own files.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

EXAMPLES = "fairlit-miniature"
"""Name of the distribution with the example models."""

_OWNERS = {"configs": "fairlit", "checkpoints": "fairlit_miniature"}
_EXAMPLE_MODELS = ("miniature", "landscape")


def shipped_folder(name: str) -> Path | None:
    """Return the folder `configs` or `checkpoints` that is installed; None where it is not.

    An installed distribution has it inside of its package, a checkout beside it.
    """
    package = _package_folder(_OWNERS[name])
    if package is None:
        return None
    return next((folder for folder in (package / name, package.parent / name) if folder.is_dir()), None)


def locate(path: str) -> str:
    """Return where a file or folder lies: the path itself, or the installed file that it names.

    Args:
        path: path that may begin with ``configs/`` or ``checkpoints/``; any other text is returned as it is.

    Returns:
        An absolute path, if nothing exists at `path` and something that is installed has this path in the repository.

    Example:
        >>> locate("laion/CLIP-ViT-H-14")
        'laion/CLIP-ViT-H-14'
    """
    top, _, rest = path.partition("/")
    if top not in _OWNERS or not rest or "\n" in path or Path(path).exists():
        return path
    folder = shipped_folder(top)
    if folder is None or ".." in Path(rest).parts or not (folder / rest).exists():
        return path
    return str(folder / rest)


def is_missing_example(path: str) -> bool:
    """Whether a path names an example model that is neither in the current folder nor installed."""
    parts = path.split("/")
    named = len(parts) > 1 and parts[0] == "checkpoints" and parts[1] in _EXAMPLE_MODELS
    return named and shipped_folder("checkpoints") is None and not Path(*parts[:2]).exists()


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)  # of a package at the top: nothing is imported
    places = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(places))).resolve() if places else None
