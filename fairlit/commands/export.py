"""``fairlit export``: an adaptor in the files of other tools, or merged into its base model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from fairlit.adaptors.contents import AdaptorContents, read_adaptor, read_published
from fairlit.adaptors.export import Format, check_fit, check_format, merge_adaptor, verify_written, write_adaptor
from fairlit.adaptors.model_card import CARD_FILE, export_card, find_summary
from fairlit.adaptors.soft_tokens import check_token
from fairlit.diffusion.backbone import check_pipeline
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import Problems
from fairlit.io.atomic import atomic_folder, atomic_write_text
from fairlit.io.model_folders import check_new_folder
from fairlit.terminal import quieten_libraries

DESCRIPTION = "Writes an adaptor for other tools, or merges it into its base model; also reads published weights."


@dataclass(frozen=True)
class Wish:
    """What the command line asks for.

    Attributes:
        contents: of the adaptor.
        source: the folder or file that it came from.
        format: of the files; None: merge.
        out: folder to write.
        base: the base model to check against or to merge into; None: none known on this machine.
    """

    contents: AdaptorContents
    source: Path
    format: Format | None
    out: Path
    base: str | None


def run(args: list[str]) -> None:
    """Runs ``fairlit export ARGS``.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: the adaptor is damaged, or belongs to another model.
    """
    quieten_libraries()
    wish = _read(_parser().parse_args(args))
    contents = wish.contents
    print(f"read     {wish.source}: {contents.describe()}")
    skeleton = None
    if wish.base is not None:
        skeleton = open_skeleton(wish.base)
        check_fit(contents, skeleton)
    with atomic_folder(wish.out) as folder:
        if wish.format is None:
            print(f"merging  into {wish.base}, in float32 ...")
            assert wish.base is not None
            files = merge_adaptor(contents, wish.base, folder)
        else:
            sdxl = getattr(skeleton, "text_encoder_2", None) is not None
            files = write_adaptor(contents, wish.format, folder, wish.out.resolve().name, sdxl)
            if skeleton is not None:
                verify_written(contents, wish.format, files, skeleton)
                print(f"checked  against {wish.base}: the stock reader gives back every update")
            else:
                print(f"         not checked: {contents.record.base_model!r} is not on this machine; give --base")
        names = [file.relative_to(folder) for file in files]
        card = export_card(contents, wish.format, names, wish.base, find_summary(contents))
        atomic_write_text(folder / CARD_FILE, card)
    for name in (*names, Path(CARD_FILE)):
        print(f"wrote    {wish.out / name}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="fairlit export", description=DESCRIPTION)
    parser.add_argument(
        "adaptor", type=str | None, nargs="?", help="folder that a run saved its adaptor to, or a file in it"
    )
    parser.add_argument(
        "--from",
        type=str,
        nargs="+",
        metavar="PATH.pth",
        help="instead: weights that Shen et al. published, one file or those of text encoder and U-Net together",
    )
    parser.add_argument(
        "--to",
        type=Format | None,
        help="diffusers; peft: a folder for each part of the pipeline; kohya: for ComfyUI and AUTOMATIC1111's web UI",
    )
    parser.add_argument("--merge", action="store_true", help="instead: write the whole pipeline, finetuned")
    parser.add_argument("--out", type=str | None, help="folder to write; must be new or empty")
    parser.add_argument(
        "--base",
        type=str | None,
        help="pipeline folder or hub id of the base model, to check against and to merge into; default: the one that "
        "the adaptor names, if it is a folder on this machine",
    )
    parser.add_argument(
        "--alpha",
        type=float | None,
        help="with --from: strength of the LoRA; default: its rank, as in the published files",
    )
    parser.add_argument("--token", type=str, default="<fair>", help="with --from: how to call the first soft token")
    return parser


def _read(given: Namespace) -> Wish:
    """Looks at all arguments, then reads the adaptor."""
    published, adaptor = given["from"], given["adaptor"]
    with Problems("export") as problems:
        if (adaptor is None) == (published is None):
            problems.add("give either the folder of an adaptor or --from with published files")
        for path in [adaptor] if adaptor else published or []:
            if not Path(path).exists():
                problems.add(f"{'adaptor' if adaptor else 'from'}: {path!r} does not exist; check the path")
        if (given["to"] is None) != given["merge"]:
            problems.add("give either --to diffusers, peft or kohya, or --merge")
        if given["out"] is None:
            problems.add("out: give --out, the folder to write")
        else:
            check_new_folder(Path(given["out"]), "out", problems)
        if given["base"] is not None:
            check_pipeline(given["base"], problems, "base")
        if published is None and given["alpha"] is not None:
            problems.add(f"alpha: got {given['alpha']}, but an adaptor knows its own; only with --from")
        if given["alpha"] is not None and not given["alpha"] > 0:
            problems.add(f"alpha: got {given['alpha']}; give a number above 0")
        check_token(given["token"], problems)
    if published is None:
        contents, source = read_adaptor(adaptor), Path(adaptor)
    else:
        contents = read_published(published, given["alpha"], given["token"], given["base"] or "")
        source = Path(published[0])
    base = given["base"]
    if base is None and Path(contents.record.base_model or "/dev/null").is_dir():
        base = contents.record.base_model
    with Problems("export") as problems:
        if base is None and given["merge"]:
            named = repr(contents.record.base_model) if contents.record.base_model else "none"
            problems.add(f"merge: needs the base model, and the adaptor names {named}; give --base")
        if base is not None and given["base"] is None:
            check_pipeline(base, problems, "base")
        if given["to"] is not None:
            with problems.collecting():
                check_format(contents, given["to"])
    return Wish(contents, source, given["to"], Path(given["out"]), base)
