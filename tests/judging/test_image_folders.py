from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairlit.errors import ConfigurationError
from fairlit.judging.image_folders import find_images
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
        NotCounted("prompt_0/notes.txt", "not an image"),
        NotCounted("prompt_0/cover.png", "not called img_NUMBER"),
        NotCounted(other.pop(), "a second image of number 2"),
        NotCounted("prompt_1/img_4", "missing"),
        NotCounted("prompt_2", "missing, or without any image"),
        NotCounted("prompt_3/old", "a folder within"),
    }


def test_published_layout_takes_prompts_by_number_or_names_them(tmp_path: Path) -> None:
    touch(tmp_path, "prompt_0/img_0.png", "prompt_2/img_0.png")
    assert find_images(tmp_path).prompts == ["prompt_0", "prompt_1", "prompt_2"]
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
    assert [image.file for image in found.images] == ["a nurse/2.png", "a nurse/10.png", "chefs/b.webp"]
    assert set(found.skipped) == {
        NotCounted("list.csv", "not an image"),
        NotCounted("empty/readme.md", "not an image"),
        NotCounted("empty", "a folder without any image"),
    }


def test_a_single_folder_is_one_prompt(tmp_path: Path) -> None:
    touch(tmp_path, "carpenters/1.png", "carpenters/2.png")
    found = find_images(tmp_path / "carpenters")
    assert (found.prompts, len(found.images), found.skipped) == (["carpenters"], 2, [])


def test_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected a folder with images"):
        find_images(tmp_path / "none")
    touch(tmp_path, "notes.txt")
    with pytest.raises(ConfigurationError, match="expected images in a layout that is known"):
        find_images(tmp_path)
