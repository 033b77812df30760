from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.errors import Problems
from fairlit.judging.image_folders import find_images
from fairlit.judging.unknown_prompts import check_prompts, prompt_doubts


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def messages(root: Path, prompts: list[str] | None = None) -> list[str]:
    problems = Problems("edit")
    check_prompts(find_images(root, prompts), problems)
    return problems.messages


def test_images_beside_folders_are_a_prompt_of_nobody_knows_which(tmp_path: Path) -> None:
    touch(tmp_path, "0.png", "1.png", "a chef/0.png")
    [doubt] = prompt_doubts([find_images(tmp_path)], clip=False)
    assert doubt.startswith(f"2 images lie directly in {tmp_path} and count as one prompt")
    (tmp_path / "prompt.txt").write_text("a photo of a nurse")
    assert prompt_doubts([find_images(tmp_path)], clip=True) == []


def test_clip_t_needs_texts(tmp_path: Path) -> None:
    touch(tmp_path, "prompt_0/img_0.png", "prompt_1/img_0.png")
    assert prompt_doubts([find_images(tmp_path)], clip=False) == []
    [doubt] = prompt_doubts([find_images(tmp_path)], clip=True)
    assert doubt.endswith("CLIP-T is left out. Give them with --prompts")
    assert prompt_doubts([find_images(tmp_path, ["a nurse", "a chef"])], clip=True) == []


@pytest.mark.parametrize(
    ("layout", "way"),
    [
        (("prompt_0/img_0.png", "prompt_1/img_0.png"), "give --prompts"),
        (("a chef/0.png", "a nurse/0.png"), "write it into prompt.txt"),
        (("0.png", "1.png"), "write it into prompt.txt"),
        (("0.png", "a chef/0.png"), "write it into prompt.txt"),
    ],
)
def test_a_name_of_a_folder_is_no_prompt_in_any_layout(tmp_path: Path, layout: tuple[str, ...], way: str) -> None:
    touch(tmp_path / "images", *layout)
    [message] = messages(tmp_path / "images")
    assert message.startswith("folder: got no prompt for the images in '")
    assert way in message
    if way.startswith("give"):
        assert messages(tmp_path / "images", ["a chef", "a nurse"]) == []
    else:
        for name in layout:
            (tmp_path / "images" / name).with_name("prompt.txt").write_text("a photo of a chef")
        assert messages(tmp_path / "images") == []
    (tmp_path / "images" / "manifest.jsonl").write_text(
        "\n".join(f'{{"file": "{name}", "prompt": "a chef"}}' for name in layout)
    )
    assert messages(tmp_path / "images") == []


def test_many_folders_without_a_prompt_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}/0.png" for number in range(5)))
    assert "'0', '1', '2' and 2 more" in messages(tmp_path)[0]
