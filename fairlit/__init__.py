"""fairlit: finetune text-to-image diffusion models so that the people they draw follow a target distribution."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlit import functional
    from fairlit.adaptors import load_adaptor, save_adaptor
    from fairlit.functional import TargetDistribution

__all__ = ["TargetDistribution", "functional", "load_adaptor", "save_adaptor"]

_HOMES = {
    "TargetDistribution": "fairlit.functional",
    "load_adaptor": "fairlit.adaptors",
    "save_adaptor": "fairlit.adaptors",
}


def __getattr__(name: str) -> Any:
    """Imports public names when they are first used: diffusers takes seconds, and not everybody needs it."""
    if name == "functional":
        return import_module("fairlit.functional")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fairlit' has no attribute {name!r}")
