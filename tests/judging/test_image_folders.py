from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from fairlit.errors import ConfigurationError
from fairlit.judging.image_folders import NOT_CALLED_IMAGE, find_images
from fairlit.results.judging import NotCounted


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_published_layout_counts_gaps_and_strangers(tmp_path: Path) -> None:
    touch(tmp_path, *(f"prompt_{p}/img_{n}.jpg" for p in (0, 1, 3) for n in range(11) if (p, n) != (1, 4)))
    touch(tmp_path, "prompt_0/notes.txt", "prompt_0/cover.png", "prompt_1/img_2.PNG", "prompt_1/.hidden.png", "log.txt")
    (tmp_path / "prompt_3" / "old").mkdir()
    found = find_images(tmp_path, ["a", "b", "c", "d"])
    assert found.layout == "published"
    assert [(image.prompt, image.number) for image in found.images] == [
        (p, n) for p in (0, 1, 3) for n in range(11) if (p, n) != (1, 4)
    ]
    assert found.images[-1].file == "prompt_3/img_10.jpg"
    second = next(image.file for image in found.images if (image.prompt, image.number) == (1, 2))
    other = {"prompt_1/img_2.PNG", "prompt_1/img_2.jpg"} - {second}
    assert set(found.skipped) == {
        NotCounted("log.txt", "not a folder of a prompt"),
        NotCounted("prompt_0/notes.txt", NOT_CALLED_IMAGE),
        NotCounted("prompt_0/cover.png", "not called img_NUMBER"),
        NotCounted(other.pop(), "a second image of number 2"),
        NotCounted("prompt_1/img_4", "missing"),
        NotCounted("prompt_2", "missing, or without any image"),
        NotCounted("prompt_3/old", "a folder within"),
    }


def test_published_layout_takes_prompts_by_number_or_names_them(tmp_path: Path) -> None:
    touch(tmp_path, "prompt_0/img_0.png", "prompt_2/img_0.png")
    found = find_images(tmp_path)
    assert (found.prompts, found.unnamed) == (["prompt_0", "prompt_1", "prompt_2"], ["prompt_0", "prompt_2"])
    assert not find_images(tmp_path, ["a", "b", "c"]).unnamed
    with pytest.raises(ConfigurationError, match=r"got 2 for .* expected 3 or more, as there is a prompt_2"):
        find_images(tmp_path, ["a", "b"])


def test_manifest_layout_believes_the_manifest_but_not_everything(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.png", "x/0.png", "y/0.png", "y/stray.png")
    lines = [
        {"file": "x/1.png", "prompt": "p", "number": 1, "noise_key": [0, 2, 0, 1]},
        {"file": "x/0.png", "prompt": "p", "number": 0, "noise_key": [0, 2, 0, 0]},
        {"file": "x/gone.png", "prompt": "p"},
        {"file": "../outside.png", "prompt": "p"},
        {"file": "y/0.png", "prompt": "q"},
        {"file": "y/0.png", "prompt": "q"},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"file": "x')
    touch(tmp_path.parent, "outside.png")
    found = find_images(tmp_path)
    assert (found.layout, found.prompts) == ("manifest", ["p", "q"])
    assert [(image.file, image.number, image.noise_key) for image in found.images] == [
        ("x/0.png", 0, (0, 2, 0, 0)),
        ("x/1.png", 1, (0, 2, 0, 1)),
        ("y/0.png", 0, None),
    ]
    assert found.skipped == [
        NotCounted("manifest.jsonl", "line 7 is damaged"),
        NotCounted("x/gone.png", "missing"),
        NotCounted("../outside.png", "outside the folder"),
        NotCounted("y/0.png", "listed twice in the manifest"),
        NotCounted("y/stray.png", "not in the manifest"),
    ]


def test_one_folder_a_prompt(tmp_path: Path) -> None:
    touch(tmp_path, "a nurse/2.png", "a nurse/10.png", "chefs/b.webp", "empty/readme.md", "list.csv")
    (tmp_path / "chefs" / "prompt.txt").write_text("a photo of a <b>chef</b>\n")
    found = find_images(tmp_path)
    assert (found.layout, found.prompts) == ("folders", ["a nurse", "a photo of a <b>chef</b>"])
    assert (found.unnamed, found.is_flat, found.has_texts) == (["a nurse"], False, True)
    assert [image.file for image in found.images] == ["a nurse/2.png", "a nurse/10.png", "chefs/b.webp"]
    assert set(found.skipped) == {
        NotCounted("list.csv", NOT_CALLED_IMAGE),
        NotCounted("empty/readme.md", NOT_CALLED_IMAGE),
        NotCounted("empty", "a folder without any image"),
    }


def test_a_single_folder_is_one_prompt(tmp_path: Path) -> None:
    touch(tmp_path, "carpenters/1.png", "carpenters/2.png")
    found = find_images(tmp_path / "carpenters")
    assert (found.prompts, len(found.images), found.skipped) == (["carpenters"], 2, [])
    assert found.is_flat
    assert not found.has_texts
    (tmp_path / "carpenters" / "prompt.txt").write_text("a photo of a carpenter")
    told = find_images(tmp_path / "carpenters")
    assert (told.prompts, told.unnamed, told.is_flat, told.has_texts) == (["a photo of a carpenter"], [], False, True)


def test_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a folder with images"):
        find_images(tmp_path / "none")
    touch(tmp_path, "notes.txt")
    with pytest.raises(ConfigurationError, match="expected images in a layout that is known"):
        find_images(tmp_path)


def test_one_bad_name_or_file_is_listed_and_the_others_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "chefs/0.png", "chefs/²1.png")
    chefs = tmp_path / "chefs"
    (chefs / os.fsdecode(b"caf\xe9.png")).touch()
    (tmp_path / os.fsdecode(b"m\xfcller")).mkdir()
    os.mkfifo(chefs / "pipe.png")
    os.mkfifo(chefs / "prompt.txt")
    (chefs / "loop.png").symlink_to("loop.png")
    (chefs / "gone.png").symlink_to("nowhere.png")
    (chefs / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "around").symlink_to(".")
    found = find_images(tmp_path)
    assert (found.prompts, [image.file for image in found.images]) == (["chefs"], ["chefs/0.png", "chefs/²1.png"])
    assert {(entry.file, entry.reason) for entry in found.skipped} == {
        (r"chefs/caf\udce9.png", "its name is not UTF-8"),
        (r"m\udcfcller", "its name is not UTF-8"),
        ("chefs/pipe.png", "no regular file"),
        ("chefs/prompt.txt", NOT_CALLED_IMAGE),
        ("chefs/loop.png", f"cannot be opened ({os.strerror(errno.ELOOP)})"),
        ("chefs/gone.png", "a link that leads nowhere"),
        ("chefs/zero.png", "no regular file"),
        ("around", "a link to a folder around it"),
    }


@pytest.mark.parametrize("content", [b"caf\xe9", b"a\0b", b"x" * 100_001])
def test_a_prompt_that_cannot_be_read_is_listed(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path, "chefs/0.png")
    (tmp_path / "chefs" / "prompt.txt").write_bytes(content)
    found = find_images(tmp_path)
    assert found.prompts == ["chefs"]
    assert [entry.file for entry in found.skipped] == ["chefs/prompt.txt"]


def test_lines_of_a_manifest_that_name_no_file_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "0.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    (tmp_path / "round").symlink_to(".")
    long = "a" * 300 + ".png"
    names = ["0.png", "a\0b.png", long, "pipe.png", "loop.png", "\ud800.png", ""]
    lines = [json.dumps({"file": name, "prompt": "a \ud800 chef"}) for name in names]
    (tmp_path / "manifest.jsonl").write_text("\n".join([*lines, "[" * 200_000, '{"file": 3}']))
    found = find_images(tmp_path)
    assert (found.prompts, [image.file for image in found.images]) == (["a \ufffd chef"], ["0.png"])
    listed = {entry.file: entry.reason for entry in found.skipped}
    assert listed == {
        "manifest.jsonl": "line 9 is damaged",
        r"a\x00b.png": "no name of a file",
        long: f"cannot be opened ({os.strerror(errno.ENAMETOOLONG)})",
        "pipe.png": "no regular file",
        "loop.png": f"cannot be opened ({os.strerror(errno.ELOOP)})",
        "\ufffd.png": "missing",
        ".": "no regular file",
        r"caf\udce9.png": "not in the manifest",
    }
    assert NotCounted("manifest.jsonl", "line 8 is damaged") in found.skipped


def test_numbers_that_nobody_counts_to_do_not_fill_memory(tmp_path: Path) -> None:
    touch(tmp_path, "prompt_0/img_0.png", "prompt_0/img_999999999.png", "prompt_0/img_400.png", "prompt_1/img_0.png")
    (tmp_path / "prompt_99999999999").mkdir()
    found = find_images(tmp_path)
    assert [image.number for image in found.images] == [0, 400, 0]
    assert set(found.skipped) == {
        NotCounted("prompt_99999999999", "not a folder of a prompt"),
        NotCounted("prompt_0/img_999999999.png", "not called img_NUMBER"),
        NotCounted("prompt_0", "399 of img_0 to img_400 are missing"),
        NotCounted("prompt_1", "400 of img_0 to img_400 are missing"),
    }


def test_a_folder_whose_path_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"m\xfcller")
    folder.mkdir()
    (folder / "0.png").touch()
    with pytest.raises(ConfigurationError, match=r"got .*udcfcller.*; expected a path in UTF-8; rename the folder"):
        find_images(folder)


def test_whatever_pillow_opens_counts_and_other_names_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "chefs/0.JFIF", "chefs/1.avif", "chefs/2.gif", "chefs/3")
    found = find_images(tmp_path)
    assert [image.file for image in found.images] == ["chefs/0.JFIF", "chefs/1.avif", "chefs/2.gif"]
    assert found.skipped == [NotCounted("chefs/3", NOT_CALLED_IMAGE)]
