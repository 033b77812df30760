"""A bank of embeddings of real faces: what a generated face should come close to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.embedding import FaceEmbedder
from fairlit.io.atomic import atomic_path
from fairlit.io.foreign_text import parsed

FORMAT = "1"
_MADE_WITH = "made_with"
SIMILARITIES_AT_ONCE = 2**24  # bounds the memory of a search


class FaceBank(nn.Module):
    """M embeddings, with the perceived attributes of their faces where these are known.

    Args:
        embeddings: float [M, D], M at least 1; normalised here.
        embedder_id: `FaceEmbedder.identifier` of what made them.
        classes: Class names of the attributes in `labels`.
        labels: int64 [M] for each attribute: class indices.

    Raises:
        ConfigurationError: The arguments do not fit each other.
    """

    embeddings: Tensor

    def __init__(
        self,
        embeddings: Tensor,
        embedder_id: str,
        classes: Mapping[str, Sequence[str]] | None = None,
        *,
        labels: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.embedder_id = embedder_id
        self.classes = {attribute: tuple(names) for attribute, names in (classes or {}).items()}
        labels = labels or {}
        with Problems("face bank") as problems:
            if embeddings.ndim != 2 or len(embeddings) == 0:
                problems.add(f"embeddings has shape {list(embeddings.shape)}: give [faces, width], one face at least")
            if set(labels) != set(self.classes):
                problems.add(
                    f"labels has {sorted(labels)}, classes has {sorted(self.classes)}: give the same attributes"
                )
            if not embeddings.is_floating_point():
                problems.add(f"embeddings has the type {embeddings.dtype}: give floating point numbers")
            elif not bool(embeddings.isfinite().all()):
                problems.add("embeddings has NaN or infinity: leave these faces out")
            for attribute, values in labels.items():
                if values.is_floating_point() or values.is_complex():
                    problems.add(f"labels of {attribute!r} has the type {values.dtype}: give whole numbers")
                count = len(self.classes.get(attribute, ()))
                if values.shape != embeddings.shape[:1] or not bool(((values >= 0) & (values < count)).all()):
                    problems.add(f"labels of {attribute!r} do not fit: give {len(embeddings)} indices below {count}")
        self.register_buffer("embeddings", functional.normalize(embeddings.float(), dim=-1), persistent=False)
        for index, attribute in enumerate(self.classes):
            self.register_buffer(f"labels_{index}", labels[attribute].long(), persistent=False)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def labels(self) -> dict[str, Tensor]:
        """int64 [M] for each attribute."""
        return {attribute: self.get_buffer(f"labels_{index}") for index, attribute in enumerate(self.classes)}

    def check_fits(self, embedder: FaceEmbedder) -> None:
        """Refuses a bank that another embedder made.

        Raises:
            ConfigurationError: The widths or the embedders differ.
        """
        if self.embeddings.shape[1] != embedder.dim or self.embedder_id != embedder.identifier:
            raise ConfigurationError(
                f"face bank was made by {self.embedder_id} (width {self.embeddings.shape[1]}), the embedder is "
                f"{embedder.identifier} (width {embedder.dim}): make the bank again with this embedder"
            )

    @torch.no_grad()
    def nearest(self, query: Tensor, wanted: Mapping[str, Tensor] | None = None) -> Tensor:
        """The entry with the largest cosine to each query.

        Args:
            query: float [F, D]; F may be 0.
            wanted: int64 [F] for some attributes: only entries with these classes count, unless there is none.

        Returns:
            [F, D] of length 1, on the device of `query`.

        Raises:
            ConfigurationError: `wanted` names an attribute that the bank does not know.
        """
        if unknown := sorted(set(wanted or {}) - set(self.classes)):
            raise ConfigurationError(f"wanted names {unknown}, the bank knows {sorted(self.classes)}: leave them out")
        bank = self.embeddings.to(query.device)
        rows = max(1, SIMILARITIES_AT_ONCE // len(bank))
        found = [bank[:0]]
        for start in range(0, len(query), rows):
            chosen = slice(start, start + rows)
            with torch.autocast(query.device.type, enabled=False):  # half precision would blur who is nearest
                similarity = functional.normalize(query[chosen].float(), dim=-1) @ bank.T
            allowed = torch.ones_like(similarity, dtype=torch.bool)
            for attribute, values in (wanted or {}).items():
                allowed &= values[chosen, None].to(query.device) == self.labels[attribute].to(query.device)
            allowed |= ~allowed.any(dim=1, keepdim=True)
            found.append(bank[similarity.masked_fill(~allowed, -torch.inf).argmax(dim=1)])
        return torch.cat(found).to(query.dtype)

    def save(self, path: str | Path, made_with: Mapping[str, str] | None = None) -> None:
        """Writes one safetensors file, atomically.

        Args:
            path: The file.
            made_with: What the bank was made with, for `read_made_with`.
        """
        tensors = {"embeddings": self.embeddings} | {f"labels.{name}": values for name, values in self.labels.items()}
        metadata = {"format": FORMAT, "embedder": self.embedder_id, "classes": json.dumps(self.classes)}
        metadata |= {} if made_with is None else {_MADE_WITH: json.dumps(dict(made_with))}
        with atomic_path(path) as temporary:
            save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)

    @classmethod
    def load(cls, path: str | Path, embedder: FaceEmbedder | None = None) -> FaceBank:
        """Reads a bank, and refuses it if `embedder` is given and did not make it.

        Raises:
            CheckpointError: The file is missing, damaged, or not a face bank.
            ConfigurationError: It was made by another embedder.
        """
        if not Path(path).is_file():
            raise CheckpointError(f"face bank {str(path)!r} does not exist: give the file that FaceBank.save wrote")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"face bank {str(path)!r} cannot be read ({error}): copy or make it again") from error
        if metadata.get("format") != FORMAT or "embeddings" not in tensors:
            raise CheckpointError(f"{str(path)!r} is not a face bank of format {FORMAT}: give what FaceBank.save wrote")
        classes = _read_classes(metadata.get("classes", ""))
        labels = {name.removeprefix("labels."): tensor for name, tensor in tensors.items() if name != "embeddings"}
        if classes is None or "embedder" not in metadata:
            raise CheckpointError(f"face bank {str(path)!r} has a damaged header: copy or make it again")
        try:
            bank = cls(tensors["embeddings"], metadata["embedder"], classes, labels=labels)
        except ConfigurationError as error:
            raise CheckpointError(f"{str(path)!r} is damaged: {error}; copy or make it again") from error
        if embedder is not None:
            bank.check_fits(embedder)
        return bank


def read_made_with(path: str | Path) -> dict[str, str] | None:
    """What a bank was made with; None where the file does not say, or is no bank."""
    try:
        with safe_open(path, framework="pt") as file:
            made_with = parsed((file.metadata() or {}).get(_MADE_WITH, ""))
    except (SafetensorError, OSError):
        return None
    return made_with if isinstance(made_with, dict) else None


def _read_classes(text: str) -> dict[str, list[str]] | None:
    """Class names of each attribute in a bank's header; None where they are damaged."""
    classes = parsed(text)
    if not isinstance(classes, dict):
        return None
    whole = all(isinstance(names, list) and all(isinstance(one, str) for one in names) for names in classes.values())
    return classes if whole else None
