"""Weights of face networks out of files, refused where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.io.finiteness import first_not_finite
from fairlit.io.tensor_headers import quantised
from fairlit.io.torch_archives import read_archive

_FOREIGN = "they belong to another model; give those of this one"


def load_weights(module: nn.Module, path: Path, *, prefixes_to_drop: Sequence[str] = ()) -> None:
    """Copies the tensors of a safetensors or weights-only torch file into a module.

    Args:
        module: What the tensors are for.
        path: `.safetensors`, or a file that `torch.save` wrote with a state dict.
        prefixes_to_drop: Tensors whose name begins with one of these are left out.

    Raises:
        CheckpointError: The file is missing, damaged, or does not fit, or its numbers are not finite or were
            quantised to whole numbers; the first wrong tensor is named.
        ConfigurationError: The file holds something other than tensors by name.
    """
    tensors = read_state_dict(path)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(tuple(prefixes_to_drop))}
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise CheckpointError(f"weights {str(path)!r} lack {name!r}: {_FOREIGN}")
        if tensors[name].shape != tensor.shape:
            shapes = f"{list(tensors[name].shape)} where {list(tensor.shape)} is needed"
            raise CheckpointError(f"weights {str(path)!r} have {name!r} of shape {shapes}: {_FOREIGN}")
        if tensor.is_floating_point() and not _holds_numbers(tensors[name]):
            raise CheckpointError(f"weights {str(path)!r} have {quantised(name, tensors[name].dtype)}")
    if extra := sorted(set(tensors) - set(expected)):
        raise CheckpointError(f"weights {str(path)!r} have {extra[0]!r}, which the model lacks: {_FOREIGN}")
    module.load_state_dict(tensors)
    if (wrong := first_not_finite(module.state_dict())) is not None:
        raise CheckpointError(
            f"weights {str(path)!r} have NaN or infinity in {wrong!r}; expected finite numbers: "
            "copy them again from their source, or train again"
        )


def _holds_numbers(tensor: Tensor) -> bool:
    """Whether a tensor holds weights themselves: those in 8 bits or whole numbers wait for a scale."""
    return tensor.is_floating_point() and tensor.element_size() > 1


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, of a safetensors or weights-only torch file; nothing in it is executed.

    Args:
        path: `.safetensors`, or a file that `torch.save` wrote with a state dict.

    Raises:
        CheckpointError: The file is missing or damaged, or holds something other than data.
        ConfigurationError: The file holds something other than tensors by name.
    """
    if not path.is_file():
        raise CheckpointError(f"weights {str(path)!r} do not exist: give the file or folder that holds them")
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else read_archive(path)
    except (SafetensorError, CheckpointError, OSError) as error:
        raise CheckpointError(
            f"weights {str(path)!r} cannot be read ({error}): copy them again from their source"
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise ConfigurationError(f"weights {str(path)!r} are not a state dict: give a file of tensors by name")
    return tensors
