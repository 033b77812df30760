"""The README.md in an adaptor's folder: what it is, how to load it, and what was measured, or that nothing was."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from fairlit.adaptors.contents import AdaptorContents, read_adaptor
from fairlit.adaptors.export import Format
from fairlit.adaptors.files import TOKENS_FILE, read_tensors
from fairlit.adaptors.formats.kohya import CLIP_KEYS
from fairlit.adaptors.formats.low_rank import component_of
from fairlit.adaptors.pipelines import TOKENIZERS
from fairlit.diffusion.families.family import Family
from fairlit.diffusion.single_files import SINGLE_FILE
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.digests import fairlit_version, tensor_digest
from fairlit.io.markdown import inline, literal
from fairlit.io.model_folders import is_hub_id
from fairlit.io.wording import counted
from fairlit.results.curves import CURVES_FILE, operating_curves
from fairlit.results.run import RunSummary, VariantFigures
from fairlit.results.tables import CAPTION, markdown_table, operating_rows, table_rows

CARD_FILE = "README.md"
_VERSION = re.compile(r"[\w.+-]{1,40}")
_SENTENCE = re.compile(r"[\w ,;.-]*('[^'`\n]*')?")  # what `AdaptorContents.describe` says, the token in quotes
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
_LIMITS = """\
- Attributes are *perceived*: a classifier says how a drawn face looks to those who labelled its training data. It errs,
  more for some groups than for others. Nothing here says who somebody is, or should be used to sort real people.
- The target is a decision of whoever trained this adaptor. Shares hold over many images of a prompt, not for one image.
- What was not measured may be worse: other prompts, base models, samplers and strengths, several people in one picture,
  attributes that are not in the table.
- Faces that the detector misses are not counted."""


def adaptor_card(folder: str | Path, summary_path: str | Path | None, sampling: Mapping[str, Any]) -> Path:
    """Write the card of an adaptor that a run has saved, with the curves of its test beside it where there are any.

    Args:
        folder: the adaptor's.
        summary_path: of the run's last test, if there was one. Its figures are taken only if they are of this very
            adaptor: an earlier run may have left a summary in the same place.
        sampling: settings of the run, see `training.settings.Sampling`.

    Returns:
        The card's path.
    """
    contents = read_adaptor(folder)
    summary = matching_summary(contents, None if summary_path is None else Path(summary_path))
    usage = _stock_usage(contents, sampling, contents.record.base_model, summary=summary)
    card_curves(folder, summary)
    return atomic_write_text(Path(folder) / CARD_FILE, _card(contents, usage, summary, sampling=sampling))


def export_card(
    contents: AdaptorContents,
    format_: Format | None,
    files: Sequence[Path],
    *,
    base: str | None,
    summary: RunSummary | None,
) -> str:
    """The card of exported files.

    Args:
        contents: of the adaptor.
        format_: of the files; None: the whole pipeline, merged.
        files: their names in the folder.
        base: the base model; None: the one that the adaptor names.
        summary: figures that were measured on this adaptor, see `find_summary`.
    """
    sampling: Mapping[str, Any] = summary.sampling if summary else {}
    base_model = base or contents.record.base_model
    if format_ is None:
        usage = _python(contents, _FOLDER, [], _prompt(contents, summary), sampling=sampling)
    elif format_ == "diffusers":
        contents = contents.at_rank()  # as `write_adaptor` writes them
        usage = _stock_usage(contents, sampling, base_model, summary=summary)
    elif format_ == "peft":
        parts = sorted({file.parts[0] for file in files})
        lines = [f'PeftModel.from_pretrained(pipeline.{part}, "{_FOLDER}/{part}")  # in place' for part in parts]
        imports, prompt = ["from peft import PeftModel"], _prompt(contents, summary)
        usage = _python(contents, base_model, lines, prompt, sampling=sampling, imports=imports)
    else:
        usage = _kohya_usage(contents, files, base_model, summary=summary, sampling=sampling)
    return _card(contents, usage, summary, sampling=sampling, base=base_model, merged=format_ is None)


def card_curves(folder: str | Path, summary: RunSummary | None) -> list[Path]:
    """Write the picture that a card shows beside it, or remove that of an earlier card.

    Args:
        folder: folder of the card.
        summary: figures of the card; None: it has none.

    Returns:
        The picture; empty where the test of the adaptor has no curves.
    """
    path = Path(folder) / CURVES_FILE
    if summary is None or not operating_curves(summary):
        path.unlink(missing_ok=True)
        return []
    from fairlit.pictures.operating_curves import draw_curves  # matplotlib takes its time

    with atomic_path(path) as temporary:
        draw_curves(summary).save(temporary)
    return [path]


def find_summary(contents: AdaptorContents) -> RunSummary | None:
    """The figures of the test of the run that has saved an adaptor, if they are of this very adaptor."""
    folders = {file.parent.parent for file in contents.files}
    return next((found for folder in folders if (found := matching_summary(contents, folder / RunSummary.FILE))), None)


def matching_summary(contents: AdaptorContents, path: Path | None) -> RunSummary | None:
    """Return the summary at `path` if it was measured with the adaptor `contents`; None if not, or if there is none.

    Raises:
        ConfigurationError: it was, but is of a newer version.
    """
    if path is None or not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # somebody else's file of that name
        return None
    files = [file for file in contents.files if file.suffix == ".safetensors"]
    tensors = {name: tensor for file in files for name, tensor in read_tensors(file)[0].items()}
    if not isinstance(content, dict) or content.get("adaptor") != tensor_digest(tensors):
        return None
    return RunSummary.from_json(content, str(path))


def _card(
    contents: AdaptorContents,
    usage: str,
    summary: RunSummary | None,
    *,
    sampling: Mapping[str, Any],
    base: str = "",
    merged: bool = False,
) -> str:
    base = base or contents.record.base_model
    described = _escaped(contents.describe())
    what = f"The whole pipeline, with this merged into it: {described}." if merged else f"{described}."
    made = f" with fairlit {inline(contents.record.version)}" if _VERSION.fullmatch(contents.record.version) else ""
    if contents.record.origin:
        made = f" by {inline(contents.record.origin)}"
    sections = {
        "Target": _target(contents),
        "Use": usage + _padding(sampling, contents.family),
        "Measured": _measured(summary, of_fairlit=not contents.record.origin),
        "Limits": _LIMITS,
    }
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections.items())
    head = (
        f"# {'Finetuned' if merged else 'Adaptor for'} {_code(base) if base else 'an unknown base model'}\n\n"
        f"{what}\n\nFinetuned{made} so that the people whom the model draws follow a target "
        "distribution over perceived attributes, while the rest of the picture stays.\n\n"
    )
    foot = f"\n\nThis card was written by fairlit {fairlit_version()}.\n"
    return f"---\n{_front_matter(contents, base, merged)}\n---\n\n{head}{text}{foot}"


def _front_matter(contents: AdaptorContents, base: str, merged: bool) -> str:
    kinds = (["lora"] if contents.updates else []) + (["textual_inversion"] if contents.rows else [])
    data = ModelCardData(
        base_model=base if is_hub_id(base) else None,  # the hub takes nothing else
        base_model_relation=("finetune" if merged else "adapter") if is_hub_id(base) else None,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["text-to-image", "stable-diffusion", "fairness", "fairlit", *([] if merged else kinds)],
    )
    return str(data.to_yaml()).strip()


def _target(contents: AdaptorContents) -> str:
    if not contents.record.targets:
        return "The files do not say. Ask whoever trained them, or see where they were published."
    target = TargetDistribution.from_dict(contents.record.targets)
    if set(contents.record.targets) == {"joint"}:
        names = list(target.classes)
        joint = itertools.product(*target.classes.values())
        rows = [[*classes, f"{float(share):.3f}"] for classes, share in zip(joint, target.table.flatten(), strict=True)]
        return markdown_table([[*names, "share"], *rows])
    rows = [
        [attribute, label, f"{share:.3f}"]
        for attribute, shares in target.marginals.items()
        for label, share in shares.items()
    ]
    return markdown_table([["attribute", "class", "share"], *rows])


def _measured(summary: RunSummary | None, of_fairlit: bool) -> str:
    if summary is None:
        remedy = " `fairlit test` with its run's config and checkpoint measures it and writes them beside it."
        return f"Not measured: fairlit has no figures for this adaptor.{remedy if of_fairlit else ''}"
    parts = [_figures(summary.before, summary.after)]
    if summary.operating_points:
        parts.append(
            "By guidance scale, strength of the adaptor and solver steps, on the same prompts:\n\n"
            + markdown_table(operating_rows(summary))
        )
    if operating_curves(summary):
        parts.append(f"![Bias or distance to the target, before and after, with 95 % intervals]({CURVES_FILE})")
    for family, variants in summary.families.items():
        if variants["original"] != summary.before:
            parts.append(f"Prompts of {_code(family)}, which have a target of their own:\n\n")
            parts[-1] += _figures(variants["original"], variants[summary.after_is])
    judge = f"Judged by {_code(summary.judge)}"
    if summary.judge_is_trainer:
        judge += ", the classifier that was also trained against: take the figures with care"
    average = ", with the moving average of the trained weights (this adaptor)" if summary.after_is == "ema" else ""
    noise = "Its figures are the noise floor: what it would show at this number of images."
    return "\n\n".join([*parts, f"{judge}{average}. {CAPTION} {noise}"])


def _figures(before: VariantFigures, after: VariantFigures) -> str:
    rows = [row for row in table_rows({"before": before, "after": after}) if row]
    table = markdown_table([["", "before", "after", "at best"], *rows])
    prompts, images = counted(after.distribution.prompts, "prompt"), counted(after.distribution.images, "image")
    return f"{prompts}, {images} each way.\n\n{table}"


def _code(text: str) -> str:
    """Return text as a code span."""
    return span if (span := inline(text)).startswith("`") else f"`{span}`"


def _escaped(text: str) -> str:
    """Return a sentence of ours in which the token, of a file, may hold markup."""
    return re.sub(r"'([^']*)'", lambda found: _code(found[1]), text) if _SENTENCE.fullmatch(text) else inline(text)


def _prompt(contents: AdaptorContents, summary: RunSummary | None) -> str:
    prompts = summary.after.distribution.per_prompt if summary else ()
    prompt = prompts[0].prompt if prompts else "a photo of the face of a doctor, a person"
    return f"{contents.token} {prompt}".strip()


def _stock_usage(
    contents: AdaptorContents, sampling: Mapping[str, Any], base: str, *, summary: RunSummary | None
) -> str:
    lines = [f'pipeline.load_lora_weights("{_FOLDER}")'] if contents.updates else []
    lines += _load_tokens(contents, TOKENS_FILE, f'pipeline.load_textual_inversion("{_FOLDER}")')
    code = _python(contents, base, lines, _prompt(contents, summary), sampling=sampling)
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
    *,
    summary: RunSummary | None,
    sampling: Mapping[str, Any],
) -> str:
    words, lines = [], []
    names = [file.name for file in files]
    if contents.updates:
        words.append(
            f"Copy {_code(names[0])} into the LoRA folder of ComfyUI (`models/loras`) or of A1111's web UI "
            f"(`models/Lora`; write {_code(f'<lora:{Path(names[0]).stem}:1>')} into the prompt); "
            "strength 1 for model and CLIP."
        )
        lines.append(f'pipeline.load_lora_weights("{_FOLDER}", weight_name={literal(names[0])})')
    if contents.rows:
        word = Path(names[-1]).stem
        words.append(
            f"Copy {_code(names[-1])} into the embedding folder of ComfyUI (`models/embeddings`) or of A1111's web UI "
            f"(`embeddings`), and begin the prompt, not the negative one, with "
            f"{_code(f'embedding:{word}')} or {_code(word)}. The web UI puts the soft tokens in place of {_code(word)} "
            "wherever a prompt says it: if prompts of yours do, rename the file to something that is no word."
        )
        arguments = f"weight_name={literal(names[-1])}, token={literal(contents.token)}"
        load = f'pipeline.load_textual_inversion("{_FOLDER}", {arguments})'
        lines += _load_tokens(contents, names[-1], load)
        words += [_POOLED] if len(contents.rows) > 1 else []
    code = _python(contents, base, lines, _prompt(contents, summary), sampling=sampling)
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
