"""Adaptors in the files of other tools; what is written is read back first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from diffusers import DiffusionPipeline
from peft import PeftModel
from torch import Tensor, nn

from fairlit.adaptors.contents import AdaptorContents
from fairlit.adaptors.files import FAIRLIT_KEY, LORA_FILE, TOKENS_FILE, read_tensors, write_tensors
from fairlit.adaptors.formats import diffusers, kohya, peft
from fairlit.adaptors.peft_layers import lora_layers
from fairlit.adaptors.pipelines import TOKENIZERS, load_tokens, pipeline_components, quiet_loaders
from fairlit.adaptors.records import DEFAULT_TOKEN, FORMER_TOKEN
from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.io.atomic import atomic_write_text

Format = Literal["diffusers", "peft", "kohya"]
FORMATS: tuple[Format, ...] = get_args(Format)


def check_format(contents: AdaptorContents, format_: Format) -> None:
    """Refuses what a format cannot hold.

    Raises:
        ConfigurationError: peft has no files for soft tokens of a text encoder.
    """
    if format_ == "peft" and contents.rows:
        raise ConfigurationError(
            f"to: peft has no file for soft tokens ('{contents.token}'); take diffusers or kohya, or give the LoRA file"
        )


def write_adaptor(
    contents: AdaptorContents, format_: Format, folder: Path, *, name: str, sdxl: bool = False
) -> list[Path]:
    """Writes an adaptor in one of the formats.

    Args:
        contents: of the adaptor.
        format_: ``diffusers``: files that `load_lora_weights` and `load_textual_inversion` find in the folder, with
            alphas that are the ranks, since other readers of this layout pass over the alpha in its header;
            ``peft``: a folder for each part of the pipeline, as `PeftModel.from_pretrained` opens them; ``kohya``:
            files for the LoRA and embedding folders of ComfyUI and AUTOMATIC1111's web UI.
        folder: where to.
        name: of a kohya LoRA, which those interfaces show to their users.
        sdxl: whether the base model is of the Stable Diffusion XL family, whose kohya names differ.

    Returns:
        The files written.

    Raises:
        ConfigurationError: the format has no file for soft tokens.
    """
    check_format(contents, format_)
    files = []
    if contents.updates:
        record = {FAIRLIT_KEY: contents.lora_record().to_json()}
        if format_ == "diffusers":
            folded = contents.at_rank()
            record = {FAIRLIT_KEY: folded.lora_record().to_json()}
            tensors, header = diffusers.write_lora(folded.updates)
            files.append(write_tensors(folder / LORA_FILE, tensors, header | record))
        elif format_ == "kohya":
            tensors, header = kohya.write_lora(contents.updates, sdxl or len(contents.family.tokenizers) > 1)
            files.append(write_tensors(folder / f"{name}_lora.safetensors", tensors, header | record))
        else:
            for component, (tensors, config) in peft.write_lora(contents.updates, contents.record.base_model).items():
                text = json.dumps(config, indent=2, sort_keys=True) + "\n"
                files.append(atomic_write_text(folder / component / peft.CONFIG_FILE, text))
                files.append(write_tensors(folder / component / peft.WEIGHTS_FILE, tensors, record))
    if contents.rows:
        record = {FAIRLIT_KEY: contents.tokens_record().to_json()}
        if format_ == "diffusers":
            files.append(
                write_tensors(folder / TOKENS_FILE, diffusers.write_tokens(contents.token, contents.rows), record)
            )
        else:
            files.append(
                write_tensors(folder / embedding_file(contents.token), kohya.write_tokens(contents.rows), record)
            )
    return files


def embedding_file(token: str) -> str:
    """Name of a kohya embedding file, which is the word that calls it in a prompt.

    Example:
        >>> embedding_file("<fairlit>"), embedding_file("<even-shares>")
        ('fairlit.safetensors', 'even-shares.safetensors')
    """
    if token == FORMER_TOKEN:  # a word, in place of which web UIs would put the soft tokens
        token = DEFAULT_TOKEN
    return f"{re.sub(r'[^a-z0-9_-]+', '', token.lower()) or 'fairlit'}.safetensors"


@torch.no_grad()
def verify_written(
    contents: AdaptorContents, format_: Format, files: list[Path], *, skeleton: DiffusionPipeline
) -> None:
    """Has the files read by the stock reader of their format and compares every layer's update, and every token.

    Args:
        contents: what they were written from.
        format_: of the files.
        files: what `write_adaptor` returned.
        skeleton: of the base model; the adaptor is loaded into it.

    Raises:
        CheckpointError: a layer or token comes back as something else.
    """
    folder = files[0].parent.parent if format_ == "peft" else files[0].parent
    lora, embeddings = files[0] if contents.updates else None, files[-1]
    parts: dict[str, nn.Module] = {name: getattr(skeleton, name) for name in pipeline_components(skeleton)}
    with quiet_loaders(), torch.random.fork_rng(devices=[]):
        if lora is not None and format_ == "peft":
            names = {file.parent.name for file in files}
            parts = {
                name: PeftModel.from_pretrained(parts[name], str(folder / name)).base_model.model for name in names
            }
        elif lora is not None:
            skeleton.load_lora_weights(str(folder), weight_name=lora.name, local_files_only=True)
        if len(contents.rows) == 1:
            skeleton.load_textual_inversion(
                str(folder), weight_name=embeddings.name, token=contents.token, local_files_only=True
            )
        elif contents.rows:
            tensors = read_tensors(embeddings)[0]
            rows = {encoder: tensors[key] for encoder, key in kohya.CLIP_KEYS.items()}
            load_tokens(skeleton, contents.token, rows)
    found = {
        name: layer.get_delta_weight(layer.active_adapters[0])
        for component, module in parts.items()
        for name, layer in lora_layers(component, module).items()
    }
    _compare_updates(contents, found, folder)
    for encoder in contents.rows:
        tokenizer = getattr(skeleton, TOKENIZERS[encoder])
        require_rows(str(embeddings), contents, encoder, tokenizer, getattr(skeleton, encoder))


def require_rows(source: str, contents: AdaptorContents, encoder: str, tokenizer: Any, text_encoder: nn.Module) -> None:
    """Refuse a text encoder that holds something else than the soft tokens.

    Args:
        source: what was read back, begins the message.
        contents: what was written; with soft tokens.
        encoder: name of the text encoder.
        tokenizer: tokenizer that was read back.
        text_encoder: text encoder that was read back.

    Raises:
        CheckpointError: a soft token is something else.
    """
    table = text_encoder.get_input_embeddings()  # type: ignore[operator]
    ids = tokenizer.convert_tokens_to_ids(list(contents.tokens_record().tokens))
    if not torch.equal(table(torch.tensor(ids)), contents.rows[encoder].to(table.weight.dtype)):
        raise CheckpointError(f"{source}: read back, the soft tokens are something else; do not use the file")


def _compare_updates(contents: AdaptorContents, found: Mapping[str, Tensor], folder: Path) -> None:
    for layer, update in contents.updates.items():
        if layer not in found or not update.has_delta(found[layer]):
            raise CheckpointError(
                f"{folder}: read back by its stock reader, the update of layer '{layer}' is "
                f"{'missing' if layer not in found else 'something else'}; do not use the files"
            )
    for layer, delta in found.items():
        if layer not in contents.updates and bool(delta.any()):
            raise CheckpointError(
                f"{folder}: read back, layer '{layer}' is changed, which it is not in the adaptor; do not use the "
                "files, choose another format"
            )
