"""Adaptors in and out of stock pipelines: load what fairlit saved, save what a pipeline carries."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from fairlit.adaptors.contents import AdaptorContents, read_adaptor
from fairlit.adaptors.files import (
    FAIRLIT_KEY,
    LORA_CONFIG_KEY,
    LORA_FILE,
    TOKENS_FILE,
    AdaptorMetadata,
    header_object,
    write_tensors,
)
from fairlit.adaptors.formats import diffusers
from fairlit.adaptors.formats.kohya import CLIP_KEYS
from fairlit.adaptors.formats.low_rank import LowRankUpdates, canonical_name, component_of, require_same
from fairlit.adaptors.formats.reading import read_lora
from fairlit.adaptors.peft_layers import living_updates
from fairlit.diffusion.families.lookup import FAMILIES, family_named
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.io.atomic import atomic_files

TOKENIZERS = {encoder: name for family in FAMILIES for encoder, name in family.tokenizers.items()}
"""Text encoders of a pipeline that soft tokens may be for, and the tokenizers that they read through."""

_Pipeline = TypeVar("_Pipeline", bound=DiffusionPipeline)


def load_adaptor(pipeline: _Pipeline, path: str | Path) -> _Pipeline:
    """Load a LoRA, soft tokens or both into a stock pipeline, by diffusers' own loaders.

    Everything is checked before the pipeline is touched. Soft tokens act where the prompt names them:
    ``pipeline("<fairlit> a photo of a doctor")``; `read_metadata` tells the token.

    Args:
        pipeline: the model that the adaptor was made for; it is changed in place.
        path: an adaptor file, or a folder that holds one under its stock name.

    Returns:
        The same pipeline.

    Raises:
        CheckpointError: no adaptor there, a damaged one, or one for another model: names the first tensor that does
            not fit, and both shapes.
    """
    load_contents(pipeline, read_adaptor(path, adaptable_layers(pipeline)))
    return pipeline


def load_contents(pipeline: DiffusionPipeline, contents: AdaptorContents) -> None:
    """Load what was read of an adaptor into a stock pipeline, see `load_adaptor`.

    Raises:
        CheckpointError: it was made for another model.
    """
    check_fit(contents, pipeline)
    with quiet_loaders():
        _load_lora(pipeline, contents.updates)
        load_tokens(pipeline, contents.token, contents.rows)


def load_tokens(pipeline: DiffusionPipeline, token: str, rows: Mapping[str, Tensor]) -> None:
    """Load soft tokens by diffusers' own loader, with a call for each text encoder.

    Args:
        pipeline: pipeline that does not know them yet.
        token: name of the first one.
        rows: text encoders by name, and rows [K, D] for each.
    """
    for encoder, tensor in rows.items():
        parts = {"text_encoder": getattr(pipeline, encoder), "tokenizer": getattr(pipeline, TOKENIZERS[encoder])}
        pipeline.load_textual_inversion(tensor, token=token, **parts)


def _load_lora(pipeline: DiffusionPipeline, updates: LowRankUpdates) -> None:
    """Load updates by diffusers' own loaders, and make sure that all of them have arrived."""
    for component in dict.fromkeys(component_of(layer) for layer in updates):
        part = {layer: update for layer, update in updates.items() if component_of(layer) == component}
        tensors, header = diffusers.write_lora(part)
        module = getattr(pipeline, component)
        shared = {"metadata": json.loads(header[LORA_CONFIG_KEY]), "low_cpu_mem_usage": True, "_pipeline": pipeline}
        if component == "unet":
            module.load_lora_adapter(tensors, prefix=component, **shared)
        else:
            # diffusers 0.42 knows the names of peft only where a layer of attention is among them.
            factors = {".lora_A.": ".lora_linear_layer.down.", ".lora_B.": ".lora_linear_layer.up."}
            for ours, its in factors.items():
                tensors = {name.replace(ours, its): tensor for name, tensor in tensors.items()}
            pipeline.load_lora_into_text_encoder(tensors, None, module, prefix=component, **shared)
        require_same(
            next(iter(part.values())).origin.source,
            living_updates(component, module, list(module.peft_config)[-1]),
            part,
        )


def save_adaptor(pipeline: DiffusionPipeline, path: str | Path, metadata: AdaptorMetadata | None = None) -> list[Path]:
    """Save the LoRA, the soft tokens or both that a pipeline carries, whoever loaded or trained them.

    Args:
        pipeline: a pipeline with an adaptor. A LoRA is saved at weight 1, whatever ``set_adapters`` has set.
        path: a folder, which gets files of the stock names; or a ``.safetensors`` file if there is one kind only.
        metadata: about the model; what the pipeline knows itself (rank, alpha, layers, tokens) is filled in.

    Returns:
        The files written.

    Raises:
        ConfigurationError: the pipeline carries no adaptor, or several of one kind.
    """
    record = metadata or AdaptorMetadata(base_model=str(pipeline.config.get("_name_or_path") or ""))
    if (family := family_named(type(pipeline).__name__)) is not None:
        record = dataclasses.replace(record, pipeline=family.pipelines[0])
    contents = [content for content in (_lora_content(pipeline, record), _tokens_content(pipeline, record)) if content]
    if not contents:
        raise ConfigurationError("save_adaptor: the pipeline carries neither a LoRA nor soft tokens; load one first")
    target = Path(path)
    if target.suffix == ".safetensors":
        if len(contents) > 1:
            raise ConfigurationError(
                f"save_adaptor: path is the file {target}, but the pipeline carries a LoRA and "
                "soft tokens; give a folder"
            )
        ((_, tensors, header),) = contents
        return [write_tensors(target, tensors, header)]
    names = [name for name, _, _ in contents]
    with atomic_files(target, names) as fresh:
        for name, tensors, header in contents:
            write_tensors(fresh / name, tensors, header)
    return [target / name for name in names]


_Content = tuple[str, dict[str, Tensor], dict[str, str]]  # stock file name, tensors, header


def _lora_content(pipeline: DiffusionPipeline, record: AdaptorMetadata) -> _Content | None:
    """Return what to write about the LoRA that the pipeline carries, None without one."""
    updates: LowRankUpdates = {}
    for component in pipeline_components(pipeline):
        module = getattr(pipeline, component)
        names = list(getattr(module, "peft_config", {}))
        if len(names) > 1:
            raise ConfigurationError(
                f"save_adaptor: the {component} carries several LoRAs ({', '.join(names)}); "
                "delete all but one (pipeline.delete_adapters)"
            )
        if names:
            updates.update(living_updates(component, module, names[0]))
    if not updates:
        return None
    tensors, header = diffusers.write_lora(updates)
    given_back = read_lora("save_adaptor", tensors, header_object("save_adaptor", header, LORA_CONFIG_KEY))
    require_same("save_adaptor", given_back, updates)
    return LORA_FILE, tensors, {FAIRLIT_KEY: AdaptorContents(record, updates).lora_record().to_json(), **header}


def _tokens_content(pipeline: DiffusionPipeline, record: AdaptorMetadata) -> _Content | None:
    """Return what to write about the soft tokens that the pipeline carries, None without any."""
    encoders = [name for name in TOKENIZERS if getattr(pipeline, name, None) is not None]
    known = {encoder: _added_tokens(getattr(pipeline, TOKENIZERS[encoder])) for encoder in encoders}
    if not any(known.values()):
        return None
    added, *others = known.values()
    names = sorted(added, key=lambda name: added[name])
    if any(set(other) != set(added) for other in others):
        raise ConfigurationError(
            "save_adaptor: the pipeline's tokenizers know different learned tokens; expected the same in both; load "
            "them for both text encoders"
        )
    heads = [name for name in names if re.sub(r"_\d+$", "", name) not in added or not re.search(r"_\d+$", name)]
    if len(heads) > 1:
        raise ConfigurationError(
            f"save_adaptor: the pipeline carries several learned tokens ({', '.join(heads)}); unload all but one "
            "(pipeline.unload_textual_inversion)"
        )
    rows = {
        encoder: _rows_of(getattr(pipeline, encoder), [known[encoder][name] for name in names]) for encoder in known
    }
    described = dataclasses.replace(record, kind="soft_tokens", tokens=tuple(names))
    return TOKENS_FILE, diffusers.write_tokens(heads[0], rows), {FAIRLIT_KEY: described.to_json()}


def _added_tokens(tokenizer: Any) -> dict[str, int]:
    """Return the tokens that were added to a tokenizer's vocabulary, and their numbers."""
    added, special = tokenizer.added_tokens_encoder, tokenizer.all_special_ids
    return {name: index for name, index in added.items() if index not in special}


@torch.no_grad()
def _rows_of(text_encoder: Any, ids: Sequence[int]) -> Tensor:
    """Return the rows [K, D] of some tokens in a text encoder's table."""
    embedding = text_encoder.get_input_embeddings()
    rows: Tensor = embedding(torch.tensor(list(ids), device=embedding.weight.device))
    return rows


def pipeline_components(pipeline: DiffusionPipeline) -> list[str]:
    """Return the names of the parts of `pipeline` that a LoRA may change."""
    return [name for name in ADAPTED_PARTS if getattr(pipeline, name, None) is not None]


def adaptable_layers(pipeline: DiffusionPipeline) -> dict[str, nn.Module]:
    """Return all layers that a LoRA could change, under their names in a diffusers LoRA file."""
    return {
        canonical_name(f"{component}.{name}"): layer
        for component in pipeline_components(pipeline)
        for name, layer in getattr(pipeline, component).named_modules()
    }


def check_fit(contents: AdaptorContents, pipeline: DiffusionPipeline) -> None:
    """Refuse an adaptor that was made for another model than `pipeline`.

    Args:
        contents: the adaptor.
        pipeline: whole, or a skeleton.

    Raises:
        CheckpointError: a tensor does not fit; the first one is named as its file names it, with both shapes.
    """
    layers = adaptable_layers(pipeline)
    for layer, update in contents.updates.items():
        source, down, up = update.origin
        check_factor(layers, source, down, layer_name=layer, tensor=update.down, is_down=True)
        check_factor(layers, source, up, layer_name=layer, tensor=update.up, is_down=False)
    if contents.rows:
        check_tokens(pipeline, str(contents.files[-1]), contents.token, rows=contents.rows)


def check_factor(
    layers: Mapping[str, nn.Module], source: str, name: str, *, layer_name: str, tensor: Tensor, is_down: bool
) -> None:
    """Refuse one factor of a layer's low-rank update that does not fit.

    Args:
        layers: of the pipeline, see `adaptable_layers`.
        source: the file, begins the message.
        name: of the tensor in it.
        layer_name: of the layer that it is for.
        tensor: [rank, in] or [out, rank].
        is_down: which of the two it is.

    Raises:
        CheckpointError: the pipeline has no such layer, or one of another size.
    """
    layer: Any = layers.get(layer_name)
    if layer is None:
        raise CheckpointError(
            f"{source}: tensor '{name}' of shape {list(tensor.shape)} has no place in the pipeline: it has no "
            f"layer '{layer_name}'; load it into the base model that it was made with"
        )
    base = layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer
    if isinstance(base, nn.Linear):
        needed = [tensor.shape[0], base.in_features] if is_down else [base.out_features, tensor.shape[1]]
    elif isinstance(base, nn.Conv2d):
        inputs = [tensor.shape[0], *base.weight.shape[1:]]
        needed = inputs if is_down else [base.out_channels, tensor.shape[1], 1, 1]
    else:
        raise CheckpointError(
            f"{source}: tensor '{name}': got an update of '{layer_name}', a {type(base).__name__}; expected a linear "
            "layer or a convolution; load it into the base model that it was made with"
        )
    if list(tensor.shape) != needed:
        raise CheckpointError(
            f"{source}: tensor '{name}' has shape {list(tensor.shape)}, the pipeline needs {needed}; load it "
            "into the base model that it was made with"
        )


def check_tokens(pipeline: DiffusionPipeline, source: str, token: str, *, rows: Mapping[str, Tensor]) -> None:
    """Refuse soft tokens that do not fit.

    Args:
        pipeline: what they are for.
        source: the file, begins the message.
        token: name of the first one.
        rows: text encoders by name, and rows [K, D] for each.

    Raises:
        CheckpointError: they are for other text encoders than the pipeline's, or of another width, or it knows their
            name already.
    """
    encoders = [name for name in TOKENIZERS if getattr(pipeline, name, None) is not None]
    if encoders != list(rows):
        raise CheckpointError(
            f"{source}: got soft tokens for {' and '.join(rows)}; expected some for {' and '.join(encoders)}, which "
            "the pipeline has; load them into the base model that they were made with"
        )
    for encoder, tensor in rows.items():
        width = getattr(pipeline, encoder).get_input_embeddings().weight.shape[-1]
        name = token if len(rows) == 1 else CLIP_KEYS[encoder]
        if tensor.shape[-1] != width:
            raise CheckpointError(
                f"{source}: tensor '{name}' has shape {list(tensor.shape)}, the pipeline needs {[len(tensor), width]}; "
                "load it into the base model that it was made with"
            )
        if token in getattr(pipeline, TOKENIZERS[encoder]).get_vocab():
            raise CheckpointError(
                f"{source}: the pipeline's tokenizer knows {token!r} already; unload it first "
                "(pipeline.unload_textual_inversion) or use a fresh pipeline"
            )


@contextmanager
def quiet_loaders() -> Iterator[None]:
    """Keep the loaders from warning about the part (text encoder or U-Net) that a LoRA does not have, and the like."""
    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
