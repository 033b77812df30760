"""What an adaptor is exported to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from fairlit.adaptors.records import DEFAULT_TOKEN

Format = Literal["diffusers", "peft", "kohya"]
"""Layouts of adaptor files: diffusers, peft (a folder for each part of the pipeline), kohya (ComfyUI, A1111)."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Settings of `fairlit export`; see `fairlit.export`.

    Args:
        adaptor: folder that a run saved its adaptor to, or a file in it; or a LoRA of diffusers, peft or (with --base)
            kohya-ss
        published: instead of an adaptor: weights that Shen et al. published, one file or text encoder and U-Net
        to: format of the files: diffusers, peft (a folder for each part), kohya (ComfyUI, AUTOMATIC1111's web UI)
        merge: write the whole pipeline, finetuned, instead of adaptor files
        out: folder to write; must be new or empty
        base: folder or hub id of the base model, to check against (configs and tokenizer suffice) and to merge into;
            the one that the adaptor names by default, if it is on this machine
        alpha: strength of the LoRA in published weights; its rank by default, as in the published files
        token: name of the first soft token in published weights; no word of prompts, which AUTOMATIC1111's web UI would
            replace
    """

    heading: ClassVar[str] = "Export"

    adaptor: str | None = None
    published: Sequence[str] = ()
    to: Format | None = None
    merge: bool = False
    out: str | None = None
    base: str | None = None
    alpha: float | None = None
    token: str = DEFAULT_TOKEN
