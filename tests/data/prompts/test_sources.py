from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.data.prompts.config import PromptSource
from fairlit.data.prompts.sources import list_prompts, read_prompts
from fairlit.errors import ConfigurationError, Problems
from fairlit.judging.config import find_folders


def texts(*args: object, **kwargs: object) -> list[str]:
    return [prompt.text for prompt in read_prompts(*args, **kwargs)]  # type: ignore[arg-type]


def test_prompts_from_everywhere(tmp_path: Path, tiny_prompts: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("# a comment\n\n  a chef \na nurse\na chef\n")
    assert texts(["a", "b", "a"]) == ["a", "b"]
    assert texts(file=str(lines)) == ["a chef", "a nurse"]
    assert texts(file=str(tiny_prompts)) == ["a photo of the face of a farmer", "a photo of the face of a man"]
    assert texts(file=str(tiny_prompts), families=["people"], split="val")[0] == "a photo of the face of a chef"


def test_faults_are_named(tmp_path: Path, tiny_prompts: Path) -> None:
    (tmp_path / "empty.txt").write_text("#\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    for arguments, message in (
        ({}, "on the command line or with --prompts"),
        ({"texts": ["a"], "file": "x"}, "on the command line or with --prompts"),
        ({"texts": [" "]}, "all are empty"),
        ({"file": str(tmp_path / "empty.txt")}, "all are empty"),
        ({"file": str(tmp_path / "none.txt")}, "cannot be read"),
        ({"file": str(tmp_path / "bytes.txt")}, "not text in UTF-8"),
        ({"texts": ["a"], "families": ["x"]}, "leave out --families"),
        ({"file": str(tiny_prompts), "families": ["x"]}, "has no 'x'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_prompts(**arguments)  # type: ignore[arg-type]


def test_repeats_are_taken_once_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "lines.txt").write_text("a chef\na nurse\na chef\na nurse\n")
    assert texts(file=str(tmp_path / "lines.txt")) == ["a chef", "a nurse"]
    assert "repeated 2 of 4 prompts, each is taken once; the first is 'a chef'" in caplog.text


def test_repeats_do_not_shift_numbered_folders(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a chef\na chef\na nurse\n")
    (tmp_path / "families.json").write_text('{"test_prompts": ["a chef", "a chef", "a nurse"]}')
    for number in range(3):
        (tmp_path / "images" / f"prompt_{number}").mkdir(parents=True)
        (tmp_path / "images" / f"prompt_{number}" / "img_0.png").touch()
    for name in ("lines.txt", "families.json"):
        with Problems("audit") as problems:
            source = PromptSource(prompts=str(tmp_path / name))
            (folder,) = find_folders([str(tmp_path / "images")], source, problems)
        by_file = {image.file: folder.prompts[image.prompt] for image in folder.images}
        assert by_file == {
            "prompt_0/img_0.png": "a chef",
            "prompt_1/img_0.png": "a chef",
            "prompt_2/img_0.png": "a nurse",
        }


def test_a_prompt_of_two_families_with_two_targets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(
        "families:\n"
        "  one: {prompts: {test: [a chef]}, target: {gender: {female: 0.5, male: 0.5}}}\n"
        "  two: {prompts: {test: [a chef]}, target: {gender: {female: 0.7, male: 0.3}}}\n"
    )
    with pytest.raises(ConfigurationError, match="stands in 'one' and 'two' with another target"):
        read_prompts(file=str(tmp_path / "two.yaml"))
    assert len(list_prompts(file=str(tmp_path / "two.yaml"))) == 2


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nul.txt").write_text("a chef\na \0 nurse\n")
    (tmp_path / "long.txt").write_text("a " * 6000)
    for file, message in (
        ("nul.txt", "control character U\\+0000"),
        ("long.txt", "got 11999 characters"),
        (".", "it is not a file"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_prompts(file=str(tmp_path / file))
    with pytest.raises(ConfigurationError, match="control character U\\+001B"):
        read_prompts(["a \x1b[31m chef"])
