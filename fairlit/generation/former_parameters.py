"""Parameters of images as fairlit 0.1.0 wrote them, read as they are written now."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

_FORMER_KEYS = {"people": "num_people"}


def current_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an image with the names that they have now.

    Args:
        parameters: what an image carries.
    """
    current = {_FORMER_KEYS.get(key, key): value for key, value in parameters.items()}
    if isinstance(current.get("method"), Mapping):
        current["method"] = current_method(current["method"])
    return current


def current_method(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a method as `Method.describe` gives it now.

    Version 0.1.0 wrote the settings that were objects as their `str`, such as "FaceJudge(classifier='...')".

    Args:
        description: name and settings of a method.
    """
    current: dict[str, Any] = {}
    for key, value in description.items():
        reader = _FORMER_OBJECTS.get(key)
        arguments = _arguments(value) if reader is not None and isinstance(value, str) else None
        if reader is None or arguments is None:
            current["faces" if key == "people" else key] = value
        else:
            current |= reader(arguments)
    return current


def _judge(arguments: Mapping[str, Any]) -> dict[str, Any]:
    detection = {
        "min_size": arguments["min_face_size"],
        "scale": arguments["enlarge"],
        "min_score": arguments["min_score"],
        "batch_size": arguments["batch_size"],
    }
    return {"classifier": arguments["classifier"], "detection": detection, "detector": None}


def _editing(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"editing": {"min_side" if key == "least_side" else key: value for key, value in arguments.items()}}


_FORMER_OBJECTS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "judge": _judge,
    "guidance": dict,  # of semantic guidance, whose settings stand beside the others now
    "editing": _editing,
}


def _arguments(text: str) -> dict[str, Any] | None:
    """The arguments in the `repr` of a dataclass of plain data; None where it is none."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        return None
