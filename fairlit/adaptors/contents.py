"""What an adaptor holds, whatever file it came from."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fairlit.adaptors.files import (
    LORA_CONFIG_KEY,
    PEFT_FILE,
    AdaptorMetadata,
    adaptor_files,
    check_values,
    header_object,
    metadata_of,
    read_tensors,
)
from fairlit.adaptors.formats import kohya, peft, published
from fairlit.adaptors.formats.low_rank import LowRankUpdates, by_component, component_of, is_factor
from fairlit.adaptors.formats.reading import read_lora
from fairlit.adaptors.records import DEFAULT_TOKEN
from fairlit.adaptors.soft_tokens import LONGEST_TOKEN, is_token, placeholder_tokens
from fairlit.diffusion.families.family import Family
from fairlit.diffusion.families.lookup import FAMILIES, family_named
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError
from fairlit.faces.weights import read_state_dict
from fairlit.io.foreign_text import shortened


@dataclass(frozen=True)
class AdaptorContents:
    """A LoRA, soft tokens, or both.

    Attributes:
        record: what the adaptor says about the run that made it.
        updates: of the LoRA, by layer; empty without one.
        token: name of the first soft token; empty without soft tokens.
        rows: embeddings [K, D] of the soft tokens, for each text encoder by its name; empty without soft tokens.
        files: where all this was read.
    """

    record: AdaptorMetadata
    updates: LowRankUpdates = field(default_factory=dict)
    token: str = ""
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @property
    def family(self) -> Family:
        """The family of models that the adaptor is for: as its record says, else as its layers look."""
        second = "text_encoder_2" in {*map(component_of, self.updates), *self.rows}
        likely = next(family for family in FAMILIES if ("text_encoder_2" in family.parts) == second)
        return family_named(self.record.pipeline) or likely

    def lora_record(self) -> AdaptorMetadata:
        """Return the record of the LoRA: rank and alpha that most of its layers have, and the layers."""
        layers = {component: tuple(sorted(part)) for component, part in by_component(self.updates).items()}
        rank = Counter(update.rank for update in self.updates.values()).most_common(1)[0][0]
        alpha = Counter(update.alpha for update in self.updates.values()).most_common(1)[0][0]
        return dataclasses.replace(self.record, kind="lora", rank=rank, alpha=alpha, modules=layers, tokens=())

    @property
    def num_tokens(self) -> int:
        """Number of soft tokens."""
        return max(map(len, self.rows.values()), default=0)

    def tokens_record(self) -> AdaptorMetadata:
        """Return the record of the soft tokens."""
        tokens = placeholder_tokens(self.token, self.num_tokens)
        return dataclasses.replace(self.record, kind="soft_tokens", rank=None, alpha=None, modules={}, tokens=tokens)

    def at_rank(self) -> AdaptorContents:
        """Return the same adaptor with alphas that are the ranks, see `LowRank.at_rank`."""
        return dataclasses.replace(self, updates={name: update.at_rank() for name, update in self.updates.items()})

    def require_plain(self) -> None:
        """Refuse an update that is more than a LoRA.

        Raises:
            CheckpointError: it is a DoRA, or trained biases too.
        """
        for layer, update in self.updates.items():
            if update.magnitude is not None or update.bias is not None:
                kind = "a DoRA, which also scales the model's weights" if update.bias is None else "trained biases"
                raise CheckpointError(
                    f"{update.origin.source}: layer '{layer}': got {kind}; expected a LoRA; export and merge know no "
                    "other: load it with load_adaptor"
                )

    def describe(self) -> str:
        """Return one line for people."""
        parts = []
        if self.updates:
            record = self.lora_record()
            where = " and ".join(component.replace("_", " ").replace("unet", "U-Net") for component in record.modules)
            parts.append(f"LoRA of {len(self.updates)} layers in {where}, rank {record.rank}, alpha {record.alpha:g}")
        if self.rows:
            parts.append(f"{self.num_tokens} soft tokens {self.token!r}")
        return "; ".join(parts)


def read_adaptor(path: str | Path, layers: Collection[str] | None = None) -> AdaptorContents:
    """Read an adaptor: a folder, or one of its files, of diffusers, peft or kohya-ss' scripts.

    Args:
        path: what a run, `save_adaptor` or another program has written.
        layers: names of the base model's layers, which alone explain the names in kohya-ss' layout.

    Raises:
        CheckpointError: no adaptor there, a damaged one, or one that cannot be read whole.
    """
    contents = AdaptorContents(AdaptorMetadata(version=""))
    for file in adaptor_files(path):
        tensors, header = read_tensors(file)
        record = metadata_of(file, header)
        if kind_of(file, tensors) == "lora":
            component = file.parent.name if file.name == PEFT_FILE and file.parent.name in ADAPTED_PARTS else ""
            settings = _settings(file, header)
            updates = read_lora(str(file), tensors, settings, layers=layers, component=component)
            contents = dataclasses.replace(contents, updates={**contents.updates, **updates}, record=record)
        else:
            encoders = {key: encoder for encoder, key in kohya.CLIP_KEYS.items()}
            rows = {encoders.get(name, "text_encoder"): tensor for name, tensor in tensors.items()}
            contents = dataclasses.replace(
                contents,
                token=_token(file, next(iter(tensors)), record),
                rows={encoder: tensor.reshape(-1, tensor.shape[-1]) for encoder, tensor in sorted(rows.items())},
                record=contents.record if contents.updates else record,
            )
        contents = dataclasses.replace(contents, files=(*contents.files, file))
    return contents


def kind_of(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Return whether tensors are a ``lora`` or ``soft_tokens``.

    Raises:
        CheckpointError: they are neither.
    """
    single = len(tensors) == 1 and not any(map(is_factor, tensors))
    if tensors and (single or set(tensors) == set(kohya.CLIP_KEYS.values())):
        shapes = [rows.shape for rows in tensors.values()]
        if all(len(shape) in (1, 2) and shape.numel() > 0 for shape in shapes) and len({s[:-1] for s in shapes}) == 1:
            return "soft_tokens"
    if any(map(is_factor, tensors)):
        return "lora"
    raise CheckpointError(
        f"{file}: neither a LoRA nor soft tokens ({len(tensors)} tensors, first: {next(iter(tensors), 'none')!r}); "
        "give a file that save_adaptor or a fairlit run has written"
    )


def _settings(file: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """Return peft's settings of a LoRA: of the file's header, or of the file that lies beside it in a peft folder."""
    beside = file.with_name(peft.CONFIG_FILE)
    if file.name != PEFT_FILE or not beside.is_file():
        return header_object(file, header, LORA_CONFIG_KEY)
    try:
        text = beside.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{beside}: cannot be read ({error}); copy the folder again") from error
    settings = header_object(beside, {peft.CONFIG_FILE: text}, peft.CONFIG_FILE)
    if settings.get("peft_type", "LORA") != "LORA":
        raise CheckpointError(
            f"{beside}: peft_type: got {settings['peft_type']!r}; expected 'LORA'; merge it with peft"
        )
    return settings


def _token(file: Path, name: str, record: AdaptorMetadata) -> str:
    """Return the name of the first soft token; files of web user interfaces are called by it."""
    own = name not in (kohya.TOKENS_KEY, *kohya.CLIP_KEYS.values())
    stem = re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-")[:LONGEST_TOKEN]
    token = name if own else record.tokens[0] if record.tokens else f"<{stem}>"
    # Files of others, which stock diffusers opens, have names with spaces and capitals too.
    if not is_token(token) or (not own and (len(token) < 3 or token != token.lower() or " " in token)):
        kind, remedy = ("word", "save them under another name") if own else ("lower-case word", "rename the file")
        raise CheckpointError(
            f"{file}: name of the soft tokens: got {shortened(token)}; expected a {kind} that can be printed; {remedy}"
        )
    return token


def read_published(
    paths: Sequence[str | Path], alpha: float | None = None, token: str = DEFAULT_TOKEN, *, base_model: str = ""
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
        tensors = read_state_dict(Path(path))
        check_values(path, {name: tensor for name, tensor in tensors.items() if name != published.POSITIONS})
        found, found_rows = published.read_published(str(path), tensors, alpha)
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
        {} if rows is None else {"text_encoder": rows},
        tuple(Path(path) for path in paths),
    )
