"""Folders that do not say which prompts their images were made for."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.errors import Problems
from fairlit.judging.image_folders import PROMPT_FILE, ImageFolder

_MAX_NAMED = 3  # folders that a message names


def prompt_doubts(folders: Sequence[ImageFolder], *, clip: bool) -> list[str]:
    """Return what makes figures doubtful because prompts are not known, each with what to do about it.

    Args:
        folders: folders that are judged.
        clip: whether images are compared with their prompts.
    """
    doubts = []
    for folder in folders:
        loose = [image for image in folder.images if "/" not in image.file]
        if folder.is_flat and len(loose) > 1:
            doubts.append(
                f"{len(loose)} images lie directly in {folder.root} and count as one prompt: if they are of several, "
                "opposite biases cancel and the distance is too small. Put the images of each prompt into a folder of "
                f"its own; if there is but one, write it into {PROMPT_FILE} beside them"
            )
        if clip and not folder.has_texts:
            doubts.append(
                f"the prompts of {folder.root} are not known, so CLIP-T is left out. "
                + ("Give them with --prompts" if folder.layout == "published" else f"Write them into {PROMPT_FILE}")
            )
    return doubts


def check_prompts(folder: ImageFolder, problems: Problems) -> None:
    """Note folders whose name would be taken for the prompt of their images.

    Args:
        folder: folder whose prompts are to be used as texts.
        problems: where messages go.
    """
    if not folder.unnamed:
        return
    names = [folder.root.name if name == "." else name for name in folder.unnamed]
    further = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    way = f"write it into {PROMPT_FILE} in each of them"
    if folder.layout == "published":
        way = "give --prompts, a file with the prompts in the order of the folders"
    problems.add(
        f"folder: got no prompt for the images in {', '.join(map(repr, names[:_MAX_NAMED]))}{further}; expected the "
        f"prompt that they were made for, of which a folder's name need not be one; {way}"
    )
