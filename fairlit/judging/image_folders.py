"""Finds the images to audit, in the three layouts in which people keep them.

- *manifest*: what ``fairlit generate`` and ``fairlit predict`` write; ``manifest.jsonl`` says what is what.
- *published*: ``prompt_0/img_0.jpg`` and so on, as Shen et al. (ICLR 2024) publish theirs; prompts come from a file.
- *folders*: one folder a prompt, named after it, or with the prompt in ``prompt.txt``.

Nothing in such a folder is trusted to be there, whole, or an image: what cannot be counted is listed with the reason.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairlit.errors import ConfigurationError
from fairlit.pictures.files import SUFFIXES
from fairlit.pictures.manifest import MANIFEST, read_manifest
from fairlit.results.judging import NotCounted
from fairlit.results.manifest import ManifestEntry

Layout = Literal["manifest", "published", "folders"]
PROMPT_FILE = "prompt.txt"

_PROMPT_FOLDER = re.compile(r"prompt_(\d+)")
_IMAGE_FILE = re.compile(r"img_(\d+)")


@dataclass(frozen=True)
class FoundImage:
    """One image file.

    Attributes:
        file: relative to the folder, with forward slashes.
        prompt: number of its prompt.
        number: which of the prompt's images.
        noise_key: key of its noise, where the manifest tells it.
        num_people: number of people that its prompt asks for; None where that is not known.
    """

    file: str
    prompt: int
    number: int
    noise_key: tuple[int, ...] | None = None
    num_people: int | None = None


@dataclass(frozen=True)
class ImageFolder:
    """What lies in a folder.

    Attributes:
        root: the folder.
        layout: which of the three it is in.
        prompts: the texts.
        images: in the order of prompts and numbers; not opened yet.
        skipped: what is missing, or no image.
    """

    root: Path
    layout: Layout
    prompts: list[str]
    images: list[FoundImage]
    skipped: list[NotCounted]


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
    if not folder.is_dir():
        raise ConfigurationError(f"folder: got {str(folder)!r}; expected a folder with images; give its path")
    subfolders = [entry for entry in _entries(folder) if entry.is_dir()]
    if (folder / MANIFEST).is_file():
        found = _read_listed(folder)
    elif any(_PROMPT_FOLDER.fullmatch(entry.name) for entry in subfolders):
        found = _read_published(folder, prompts, num_people)
    else:
        found = _read_subfolders(folder, subfolders)
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
    inside = root.resolve()
    for entry in entries:
        file = Path(entry.file).as_posix()
        if not (root / file).resolve().is_relative_to(inside):
            skipped.append(NotCounted(file, "outside the folder"))
        elif file in images:
            skipped.append(NotCounted(file, "listed twice in the manifest"))
        else:
            prompt = prompts.setdefault(entry.prompt, len(prompts))
            counts[prompt] = counts.get(prompt, -1) + 1
            if not (root / file).is_file():
                skipped.append(NotCounted(file, "missing"))
                continue
            number = counts[prompt] if entry.number is None else entry.number
            images[file] = FoundImage(file, prompt, number, noise_key=entry.noise_key, num_people=_num_people(entry))
    listed = {(root / entry.file).resolve() for entry in entries}
    unlisted = [path for path in sorted(root.rglob("*")) if path.resolve() not in listed and not _hidden(path, root)]
    names = [path.relative_to(root).as_posix() for path in unlisted if path.suffix.lower() in SUFFIXES]
    skipped.extend(NotCounted(name, "not in the manifest") for name in names)
    ordered = sorted(images.values(), key=lambda image: (image.prompt, image.number, image.file))
    return ImageFolder(root, "manifest", list(prompts), ordered, skipped)


def _read_published(root: Path, prompts: Sequence[str] | None, num_people: Sequence[int] | None) -> ImageFolder:
    """The published layout. A number that others have and a prompt lacks is a missing image."""
    skipped: list[NotCounted] = []
    by_prompt: dict[int, dict[int, str]] = {}
    for folder in _entries(root):
        match = _PROMPT_FOLDER.fullmatch(folder.name)
        if match is None or not folder.is_dir():
            skipped.append(NotCounted(folder.name, "not a folder of a prompt"))
            continue
        numbered = by_prompt.setdefault(int(match[1]), {})
        for path in _entries(folder):
            name = path.relative_to(root).as_posix()
            number = _IMAGE_FILE.fullmatch(path.stem)
            if reason := _no_image(path):
                skipped.append(NotCounted(name, reason))
            elif number is None:
                skipped.append(NotCounted(name, "not called img_NUMBER"))
            elif int(number[1]) in numbered:
                skipped.append(NotCounted(name, f"a second image of number {number[1]}"))
            else:
                numbered[int(number[1])] = name
    last_image = max(itertools.chain.from_iterable(by_prompt.values()), default=-1)
    for prompt in range(max(by_prompt) + 1):
        absent = [number for number in range(last_image + 1) if number not in by_prompt.get(prompt, {})]
        if len(absent) > last_image:
            skipped.append(NotCounted(f"prompt_{prompt}", "missing, or without any image"))
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
    return ImageFolder(root, "published", names, images, skipped)


def _read_subfolders(root: Path, subfolders: list[Path]) -> ImageFolder:
    """One folder a prompt; images beside these folders, or without any, are of a prompt called after the whole."""
    skipped: list[NotCounted] = []
    prompts: list[str] = []
    images: list[FoundImage] = []
    loose = [path for path in _entries(root) if path.is_file()]
    for folder in [root, *subfolders]:
        usable: list[str] = []
        for path in loose if folder == root else _entries(folder):
            name = path.relative_to(root).as_posix()
            if path.name == PROMPT_FILE:
                continue
            if reason := _no_image(path):
                skipped.append(NotCounted(name, reason))
            else:
                usable.append(name)
        if usable:
            images.extend(FoundImage(name, len(prompts), number) for number, name in enumerate(usable))
            prompts.append(_prompt_of(folder))
        elif folder != root:
            skipped.append(NotCounted(folder.relative_to(root).as_posix(), "a folder without any image"))
    return ImageFolder(root, "folders", prompts, images, skipped)


def _prompt_of(folder: Path) -> str:
    try:
        text = (folder / PROMPT_FILE).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    return text or folder.resolve().name


def _no_image(path: Path) -> str | None:
    """Why something beside the images is none; None where it may be one."""
    if path.is_dir():
        return "a folder within"
    if path.suffix.lower() not in SUFFIXES:
        return "not an image"
    return None


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, img_2 before img_10; hidden files are nobody's images."""
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _num_people(entry: ManifestEntry) -> int | None:
    """How many people an entry asks for; images of `fairlit generate` without a number are of one person."""
    return 1 if entry.num_people is None and entry.noise_key is not None else entry.num_people
