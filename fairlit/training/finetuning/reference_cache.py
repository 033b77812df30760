"""What the losses need of reference images, kept on disk for noise that comes again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.io.atomic import atomic_path
from fairlit.io.digests import tensor_digest
from fairlit.io.finiteness import first_not_finite
from fairlit.training.finetuning.objective import ReferenceDescription

_FORMAT = 2  # raised when what is kept changes its meaning


class ReferenceCache:
    """Descriptions of reference images by (models, prompt, noise, number of steps), each in a safetensors file.

    A file that is damaged, or that belongs to another key, is treated as absent and written anew.

    Args:
        folder: folder, made when first written to; each set of models has a folder of its own in it.
        fingerprint: text of models and settings, see `fingerprint`.

    Attributes:
        found: number of descriptions that were read.
        missed: number of those that were not there.
        damaged: number of those that were there and could not be used.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder = Path(folder) / fingerprint[:16]
        self.fingerprint = fingerprint
        self.found = self.missed = self.damaged = 0

    @property
    def share_found(self) -> float:
        """Share of the descriptions asked for that were there."""
        return self.found / max(self.found + self.missed + self.damaged, 1)

    def load(self, key: Mapping[str, Any], device: torch.device) -> ReferenceDescription | None:
        """Return the description kept under a key, or None.

        Args:
            key: prompt, noise keys and number of steps, as plain data.
            device: device of its tensors.
        """
        path = self._path(key)
        if not path.is_file():
            self.missed += 1
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if metadata.get("key") != self._text(key) or metadata.get("checksum") != tensor_digest(tensors):
                raise ValueError("it belongs to another key, or its contents have changed")
            description = _unpack(tensors)
        except (SafetensorError, OSError, ValueError, KeyError):
            self.damaged += 1
            return None
        self.found += 1
        return _to(description, device)

    def save(self, key: Mapping[str, Any], description: ReferenceDescription) -> None:
        """Keep a description, unless NaN or infinity is in it, with which each step that recalls it is skipped."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _pack(description).items()}
        if first_not_finite(tensors) is not None:
            return
        with atomic_path(self._path(key)) as path:
            save_file(tensors, path, metadata={"key": self._text(key), "checksum": tensor_digest(tensors)})

    def _path(self, key: Mapping[str, Any]) -> Path:
        return self.folder / f"{hashlib.sha256(self._text(key).encode()).hexdigest()[:32]}.safetensors"

    def _text(self, key: Mapping[str, Any]) -> str:
        return json.dumps({"models": self.fingerprint, **key}, sort_keys=True)


def fingerprint(modules: Iterable[nn.Module], settings: Mapping[str, Any]) -> str:
    """Return a text that changes with any frozen weight and any setting.

    Args:
        modules: modules whose parameters without gradient and buffers count.
        settings: plain data.
    """
    digests = []
    for module in modules:
        frozen = {name: tensor for name, tensor in module.named_parameters() if not tensor.requires_grad}
        digests.append(tensor_digest(frozen | dict(module.named_buffers())))
    return hashlib.sha256(json.dumps([_FORMAT, dict(settings), digests], sort_keys=True).encode()).hexdigest()


def _pack(description: ReferenceDescription) -> dict[str, Tensor]:
    faces = description.observation.faces
    tensors = {
        "faces.image_index": faces.image_index,
        "faces.boxes": faces.boxes,
        "faces.scores": faces.scores,
        "faces.landmarks": faces.landmarks,
        "faces.num_images": torch.tensor(faces.num_images),
    }
    tensors |= {f"probabilities.{name}": rows for name, rows in description.observation.probabilities.items()}
    tensors |= {f"features.{name}": rows for name, rows in description.features.items()}
    if description.embeddings is not None:
        tensors["embeddings"] = description.embeddings
    return tensors


def _unpack(tensors: Mapping[str, Tensor]) -> ReferenceDescription:
    parts = {name: tensors[f"faces.{name}"] for name in ("image_index", "boxes", "scores", "landmarks")}
    faces = Faces(num_images=int(tensors["faces.num_images"]), **parts)
    observation = Observation(faces, _under("probabilities.", tensors))
    return ReferenceDescription(observation, _under("features.", tensors), tensors.get("embeddings"))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): rows for name, rows in tensors.items() if name.startswith(prefix)}


def _to(description: ReferenceDescription, device: torch.device) -> ReferenceDescription:
    embeddings = description.embeddings
    return ReferenceDescription(
        description.observation.to(device),
        {name: rows.to(device) for name, rows in description.features.items()},
        embeddings.to(device) if embeddings is not None else None,
    )
