"""Export of an adaptor, from settings to files that have been read back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from diffusers import DiffusionPipeline

from fairlit.adaptors.contents import AdaptorContents, read_adaptor, read_published
from fairlit.adaptors.export import check_format, embedding_file, verify_written, write_adaptor
from fairlit.adaptors.export_config import ExportConfig, Format
from fairlit.adaptors.merging import merge_adaptor
from fairlit.adaptors.model_card import CARD_FILE, card_curves, export_card, find_summary
from fairlit.adaptors.pipelines import adaptable_layers, check_fit
from fairlit.adaptors.soft_tokens import check_token
from fairlit.diffusion.settings import check_pipeline
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import Problems
from fairlit.io.atomic import atomic_folder, atomic_write_text
from fairlit.io.model_folders import check_encoding, check_new_folder
from fairlit.results.export import ExportResults
from fairlit.terminal import quieten_libraries

_LOG = logging.getLogger(__name__)


def export(config: ExportConfig) -> ExportResults:
    """Write an adaptor in the files of other tools, or merge it into its base model.

    Where the base model is at hand, files are checked against it and read back by the stock reader of their format.

    Args:
        config: settings. Everything in it is checked before the adaptor is read.

    Returns:
        The files, and whether they were checked.

    Raises:
        ConfigurationError: the settings are wrong; lists everything that is.
        CheckpointError: the adaptor is damaged, or belongs to another model.
    """
    quieten_libraries()
    _check(config)
    source = _read(config)
    contents, base, out = source.contents, source.base, Path(config.out or "")
    skeleton = None
    if base is not None:
        skeleton = open_skeleton(base)
        check_fit(contents, skeleton)
    with atomic_folder(out) as folder:
        if config.to is None:
            assert base is not None
            files = merge_adaptor(contents, base, folder)
        else:
            sdxl = getattr(skeleton, "text_encoder_2", None) is not None
            files = write_adaptor(contents, config.to, folder, name=out.resolve().name, sdxl=sdxl)
            if skeleton is not None:
                if config.to == "kohya" and contents.rows:
                    _warn_of_word(contents.token, skeleton)
                verify_written(contents, config.to, files, skeleton=skeleton)
        names = [file.relative_to(folder) for file in files]
        summary = find_summary(contents)
        card = export_card(contents, config.to, names, base=base, summary=summary)
        atomic_write_text(folder / CARD_FILE, card)
        beside = [file.name for file in card_curves(folder, summary)]
    return ExportResults(
        source=source.path,
        contents=contents.describe(),
        folder=str(out),
        files=tuple(str(out / name) for name in (*map(str, names), CARD_FILE, *beside)),
        base=base,
        checked=skeleton is not None,
        base_model=contents.record.base_model or "",
    )


@dataclass(frozen=True)
class _Source:
    """An adaptor that was read: its content, its path, and the base model to use."""

    contents: AdaptorContents
    path: str
    base: str | None


def _is_here(model: str) -> bool:
    """Return whether the base model that an adaptor names, some text of a file, is a folder."""
    try:
        return bool(model) and Path(model).is_dir()
    except OSError:  # too long for a path, or in a place that may not be looked at
        return False


def _warn_of_word(token: str, pipeline: DiffusionPipeline) -> None:
    """Say that a web UI takes the name of an embedding for a word of prompts."""
    file = embedding_file(token)
    word = Path(file).stem
    if f"{word}</w>" in pipeline.tokenizer.get_vocab():
        _LOG.warning(
            f"token: got {token!r}, whose file is called {file}; expected a name that is no word, since "
            f"AUTOMATIC1111's web UI replaces {word!r} in every prompt; rename the file"
        )


def _check(config: ExportConfig) -> None:
    with Problems("export") as problems:
        if (config.adaptor is None) == (not config.published):
            problems.add("adaptor: give either the folder of an adaptor, or --published with files of Shen et al.")
        name, paths = ("adaptor", [config.adaptor]) if config.adaptor else ("published", config.published)
        for path in paths:
            if not Path(path).exists():
                problems.add(f"{name}: {path!r} does not exist; check the path")
        if (config.to is None) != config.merge:
            problems.add("to: give either --to diffusers, peft or kohya, or --merge")
        if config.to not in (None, *get_args(Format)):
            problems.add(f"to: got {config.to!r}; expected one of {', '.join(get_args(Format))}; choose one, or merge")
        if config.out is None:
            problems.add("out: got nothing; give --out, the folder to write")
        else:
            check_encoding(config.out, "out", problems)
            check_new_folder(config.out, "out", problems)
        if config.base is not None:
            check_pipeline(config.base, problems, "base", any_family=True, weights=config.merge)
        if not config.published and config.alpha is not None:
            problems.add(f"alpha: got {config.alpha}, but an adaptor knows its own; it goes with --published alone")
        if config.alpha is not None and not config.alpha > 0:
            problems.add(f"alpha: got {config.alpha}; expected a number above 0; try the rank")
        check_token(config.token, problems)


def _read(config: ExportConfig) -> _Source:
    """Read the adaptor, and settle which base model it is checked against."""
    if not config.published:
        assert config.adaptor is not None
        layers = None if config.base is None else adaptable_layers(open_skeleton(config.base, allocate=False))
        contents, path = read_adaptor(config.adaptor, layers), config.adaptor
        contents.require_plain()
    else:
        path = config.published[0]
        contents = read_published(config.published, config.alpha, config.token, base_model=config.base or "")
    base = config.base
    if base is None and _is_here(contents.record.base_model):
        base = contents.record.base_model
    with Problems("export") as problems:
        if base is None and config.merge:
            named = repr(contents.record.base_model) if contents.record.base_model else "none"
            problems.add(
                f"base: the adaptor names {named}, which is no folder here, and merging needs one; give --base"
            )
        if base is not None and config.base is None:
            check_pipeline(base, problems, "base", any_family=True, weights=config.merge)
        if config.to is not None:
            with problems.collecting():
                check_format(contents, config.to)
    return _Source(contents, path, base)
