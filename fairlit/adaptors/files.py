"""The adaptor files: what stock diffusers opens, with fairlit's own record in the safetensors header."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fairlit.errors import CheckpointError
from fairlit.io.atomic import atomic_path
from fairlit.io.digests import fairlit_version

LORA_FILE = "pytorch_lora_weights.safetensors"  # what diffusers' load_lora_weights looks for in a folder
TOKENS_FILE = "learned_embeds.safetensors"  # what diffusers' load_textual_inversion looks for in a folder
LORA_CONFIG_KEY = "lora_adapter_metadata"  # where diffusers keeps rank and alpha
FAIRLIT_KEY = "fairlit"


@dataclass(frozen=True)
class AdaptorMetadata:
    """What an adaptor file says about itself, kept as JSON in its safetensors header.

    A caller fills in the first four fields; the adaptor adds the rest when it saves.

    Attributes:
        base_model: folder or hub id of the model that was finetuned.
        attributes: perceived attributes and their classes, in order.
        targets: the target distribution, as `TargetDistribution.to_dict` gives it.
        config_hash: digest of the config of the run.
        kind: ``lora`` or ``soft_tokens``.
        rank: rank of the low-rank update.
        alpha: the update is multiplied by ``alpha / rank``.
        modules: names of the adapted layers, for each of ``text_encoder`` and ``unet``.
        tokens: placeholder tokens, the first of which stands for all of them in a stock pipeline's prompt.
        version: version of fairlit that trained it; empty: another program.
        origin: who trained it, where it was another program and that is known.

    Example:
        >>> record = AdaptorMetadata(base_model="runs/base", attributes={"age": ("young", "old")})
        >>> AdaptorMetadata.from_json(record.to_json()) == record
        True
    """

    base_model: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    kind: str = ""
    rank: int | None = None
    alpha: float | None = None
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    version: str = field(default_factory=fairlit_version)
    origin: str = ""

    def to_json(self) -> str:
        """Return one line of JSON; equal records give equal text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AdaptorMetadata:
        """Return what `to_json` wrote; fields that a newer version may have added are passed over."""
        known = {item.name for item in dataclasses.fields(cls)}
        values = {name: value for name, value in json.loads(text).items() if name in known}
        for name in ("attributes", "modules"):
            values[name] = {key: tuple(entries) for key, entries in values.get(name, {}).items()}
        values["tokens"] = tuple(values.get("tokens", ()))
        return cls(**values)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write tensors and header strings atomically; equal content gives equal bytes.

    Args:
        path: the file to write.
        tensors: any shape, dtype and device.
        header: strings for the safetensors header.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(stored, metadata={"format": "pt", **header})
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
        CheckpointError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; check the path of the adaptor") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}); it is damaged or of another format: save it again"
        ) from error


def adaptor_files(path: str | Path) -> list[Path]:
    """Return the adaptor files at `path`: the file itself, or those of the stock names in a folder.

    Raises:
        CheckpointError: there is none.
    """
    location = Path(path)
    if location.is_dir():
        found = [location / name for name in (LORA_FILE, TOKENS_FILE) if (location / name).is_file()]
        if not found:
            present = ", ".join(sorted(entry.name for entry in location.iterdir())) or "nothing"
            raise CheckpointError(
                f"{location}: no adaptor here: expected {LORA_FILE} or {TOKENS_FILE}, found {present}; "
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
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: its '{FAIRLIT_KEY}' header is damaged ({error}); save the adaptor again"
        ) from error
