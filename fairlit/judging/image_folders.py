"""Finds the images to audit, in the three layouts in which people keep them.

- *manifest*: what ``fairlit generate`` and ``fairlit predict`` write; ``manifest.jsonl`` says what is what.
- *published*: ``prompt_0/img_0.jpg`` and so on, as Shen et al. (ICLR 2024) publish theirs; prompts come from a file.
- *folders*: one folder a prompt, named after it, or with the prompt in ``prompt.txt``.

Nothing in such a folder is trusted to be there, whole, or an image: what cannot be counted is listed with the reason.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairlit.errors import ConfigurationError
from fairlit.io.file_status import why_not_regular
from fairlit.io.foreign_text import is_sound, printable
from fairlit.pictures.files import SUFFIXES
from fairlit.pictures.manifest import MANIFEST, read_manifest
from fairlit.results.judging import NotCounted
from fairlit.results.manifest import ManifestEntry

Layout = Literal["manifest", "published", "folders"]
PROMPT_FILE = "prompt.txt"
NOT_CALLED_IMAGE = "its name does not end like an image's"

_PROMPT_FOLDER = re.compile(r"prompt_(\d+)")
_IMAGE_FILE = re.compile(r"img_(\d+)")
_MAX_NUMBER = 99_999  # of prompts and images that are numbered: each number below it is asked for
_MAX_LISTED = 100  # missing images of a prompt that are listed one by one
_MAX_PROMPT = 100_000  # bytes of a prompt.txt


@dataclass(frozen=True)
class FoundImage:
    """One image file.

    Attributes:
        file: relative to the folder, with forward slashes.
        prompt: number of its prompt.
        number: which of the prompt's images.
        noise_key: key of its noise, where the manifest tells it.
        num_people: number of people that its prompt asks for; None where that is not known.
        dealt_classes: attribute -> class that a method asked for in it, where the manifest tells it.
    """

    file: str
    prompt: int
    number: int
    noise_key: tuple[int, ...] | None = None
    num_people: int | None = None
    dealt_classes: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ImageFolder:
    """What lies in a folder.

    Attributes:
        root: the folder.
        layout: which of the three it is in.
        prompts: the texts.
        images: in the order of prompts and numbers; not opened yet.
        skipped: what is missing, or no image.
        unnamed: folders, relative to the root, whose name stands for a prompt of which nothing tells the text.
    """

    root: Path
    layout: Layout
    prompts: list[str]
    images: list[FoundImage]
    skipped: list[NotCounted]
    unnamed: Sequence[str] = ()

    @property
    def is_flat(self) -> bool:
        """Whether images beside each other, of nobody knows which prompts, count as those of one."""
        return "." in self.unnamed

    @property
    def has_texts(self) -> bool:
        """Whether prompts are texts: what was written down, or at least names of the folders of one prompt each."""
        return not self.is_flat and not (self.layout == "published" and self.unnamed)


def find_images(
    root: str | Path, prompts: Sequence[str] | None = None, num_people: Sequence[int] | None = None
) -> ImageFolder:
    """Look through a folder without opening any image.

    Args:
        root: the folder.
        prompts: texts of the prompts of a folder in the published layout, by number; None: they are called after their
            folders.
        num_people: number of people that each of these prompts asks for; None: not known.

    Raises:
        ConfigurationError: there is no such folder, no image in it, or fewer prompts than folders.
    """
    folder = Path(root)
    if not is_sound(str(folder)):
        raise ConfigurationError(
            f"folder: got {printable(str(folder))!r}; expected a path in UTF-8; rename the folder, or link to it"
        )
    if not _is_folder(folder):
        raise ConfigurationError(f"folder: got {str(folder)!r}; expected a folder with images; give its path")
    entries = list(_entries(folder))
    if _is_file(folder / MANIFEST):
        found = _read_listed(folder)
    elif any(_PROMPT_FOLDER.fullmatch(entry.name) and _is_folder(entry) for entry in entries):
        found = _read_published(folder, entries, prompts=prompts, num_people=num_people)
    else:
        found = _read_subfolders(folder, entries)
    if not found.images:
        raise ConfigurationError(
            f"folder: got {folder}; expected images in a layout that is known; give it a {MANIFEST}, folders prompt_0, "
            "prompt_1, ... with img_0.png, img_1.png, ..., or one folder a prompt"
        )
    return found


def _read_listed(root: Path) -> ImageFolder:
    """The manifest layout."""
    entries, damaged = read_manifest(root)
    skipped = [NotCounted(MANIFEST, f"line {line} is damaged") for line in damaged]
    prompts: dict[str, int] = {}
    counts: dict[int, int] = {}
    images: dict[str, FoundImage] = {}
    inside = Path(os.path.realpath(root))
    for entry in entries:
        file = Path(entry.file).as_posix()
        if not is_sound(file):
            skipped.append(NotCounted(printable(file), "no name of a file"))
        elif not Path(os.path.realpath(root / file)).is_relative_to(inside):
            skipped.append(NotCounted(file, "outside the folder"))
        elif file in images:
            skipped.append(NotCounted(file, "listed twice in the manifest"))
        else:
            prompt = prompts.setdefault(entry.prompt, len(prompts))
            counts[prompt] = counts.get(prompt, -1) + 1
            if not _is_file(root / file):
                skipped.append(NotCounted(file, why_not_regular(root / file) or "missing"))
                continue
            number = counts[prompt] if entry.number is None else entry.number
            images[file] = FoundImage(
                file,
                prompt,
                number,
                noise_key=entry.noise_key,
                num_people=_num_people(entry),
                dealt_classes=entry.dealt_classes,
            )
    listed = {os.path.realpath(root / file) for entry in entries if is_sound(file := entry.file)}
    unlisted = [path for path in _all_images(root) if os.path.realpath(path) not in listed]
    skipped.extend(NotCounted(_name(path, root), "not in the manifest") for path in unlisted)
    ordered = sorted(images.values(), key=lambda image: (image.prompt, image.number, image.file))
    return ImageFolder(root, "manifest", list(prompts), ordered, skipped)


def _read_published(
    root: Path, entries: Sequence[Path], *, prompts: Sequence[str] | None, num_people: Sequence[int] | None
) -> ImageFolder:
    """The published layout. A number that others have and a prompt lacks is a missing image."""
    skipped: list[NotCounted] = []
    by_prompt: dict[int, dict[int, str]] = {}
    for folder in entries:
        match = _PROMPT_FOLDER.fullmatch(folder.name)
        if match is None or not _is_folder(folder) or int(match[1]) > _MAX_NUMBER:
            skipped.append(NotCounted(printable(folder.name), "not a folder of a prompt"))
            continue
        numbered = by_prompt.setdefault(int(match[1]), {})
        for path in _entries(folder, skipped):
            name = _name(path, root)
            number = _IMAGE_FILE.fullmatch(path.stem)
            if reason := _no_image(path):
                skipped.append(NotCounted(name, reason))
            elif number is None or int(number[1]) > _MAX_NUMBER:
                skipped.append(NotCounted(name, "not called img_NUMBER"))
            elif int(number[1]) in numbered:
                skipped.append(NotCounted(name, f"a second image of number {number[1]}"))
            else:
                numbered[int(number[1])] = name
    if not by_prompt:
        return ImageFolder(root, "published", [], [], skipped)
    last_image = max(itertools.chain.from_iterable(by_prompt.values()), default=-1)
    for prompt in range(max(by_prompt) + 1):
        absent = [number for number in range(last_image + 1) if number not in by_prompt.get(prompt, {})]
        if len(absent) > last_image:
            skipped.append(NotCounted(f"prompt_{prompt}", "missing, or without any image"))
        elif len(absent) > _MAX_LISTED:
            skipped.append(NotCounted(f"prompt_{prompt}", f"{len(absent)} of img_0 to img_{last_image} are missing"))
        else:
            skipped.extend(NotCounted(f"prompt_{prompt}/img_{number}", "missing") for number in absent)
    if prompts is not None and len(prompts) <= max(by_prompt):
        raise ConfigurationError(
            f"prompts: got {len(prompts)} for {root}; expected {max(by_prompt) + 1} or more, as there is a "
            f"prompt_{max(by_prompt)}; give the file with all prompts, in the order of the folders"
        )
    names = list(prompts) if prompts is not None else [f"prompt_{number}" for number in range(max(by_prompt) + 1)]
    images = [
        FoundImage(file, prompt, number, num_people=None if num_people is None else num_people[prompt])
        for prompt, numbered in sorted(by_prompt.items())
        for number, file in sorted(numbered.items())
    ]
    unnamed = [f"prompt_{number}" for number in sorted(by_prompt) if by_prompt[number]] if prompts is None else []
    return ImageFolder(root, "published", names, images, skipped, unnamed)


def _read_subfolders(root: Path, entries: Sequence[Path]) -> ImageFolder:
    """One folder a prompt; images beside these folders, or without any, are of a prompt called after the whole."""
    skipped: list[NotCounted] = []
    prompts: list[str] = []
    unnamed: list[str] = []
    images: list[FoundImage] = []
    subfolders = [path for path in entries if _is_folder(path)]
    loose = [path for path in entries if path not in subfolders]
    for folder in [root, *subfolders]:
        usable: list[str] = []
        if folder != root and (reason := _no_folder(folder, root)):
            skipped.append(NotCounted(_name(folder, root), reason))
            continue
        for path in loose if folder == root else _entries(folder, skipped):
            name = _name(path, root)
            if path.name == PROMPT_FILE and _is_file(path):
                continue
            if reason := _no_image(path):
                skipped.append(NotCounted(name, reason))
            else:
                usable.append(name)
        if usable:
            images.extend(FoundImage(name, len(prompts), number) for number, name in enumerate(usable))
            text = _written_prompt(folder, root, skipped)
            if text is None:
                unnamed.append(_name(folder, root))
            prompts.append(text or Path(os.path.realpath(folder)).name)
        elif folder != root:
            skipped.append(NotCounted(_name(folder, root), "a folder without any image"))
    return ImageFolder(root, "folders", prompts, images, skipped, unnamed)


def _written_prompt(folder: Path, root: Path, skipped: list[NotCounted]) -> str | None:
    """What ``prompt.txt`` says; None where it says nothing. One that cannot be read is noted in `skipped`."""
    path = folder / PROMPT_FILE
    if not _is_file(path):
        return None
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_PROMPT + 1)
        text = content.decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        content, text = b"", "\0"
    if len(content) > _MAX_PROMPT or not is_sound(text):
        skipped.append(NotCounted(_name(path, root), "no prompt in UTF-8; the folder's name is taken for it"))
        return None
    return text or None


def _no_folder(folder: Path, root: Path) -> str | None:
    """Why a folder beside the images cannot be looked into; None where it may be."""
    if not is_sound(folder.name):
        return "its name is not UTF-8"
    if Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder)):
        return "a link to a folder around it"
    return None


def _no_image(path: Path) -> str | None:
    """Why something beside the images is none; None where it may be one."""
    if _is_folder(path):
        return "a folder within"
    if not is_sound(path.name):
        return "its name is not UTF-8"
    if path.suffix.lower() not in SUFFIXES:
        return NOT_CALLED_IMAGE
    return why_not_regular(path)


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    """What a path leads to; 0 for nothing, where `Path.is_file` of Python 3.11 raises for overlong names."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _entries(folder: Path, skipped: list[NotCounted] | None = None) -> list[Path]:
    """What lies in a folder, img_2 before img_10; hidden files are nobody's images.

    A folder within that cannot be opened is noted in `skipped`.
    """
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)
    except OSError as error:
        if skipped is None:
            raise ConfigurationError(
                f"folder: got {str(folder)!r}, which cannot be opened ({error.strerror}); expected a folder with "
                "images; give one that you may read"
            ) from error
        skipped.append(NotCounted(printable(folder.name), f"cannot be opened ({error.strerror})"))
        return []


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _all_images(root: Path) -> list[Path]:
    """Whatever is called like an image below a folder, but for hidden ones; links to folders are not followed."""
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def _name(path: Path, root: Path) -> str:
    """A path relative to the folder, as it can be written."""
    return printable(path.relative_to(root).as_posix())


def _num_people(entry: ManifestEntry) -> int | None:
    """How many people an entry asks for; images of `fairlit generate` without a number are of one person."""
    return 1 if entry.num_people is None and entry.noise_key is not None else entry.num_people
