"""Devices that models run on."""

from __future__ import annotations

from fairlit.errors import Problems


def choose_device(name: str, problems: Problems) -> str:
    """Return a device that is there, and note one that is not.

    Args:
        name: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.
        problems: where messages go.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        problems.add(f"device: got {name!r}, which cannot be used here ({reason}); give auto or cpu")
    return name
