"""What an adaptor holds, whatever file it came from."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from fairlit.adaptors.files import AdaptorMetadata, adaptor_files, metadata_of, read_tensors
from fairlit.adaptors.formats import diffusers, published
from fairlit.adaptors.formats.low_rank import LowRankUpdates, by_component
from fairlit.adaptors.pipelines import kind_of
from fairlit.adaptors.soft_tokens import placeholder_tokens
from fairlit.errors import CheckpointError
from fairlit.faces.weights import read_state_dict


@dataclass(frozen=True)
class AdaptorContents:
    """A LoRA, soft tokens, or both.

    Attributes:
        record: what the adaptor says about the run that made it.
        updates: of the LoRA, by layer; empty without one.
        token: name of the first soft token; empty without soft tokens.
        rows: embeddings [K, D] of the soft tokens; None without.
        files: where all this was read.
    """

    record: AdaptorMetadata
    updates: LowRankUpdates = field(default_factory=dict)
    token: str = ""
    rows: Tensor | None = None
    files: tuple[Path, ...] = ()

    def lora_record(self) -> AdaptorMetadata:
        """Return the record of the LoRA: rank and alpha that most of its layers have, and the layers."""
        layers = {component: tuple(sorted(part)) for component, part in by_component(self.updates).items()}
        rank = Counter(update.rank for update in self.updates.values()).most_common(1)[0][0]
        alpha = Counter(update.alpha for update in self.updates.values()).most_common(1)[0][0]
        return dataclasses.replace(self.record, kind="lora", rank=rank, alpha=alpha, modules=layers, tokens=())

    def tokens_record(self) -> AdaptorMetadata:
        """Return the record of the soft tokens."""
        assert self.rows is not None
        tokens = placeholder_tokens(self.token, len(self.rows))
        return dataclasses.replace(self.record, kind="soft_tokens", rank=None, alpha=None, modules={}, tokens=tokens)

    def describe(self) -> str:
        """Return one line for people."""
        parts = []
        if self.updates:
            record = self.lora_record()
            where = " and ".join(component.replace("_", " ").replace("unet", "U-Net") for component in record.modules)
            parts.append(f"LoRA of {len(self.updates)} layers in {where}, rank {record.rank}, alpha {record.alpha:g}")
        if self.rows is not None:
            parts.append(f"{len(self.rows)} soft tokens '{self.token}'")
        return "; ".join(parts)


def read_adaptor(path: str | Path) -> AdaptorContents:
    """Read what a run or `save_adaptor` has written: a folder, or one of its files.

    Raises:
        CheckpointError: no adaptor there, or a damaged one.
    """
    contents = AdaptorContents(AdaptorMetadata(version=""))
    for file in adaptor_files(path):
        tensors, header = read_tensors(file)
        record = metadata_of(file, header)
        if kind_of(file, tensors) == "lora":
            updates = diffusers.read_lora(str(file), tensors, header)
            contents = dataclasses.replace(contents, updates=updates, record=record)
        else:
            ((token, rows),) = tensors.items()
            contents = dataclasses.replace(
                contents,
                token=token,
                rows=rows.reshape(-1, rows.shape[-1]),
                record=contents.record if contents.updates else record,
            )
        contents = dataclasses.replace(contents, files=(*contents.files, file))
    return contents


def read_published(
    paths: Sequence[str | Path], alpha: float | None = None, token: str = "<fair>", *, base_model: str = ""
) -> AdaptorContents:
    """Read weights that Shen et al. published: one file, or those of the parts that were trained together.

    Args:
        paths: ``.pth`` files with tensors; nothing in them is executed.
        alpha: of a LoRA; None: its rank, as in all published files.
        token: how the first soft token is to be called.
        base_model: what they were made for; empty: Stable Diffusion v1-5.

    Raises:
        CheckpointError: a file is missing, damaged or another one, or two hold the same layer.
    """
    updates: LowRankUpdates = {}
    rows = None
    for path in paths:
        found, found_rows = published.read_published(str(path), read_state_dict(Path(path)), alpha)
        for layer, update in found.items():
            if layer in updates:
                raise CheckpointError(
                    f"{path}: tensor '{update.origin.down}' is in {updates[layer].origin.source} too; give either file"
                )
        if rows is not None and found_rows is not None:
            raise CheckpointError(f"{path}: soft tokens were in another file too; give either file")
        updates.update(found)
        rows = found_rows if rows is None else rows
    return AdaptorContents(
        AdaptorMetadata(base_model=base_model or published.BASE_MODEL, version="", origin=published.ORIGIN),
        updates,
        token if rows is not None else "",
        rows,
        tuple(Path(path) for path in paths),
    )
