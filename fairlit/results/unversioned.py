"""Files of fairlit 0.1.0, which carry no version, with the keys of version 1.

``joint`` has become ``joint_classes``; ``standing`` of an audit, with its values ``off``, ``within`` and ``open``, has
become ``outcome``; ``people`` of a judge has become ``faces``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlit.results.figures import JOINT

_JOINT = "joint"
_OUTCOMES = {"off": "off_target", "within": "on_target", "open": "inconclusive"}


def renamed_joint(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object whose key ``joint`` is ``joint_classes``."""
    return {JOINT if name == _JOINT else name: value for name, value in content.items()}


def renamed_outcome(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object whose key ``standing`` is ``outcome``, with today's values."""
    current = dict(content)
    if "standing" in current:
        standing = current.pop("standing")
        current["outcome"] = _OUTCOMES.get(standing, standing)
    return current


def current_judge(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a judge with today's keys."""
    current = dict(content)
    current["faces"] = current.pop("people", "largest")
    return current


def current_figures(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures of images with today's keys."""
    current = _with_current_blocks(content)
    if "per_prompt" in current:
        current["per_prompt"] = [_with_current_blocks(entry) for entry in current["per_prompt"]]
    return current


def _with_current_blocks(content: Mapping[str, Any]) -> dict[str, Any]:
    current = renamed_joint(content)
    if "attributes" in current:
        current["attributes"] = {name: _current_block(block) for name, block in current["attributes"].items()}
    if current.get(JOINT) is not None:
        current[JOINT] = _current_block(current[JOINT])
    return current


def _current_block(block: Mapping[str, Any]) -> dict[str, Any]:
    current = renamed_outcome(block)
    for old, new in _OUTCOMES.items():
        if f"prompts_{old}" in current:
            current[f"prompts_{new}"] = current.pop(f"prompts_{old}")
    return current
