"""Settings of sampling, and their checks: all that a config needs to know of a model before it is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fairlit.diffusion.families.lookup import (
    FAMILIES,
    check_kind,
    content_without_index,
    family_named,
    what_works,
)
from fairlit.diffusion.single_files import check_content, check_file, config_folder
from fairlit.errors import Problems
from fairlit.io.model_folders import check_encoding, check_weights, find_variant, is_hub_id, local_folder, read_json
from fairlit.io.tokenizer_files import check_tokenizer_files

if TYPE_CHECKING:
    from fairlit.diffusion.families.family import Family

ImageSize = int | tuple[int, int]
"""Side of a square in pixels, or height and width."""

PromptPadding = Literal["longest", "max_length"]
"""Padding of prompts: to the longest of a batch, as Shen et al. do, or to the maximum, as stock diffusers does."""

Solver = Literal["pipeline", "dpm-solver++", "ddim", "euler", "euler-ancestral", "lcm"]
"""Solvers to sample with; `pipeline` is the scheduler that the pipeline came with."""

Precision = Literal["float32", "bfloat16", "float16"]
"""Data types of the model's weights."""


def check_guidance_scale(scale: float, problems: Problems, name: str = "guidance_scale") -> None:
    """Notes a scale of classifier-free guidance that would turn it round; as in diffusers, 1 and less are none."""
    if not 0 <= scale < math.inf:
        problems.add(f"{name}: got {scale}; expected at least 0 (up to 1 is no guidance); give 7.5, say")


def check_pipeline(
    path: str | Path,
    problems: Problems,
    subject: str = "backbone",
    *,
    any_family: bool = False,
    weights: bool = True,
) -> None:
    """Notes what is wrong with a pipeline, without loading weights; a hub id (org/name) is taken on trust.

    Args:
        path: folder, single file (see `fairlit.diffusion.single_files`) or hub id.
        problems: where messages go.
        subject: the parameter's name, begins every message.
        any_family: whether the pipeline may be of another family than those that are trained and sampled.
        weights: whether weights will be read; configs and tokenizer suffice where they are not.
    """
    given, single = Path(path), False
    check_encoding(path, subject, problems)
    folder: Path | None = given
    if given.is_file() and not any_family:
        folder, single = check_file(given, problems, subject), True
    elif not given.is_dir():
        if given.exists() or not is_hub_id(path):
            problems.add(f"{subject}: {str(path)!r} is neither a folder nor a hub id; give the folder of a pipeline")
        return
    if folder is None:
        return
    if not (folder / "model_index.json").exists() and (content := content_without_index(folder)):
        problems.add(f"{subject}: got {folder} with {content}; expected model_index.json; {what_works()}")
        return
    index = read_json(folder / "model_index.json", subject, problems)
    if index is None:
        return
    family = FAMILIES[0] if any_family else check_kind(index, folder, problems, subject)
    if family is None:
        return
    before = len(problems.messages)
    for part in (*family.parts, "scheduler"):
        _check_part(index, folder / part, family, problems=problems, subject=subject, weights=weights and not single)
    if single:
        check_content(given, family, problems, subject)
    if not any_family and len(problems.messages) == before:
        family.check_configs(folder, problems, subject)


def family_here(model: str | Path) -> Family | None:
    """Return the family of a model; None where it is not on this machine, or of none that works.

    Args:
        model: folder, single file or hub id.
    """
    folder = config_folder(model) or local_folder(model)
    if folder is None:
        return None
    index = read_json(folder / "model_index.json", "model", Problems("model"))
    return None if index is None else family_named(index.get("_class_name"))


def _check_part(
    index: Mapping[str, Any], folder: Path, family: Family, *, problems: Problems, subject: str, weights: bool
) -> None:
    part = folder.name
    if not isinstance(index.get(part), list):
        problems.add(
            f"{subject}: {folder.parent / 'model_index.json'} lists no {part!r}; give a whole pipeline of "
            f"{family.title}"
        )
    elif not folder.is_dir():
        problems.add(f"{subject}: {folder} is missing; copy the pipeline folder again")
    elif part in family.weights:
        read_json(folder / "config.json", subject, problems)
        if weights:
            check_weights(folder, subject, problems, suffixes=(".safetensors",))
            with problems.collecting():
                find_variant(folder, family.weights[part], subject)
    elif part in family.tokenizers.values():
        check_tokenizer_files(folder, subject, problems)
    elif part == "scheduler":
        read_json(folder / "scheduler_config.json", subject, problems)


def check_image_size(size: ImageSize | None, problems: Problems, family: Family | None = None) -> None:
    """Notes sides in pixels that a model's autoencoder cannot shrink.

    Args:
        size: size of images; None: the model's own.
        problems: collector of the messages.
        family: family of the model; None: what the least demanding one asks for.
    """
    multiple = min(each.side_multiple for each in FAMILIES) if family is None else family.side_multiple
    if size is not None and any(side < multiple or side % multiple for side in both_sides(size)):
        problems.add(f"image_size: got {size}; give multiples of {multiple}, or nothing for the model's own size")


def both_sides(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width
