"""How an adaptor is used: code for stock diffusers, and what to do with files for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairlit.adaptors.contents import AdaptorContents
from fairlit.adaptors.export import Format
from fairlit.adaptors.files import TOKENS_FILE
from fairlit.adaptors.formats.kohya import CLIP_KEYS
from fairlit.adaptors.formats.low_rank import component_of
from fairlit.adaptors.pipelines import TOKENIZERS
from fairlit.diffusion.families.family import Family
from fairlit.diffusion.single_files import SINGLE_FILE
from fairlit.io.markdown import code_span, literal
from fairlit.results.run import RunSummary

_FOLDER = "path/to/this/folder"
_TOKEN_NAMES = (
    "Soft tokens act wherever a prompt names the first of them. For an adaptor of your own choose a name that no "
    "prompt contains: A1111's web UI looks for it without its brackets."
)
_POOLED = (
    "Stable Diffusion XL's pooled embedding is read at the token of the highest number in diffusers, with which these "
    "soft tokens were trained: at the last of them. ComfyUI and A1111's web UI read it at the end of the prompt, so "
    "their pictures differ."
)


def usage_section(
    contents: AdaptorContents,
    format_: Format | None,
    files: Sequence[Path] = (),
    *,
    base: str,
    summary: RunSummary | None,
    sampling: Mapping[str, Any],
) -> str:
    """Return Markdown that says how an adaptor, or a pipeline with one merged into it, makes images.

    Args:
        contents: of the adaptor, as its files hold it.
        format_: of the files; None: the whole pipeline, merged.
        files: names of the files in their folder; those for diffusers have fixed names.
        base: the base model.
        summary: figures that were measured on the adaptor; their first prompt is that of the code.
        sampling: settings of the run, see `training.settings.Sampling`.
    """
    prompt = _prompt(contents, summary)
    if format_ is None:
        usage = _python(contents, _FOLDER, [], prompt, sampling=sampling)
    elif format_ == "diffusers":
        usage = _stock_usage(contents, base, prompt, sampling=sampling)
    elif format_ == "peft":
        parts = sorted({file.parts[0] for file in files})
        lines = [f'PeftModel.from_pretrained(pipeline.{part}, "{_FOLDER}/{part}")  # in place' for part in parts]
        usage = _python(contents, base, lines, prompt, sampling=sampling, imports=["from peft import PeftModel"])
    else:
        usage = _kohya_usage(contents, files, base, prompt, sampling=sampling)
    return usage + _padding(sampling, contents.family)


def _prompt(contents: AdaptorContents, summary: RunSummary | None) -> str:
    prompts = summary.after.distribution.per_prompt if summary else ()
    prompt = prompts[0].prompt if prompts else "a photo of the face of a doctor, a person"
    return f"{contents.token} {prompt}".strip()


def _stock_usage(contents: AdaptorContents, base: str, prompt: str, *, sampling: Mapping[str, Any]) -> str:
    lines = [f'pipeline.load_lora_weights("{_FOLDER}")'] if contents.updates else []
    lines += _load_tokens(contents, TOKENS_FILE, f'pipeline.load_textual_inversion("{_FOLDER}")')
    code = _python(contents, base, lines, prompt, sampling=sampling)
    words = [code, _TOKEN_NAMES] if contents.rows else [code]
    words += [_POOLED] if len(contents.rows) > 1 else []
    return "\n\n".join([*words, _other_programs(contents)])


def _load_tokens(contents: AdaptorContents, file: str, load: str) -> list[str]:
    """Return the lines that load soft tokens.

    Args:
        contents: of the adaptor.
        file: name of the file with soft tokens, if there are any.
        load: line that loads those for one text encoder.
    """
    if len(contents.rows) < 2:
        return [load] * len(contents.rows)
    lines = ["from safetensors.torch import load_file", "", f"rows = load_file({literal(f'{_FOLDER}/{file}')})"]
    for encoder, tokenizer in TOKENIZERS.items():
        parts = f"text_encoder=pipeline.{encoder}, tokenizer=pipeline.{tokenizer}"
        rows = f'rows["{CLIP_KEYS[encoder]}"]'
        lines.append(f"pipeline.load_textual_inversion({rows}, token={literal(contents.token)}, {parts})")
    return lines


def _other_programs(contents: AdaptorContents) -> str:
    """Say what becomes of diffusers files elsewhere, as seen with the loader of ComfyUI 0.16.3."""
    inside = [update for layer, update in contents.updates.items() if component_of(layer) != "unet"]
    faults = []
    if len(inside) < len(contents.updates):
        faults.append("leaves out the U-Net's layers")
    if any(update.alpha != update.rank for update in inside):
        faults.append("applies the text encoder's layers as if alpha were the rank")
    said = f" ComfyUI {' and '.join(faults)}." if faults else ""
    return (
        f"These files are for diffusers.{said} Write files for ComfyUI and for A1111's web UI with "
        "`fairlit export FOLDER --to kohya --out OTHER`."
    )


def _kohya_usage(
    contents: AdaptorContents,
    files: Sequence[Path],
    base: str,
    prompt: str,
    *,
    sampling: Mapping[str, Any],
) -> str:
    words, lines = [], []
    names = [file.name for file in files]
    if contents.updates:
        words.append(
            f"Copy {code_span(names[0])} into the LoRA folder of ComfyUI (`models/loras`) or of A1111's web UI "
            f"(`models/Lora`; write {code_span(f'<lora:{Path(names[0]).stem}:1>')} into the prompt); "
            "strength 1 for model and CLIP."
        )
        lines.append(f'pipeline.load_lora_weights("{_FOLDER}", weight_name={literal(names[0])})')
    if contents.rows:
        word = Path(names[-1]).stem
        called = code_span(word)
        words.append(
            f"Copy {code_span(names[-1])} into the embedding folder of ComfyUI (`models/embeddings`) or of A1111's web "
            "UI (`embeddings`), and begin the prompt, not the negative one, with "
            f"{code_span(f'embedding:{word}')} or {called}. The web UI puts the soft tokens in place of {called} "
            "wherever a prompt says it: if prompts of yours do, rename the file to something that is no word."
        )
        arguments = f"weight_name={literal(names[-1])}, token={literal(contents.token)}"
        load = f'pipeline.load_textual_inversion("{_FOLDER}", {arguments})'
        lines += _load_tokens(contents, names[-1], load)
        words += [_POOLED] if len(contents.rows) > 1 else []
    code = _python(contents, base, lines, prompt, sampling=sampling)
    return "\n\n".join([*words, "In diffusers:", code])


def _python(
    contents: AdaptorContents,
    model: str,
    lines: Sequence[str],
    prompt: str,
    *,
    sampling: Mapping[str, Any],
    imports: Sequence[str] = (),
) -> str:
    """A fenced block of code that makes an image."""
    kind, opened = "DiffusionPipeline", f"from_pretrained({literal(model)})"
    if model.endswith(SINGLE_FILE):
        configs = model.removesuffix(SINGLE_FILE)
        kind = contents.family.pipelines[0]
        opened = f"from_single_file({literal(model)}, config={literal(configs)})"
    code = [
        f"from diffusers import {kind}",
        *imports,
        "",
        f"pipeline = {kind}.{opened}",
        *lines,
        f"prompt = {literal(prompt)}",
        f"image = pipeline(prompt{_settings(sampling)}).images[0]",
    ]
    return "\n".join(["```python", *code, "```"])


def _settings(sampling: Mapping[str, Any]) -> str:
    """The arguments of a pipeline's call with which the run was measured."""
    named = {"guidance_scale": sampling.get("guidance_scale"), "num_inference_steps": sampling.get("evaluation_steps")}
    numbers = {name: value for name, value in named.items() if type(value) in (int, float)}  # nothing else of a file
    return "".join(f", {name}={value!r}" for name, value in numbers.items())


_TWO_ENCODERS = """\
import torch

hidden = []
for tokenizer, encoder in (
    (pipeline.tokenizer, pipeline.text_encoder),
    (pipeline.tokenizer_2, pipeline.text_encoder_2),
):
    texts = ["", pipeline.maybe_convert_prompt(prompt, tokenizer)]
    output = encoder(tokenizer(texts, padding=True, return_tensors="pt").input_ids, output_hidden_states=True)
    hidden.append(output.hidden_states[-2])
negative, positive = torch.cat(hidden, dim=-1).split(1)
negative_pooled, positive_pooled = output[0].split(1)
if pipeline.config.force_zeros_for_empty_prompt:
    negative, negative_pooled = torch.zeros_like(negative), torch.zeros_like(negative_pooled)
embeddings = {
    "prompt_embeds": positive,
    "negative_prompt_embeds": negative,
    "pooled_prompt_embeds": positive_pooled,
    "negative_pooled_prompt_embeds": negative_pooled,
}"""


def _padding(sampling: Mapping[str, Any], family: Family) -> str:
    """What to do for the very images that were measured, where stock pipelines pad prompts differently."""
    if sampling.get("prompt_padding") != "longest":
        return ""
    one = [
        "text = pipeline.maybe_convert_prompt(prompt, pipeline.tokenizer)",
        'ids = pipeline.tokenizer(text, return_tensors="pt").input_ids',
        'empty = pipeline.tokenizer("", padding="max_length", max_length=ids.shape[1], return_tensors="pt").input_ids',
        "embeddings = {",
        '    "prompt_embeds": pipeline.text_encoder(ids)[0],',
        '    "negative_prompt_embeds": pipeline.text_encoder(empty)[0],',
        "}",
    ]
    code = [*(one if len(family.tokenizers) == 1 else [_TWO_ENCODERS])]
    code.append(f"image = pipeline(**embeddings{_settings(sampling)}).images[0]")
    return (
        "\n\nfairlit pads a prompt only as far as the prompts beside it, as Shen et al. do; a stock pipeline pads it "
        "to 77 tokens, which changes the pictures a little. The pictures that fairlit itself makes:\n\n"
        + "\n".join(["```python", *code, "```"])
    )
