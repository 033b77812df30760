"""The adaptor files: what stock diffusers opens, with fairlit's own record in the safetensors header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fairlit.adaptors.formats.peft import WEIGHTS_FILE as PEFT_FILE
from fairlit.adaptors.records import AdaptorMetadata as AdaptorMetadata
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError
from fairlit.io.atomic import atomic_path
from fairlit.io.digests import tensor_digest
from fairlit.io.foreign_text import is_sound

LORA_FILE = "pytorch_lora_weights.safetensors"  # what diffusers' load_lora_weights looks for in a folder
TOKENS_FILE = "learned_embeds.safetensors"  # what diffusers' load_textual_inversion looks for in a folder
LORA_CONFIG_KEY = "lora_adapter_metadata"  # where diffusers keeps rank and alpha
FAIRLIT_KEY = "fairlit"
DIGEST_KEY = "fairlit_digest"  # of the tensors, as `tensor_digest` names them
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write tensors, their digest and header strings atomically; equal content gives equal bytes.

    Args:
        path: the file to write.
        tensors: floating-point tensors of any shape, on any device.
        header: strings for the safetensors header.

    Raises:
        CheckpointError: a value is NaN or infinite, or a tensor holds integers; nothing is written then.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    check_values(path, stored)
    content = safetensors.torch.save(stored, metadata={"format": "pt", **header, DIGEST_KEY: tensor_digest(stored)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(_sorted_header(content))
    return path


def _sorted_header(content: bytes) -> bytes:
    """Put the header strings of a safetensors file in order: the library writes them in another one each run."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors to start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors (on the CPU) and header strings of a safetensors file.

    Raises:
        CheckpointError: the file is missing or damaged, holds NaN, infinities or integers, or other values than those
            whose digest its header tells.
    """
    if not is_sound(str(path)):  # safetensors 0.8 opens none of them
        raise CheckpointError(f"{path}: got a path that is not UTF-8; expected one that is; rename it")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; check the path of the adaptor") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}); it is damaged or of another format: save it again"
        ) from error
    check_values(path, tensors)
    if DIGEST_KEY in header and (found := tensor_digest(tensors)) != header[DIGEST_KEY]:
        raise CheckpointError(
            f"{path}: tensors: got digest {found}; expected {header[DIGEST_KEY]}, as its header tells: the tensors "
            f"were changed since they were saved; get the file again (or drop '{DIGEST_KEY}' from its header if the "
            "change was meant)"
        )
    return tensors, header


def check_values(source: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that cannot be an adaptor's.

    Args:
        source: file that they come from or go to, the beginning of messages.
        tensors: tensors by name.

    Raises:
        CheckpointError: a value is NaN or infinite, or a tensor holds integers or eight-bit numbers.
    """
    for name, tensor in tensors.items():
        # The strength alone is a whole number in files of some trainers.
        if tensor.dtype not in _DTYPES and not name.endswith(".alpha"):
            raise CheckpointError(
                f"{source}: tensor '{name}': got {str(tensor.dtype).removeprefix('torch.')}; expected float32, "
                "float16, bfloat16 or float64; save the adaptor again without quantisation"
            )
        if not bool(tensor.isfinite().all()):
            count = int((~tensor.isfinite()).sum())
            raise CheckpointError(
                f"{source}: tensor '{name}': got {count} of {tensor.numel()} values that are NaN or infinite; expected "
                "finite numbers; its training has diverged or the file is damaged: take an earlier one"
            )


def header_object(source: str | Path, header: Mapping[str, str], key: str) -> dict[str, Any]:
    """Return the JSON object that a header string holds; an empty one where there is no such string.

    Raises:
        CheckpointError: the string is not the JSON of an object.
    """
    try:
        found = json.loads(header.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: its '{key}' header is damaged ({error}); save the adaptor again") from error
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{source}: its '{key}' header is damaged (got {type(found).__name__}; expected an object); "
            "save the adaptor again"
        )
    return found


def adaptor_files(path: str | Path) -> list[Path]:
    """Return the adaptor files at `path`: the file itself, or those of the stock names in a folder.

    A folder of peft holds one file, or a folder for each part of the pipeline (``unet``, ``text_encoder``) with one.

    Raises:
        CheckpointError: there is none.
    """
    location = Path(path)
    if location.is_dir():
        found = [location / name for name in (LORA_FILE, TOKENS_FILE) if (location / name).is_file()]
        if not found:
            places = (location, *(location / part for part in ADAPTED_PARTS))
            found = [place / PEFT_FILE for place in places if (place / PEFT_FILE).is_file()]
        if not found:
            present = ", ".join(sorted(entry.name for entry in location.iterdir())) or "nothing"
            raise CheckpointError(
                f"{location}: no adaptor here: expected {LORA_FILE}, {TOKENS_FILE} or {PEFT_FILE}, "
                f"found {present}; "
                "give the folder that a run saved its adaptor to, or the file itself"
            )
        return found
    if not location.is_file():
        raise CheckpointError(f"{location}: no such file or folder; check the path of the adaptor")
    return [location]


def read_metadata(path: str | Path) -> AdaptorMetadata:
    """Return what the adaptor at `path` (a file or a folder) says about itself.

    Where a folder holds both kinds, the LoRA's record. A file that fairlit did not write gives an empty record.

    Raises:
        CheckpointError: no adaptor there, or a damaged one.
    """
    file = adaptor_files(path)[0]
    return metadata_of(file, read_tensors(file)[1])


def metadata_of(file: Path, header: Mapping[str, str]) -> AdaptorMetadata:
    """Return what the header strings of `file` say; an empty record where fairlit did not write it.

    Raises:
        CheckpointError: the record is damaged.
    """
    if FAIRLIT_KEY not in header:
        return AdaptorMetadata(version="")
    try:
        return AdaptorMetadata.from_json(header[FAIRLIT_KEY])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(
            f"{file}: its '{FAIRLIT_KEY}' header is damaged ({error}); save the adaptor again"
        ) from error
