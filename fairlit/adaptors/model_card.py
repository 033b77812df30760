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
from fairlit.adaptors.files import read_tensors
from fairlit.adaptors.usage import usage_section
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.digests import fairlit_version, tensor_digest
from fairlit.io.markdown import code_span, inline
from fairlit.io.model_folders import is_hub_id
from fairlit.io.wording import counted
from fairlit.results.curves import CURVES_FILE, operating_curves
from fairlit.results.run import RunSummary, VariantFigures
from fairlit.results.tables import CAPTION, markdown_table, operating_rows, table_rows

CARD_FILE = "README.md"
_VERSION = re.compile(r"[\w.+-]{1,40}")
_SENTENCE = re.compile(r"[\w ,;.-]*('[^'`\n]*')?")  # what `AdaptorContents.describe` says, the token in quotes
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
    usage = usage_section(contents, "diffusers", base=contents.record.base_model, summary=summary, sampling=sampling)
    card_curves(folder, summary)
    return atomic_write_text(Path(folder) / CARD_FILE, _card(contents, usage, summary))


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
    contents = contents.at_rank() if format_ == "diffusers" else contents  # as `write_adaptor` writes them
    usage = usage_section(contents, format_, files, base=base_model, summary=summary, sampling=sampling)
    return _card(contents, usage, summary, base=base_model, merged=format_ is None)


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
        "Use": usage,
        "Measured": _measured(summary, of_fairlit=not contents.record.origin),
        "Limits": _LIMITS,
    }
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections.items())
    head = (
        f"# {'Finetuned' if merged else 'Adaptor for'} {code_span(base) if base else 'an unknown base model'}\n\n"
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
            parts.append(f"Prompts of {code_span(family)}, which have a target of their own:\n\n")
            parts[-1] += _figures(variants["original"], variants[summary.after_is])
    judge = f"Judged by {code_span(summary.judge)}"
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


def _escaped(text: str) -> str:
    """Return a sentence of ours in which the token, of a file, may hold markup."""
    return re.sub(r"'([^']*)'", lambda found: code_span(found[1]), text) if _SENTENCE.fullmatch(text) else inline(text)
