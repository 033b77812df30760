"""Adaptors in and out of stock pipelines: load what fairlit saved, save what a pipeline carries."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from fairlit.adaptors.files import (
    FAIRLIT_KEY,
    LORA_FILE,
    TOKENS_FILE,
    AdaptorMetadata,
    adaptor_files,
    read_tensors,
    write_tensors,
)
from fairlit.adaptors.lora import canonical_name, lora_header, lora_parameters
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError, ConfigurationError


def load_adaptor(pipeline: StableDiffusionPipeline, path: str | Path) -> StableDiffusionPipeline:
    """Load a LoRA, soft tokens or both into a stock pipeline, by diffusers' own loaders.

    Everything is checked before the pipeline is touched. Soft tokens act where the prompt names them:
    ``pipeline("<fair> a photo of a doctor")``; `read_metadata` tells the token.

    Args:
        pipeline: the model that the adaptor was made for; it is changed in place.
        path: an adaptor file, or a folder that holds one under its stock name.

    Returns:
        The same pipeline.

    Raises:
        CheckpointError: no adaptor there, a damaged one, or one for another model: names the first tensor that does
            not fit, and both shapes.
    """
    files = adaptor_files(path)
    kinds = [_check_file(pipeline, file) for file in files]
    for file, kind in zip(files, kinds, strict=True):
        with quiet_loaders():
            if kind == "lora":
                pipeline.load_lora_weights(str(file.parent), weight_name=file.name, local_files_only=True)
            else:
                pipeline.load_textual_inversion(str(file.parent), weight_name=file.name, local_files_only=True)
    return pipeline


def save_adaptor(
    pipeline: StableDiffusionPipeline, path: str | Path, metadata: AdaptorMetadata | None = None
) -> list[Path]:
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
        names = [target]
    else:
        names = [target / name for name, _, _ in contents]
    return [write_tensors(file, tensors, header) for file, (_, tensors, header) in zip(names, contents, strict=True)]


_Content = tuple[str, dict[str, Tensor], dict[str, str]]  # stock file name, tensors, header


def _lora_content(pipeline: StableDiffusionPipeline, record: AdaptorMetadata) -> _Content | None:
    """Return what to write about the LoRA that the pipeline carries, None without one."""
    adapters: dict[str, tuple[Any, str]] = {}
    for component in pipeline_components(pipeline):
        module = getattr(pipeline, component)
        names = list(getattr(module, "peft_config", {}))
        if len(names) > 1:
            raise ConfigurationError(
                f"save_adaptor: the {component} carries several LoRAs ({', '.join(names)}); "
                "delete all but one (pipeline.delete_adapters)"
            )
        if names:
            adapters[component] = (module, names[0])
    if not adapters:
        return None
    tensors: dict[str, Tensor] = {}
    for component, (module, name) in adapters.items():
        tensors.update(lora_parameters(component, module, name))
    configs = {component: module.peft_config[name] for component, (module, name) in adapters.items()}
    first = next(iter(configs.values()))
    layers = {
        component: tuple(sorted({name.split(".lora_")[0] for name in tensors if name.startswith(f"{component}.")}))
        for component in adapters
    }
    described = dataclasses.replace(record, kind="lora", rank=first.r, alpha=float(first.lora_alpha), modules=layers)
    return LORA_FILE, tensors, {FAIRLIT_KEY: described.to_json(), **lora_header(adapters)}


def _tokens_content(pipeline: StableDiffusionPipeline, record: AdaptorMetadata) -> _Content | None:
    """Return what to write about the soft tokens that the pipeline carries, None without any."""
    tokenizer = pipeline.tokenizer
    added = {
        name: index for name, index in tokenizer.added_tokens_encoder.items() if index not in tokenizer.all_special_ids
    }
    if not added:
        return None
    names = sorted(added, key=lambda name: added[name])
    heads = [name for name in names if re.sub(r"_\d+$", "", name) not in added or not re.search(r"_\d+$", name)]
    if len(heads) > 1:
        raise ConfigurationError(
            f"save_adaptor: the pipeline carries several learned tokens ({', '.join(heads)}); unload all but one "
            "(pipeline.unload_textual_inversion)"
        )
    embedding = pipeline.text_encoder.get_input_embeddings()
    ids = torch.tensor([added[name] for name in names], device=embedding.weight.device)
    with torch.no_grad():
        rows = embedding(ids)
    described = dataclasses.replace(record, kind="soft_tokens", tokens=tuple(names))
    return TOKENS_FILE, {heads[0]: rows}, {FAIRLIT_KEY: described.to_json()}


def kind_of(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Return whether tensors are a ``lora`` or ``soft_tokens``.

    Raises:
        CheckpointError: they are neither.
    """
    if tensors and all("lora" in name for name in tensors):
        return "lora"
    if len(tensors) == 1 and next(iter(tensors.values())).ndim in (1, 2):
        return "soft_tokens"
    raise CheckpointError(
        f"{file}: neither a LoRA nor soft tokens ({len(tensors)} tensors, first: {next(iter(tensors), 'none')!r}); "
        "give a file that save_adaptor or a fairlit run has written"
    )


def _check_file(pipeline: StableDiffusionPipeline, file: Path) -> str:
    """Return whether `file` is a ``lora`` or holds ``soft_tokens``, once it is sure to fit the pipeline."""
    tensors, _ = read_tensors(file)
    kind = kind_of(file, tensors)
    if kind == "soft_tokens":
        token, rows = next(iter(tensors.items()))
        check_tokens(pipeline, str(file), token, rows=rows)
        return kind
    layers = adaptable_layers(pipeline)
    for raw_name, tensor in tensors.items():
        layer_name, _, part = canonical_name(raw_name).partition(".lora_")
        if part in ("A.weight", "B.weight"):  # else another tool's layout, which diffusers converts
            check_factor(layers, str(file), raw_name, layer_name=layer_name, tensor=tensor, is_down=part == "A.weight")
    return kind


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
    if not isinstance(base, nn.Linear):
        return
    needed = [tensor.shape[0], base.in_features] if is_down else [base.out_features, tensor.shape[-1]]
    if list(tensor.shape) != needed:
        raise CheckpointError(
            f"{source}: tensor '{name}' has shape {list(tensor.shape)}, the pipeline needs {needed}; load it "
            "into the base model that it was made with"
        )


def check_tokens(pipeline: DiffusionPipeline, source: str, token: str, *, rows: Tensor) -> None:
    """Refuse soft tokens that do not fit.

    Args:
        pipeline: what they are for.
        source: the file, begins the message.
        token: name of the first one.
        rows: [K, D], or [D] for one.

    Raises:
        CheckpointError: they are of another width than the pipeline's, or it knows their name already.
    """
    width = pipeline.text_encoder.get_input_embeddings().weight.shape[-1]
    if rows.shape[-1] != width:
        needed = [*rows.shape[:-1], width]
        raise CheckpointError(
            f"{source}: tensor '{token}' has shape {list(rows.shape)}, the pipeline needs {needed}; load it into the "
            "base model that it was made with"
        )
    if token in pipeline.tokenizer.get_vocab():
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
