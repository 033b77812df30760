from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fairlit.cli import main
from fairlit.pictures.files import read_parameters
from fairlit.pictures.manifest import read_manifest


def test_prompts_and_methods_from_the_terminal(
    tiny_pipeline_folder: Path, tiny_prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--model", str(tiny_pipeline_folder), "--steps", "2", "--images", "2", "--guidance_scale", "1"]
    command = ["generate", "a doctor", "a nurse", *common, "--method", "none", "--out", str(tmp_path / "a")]
    main(command)
    assert "made     4 images of 2 prompts" in capsys.readouterr().out
    main(command)
    assert "made     0 images of 2 prompts, 4 were there already" in capsys.readouterr().out
    main(["generate", "--prompts", str(tiny_prompts), "--split", "val", *common, "--out", str(tmp_path / "b")])
    entries, _ = read_manifest(tmp_path / "b")
    assert {(entry.prompt, entry.family) for entry in entries} == {
        ("a photo of the face of a chef", "people"),
        ("a photo of the face of a person", "people"),
    }


def test_landscapes_and_going_on_with_them(
    tiny_pipeline_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "a doctor", "--model", str(tiny_pipeline_folder), "--steps", "2", "--guidance_scale", "1"]
    command += ["--out", str(tmp_path / "a"), "--image_size", "[32, 48]", "--images"]
    main([*command, "1"])
    file = tmp_path / "a" / "000_a_doctor" / "0000.png"
    with Image.open(file) as image:
        assert image.size == (48, 32)
    made = file.stat().st_mtime_ns
    main([*command, "2"])
    assert file.stat().st_mtime_ns == made
    assert (file.parent / "0001.png").is_file()
    with pytest.raises(SystemExit) as caught:
        main([*command, "2", "--seed", "1"])
    assert caught.value.code == 2
    assert "give another --out, the same settings to go on, or --overwrite to replace them" in capsys.readouterr().err
    main([*command, "2", "--seed", "1", "--overwrite"])
    assert "made again: 2 images that are damaged or of other settings" in capsys.readouterr().out
    assert (read_parameters(file) or {})["seed"] == 1
    (tmp_path / "of_mine.png").write_bytes(file.read_bytes())
    with (tmp_path / "a" / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"file": "../of_mine.png", "prompt": "a doctor"}\n')
    with pytest.raises(SystemExit):
        main([*command, "1", "--seed", "1"])
    assert "which holds 2 images of other prompts or numbers" in capsys.readouterr().err
    main([*command, "1", "--seed", "1", "--overwrite"])
    assert [image.name for image in file.parent.iterdir()] == ["0000.png"]
    assert (tmp_path / "of_mine.png").is_file()  # outside the folder


def test_all_problems_come_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["generate", "--model", "no/folder/here", "--adaptor", str(tmp_path), "--device", "no"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    for words in ("out: got nothing; give --out", "device: got 'no'", "give prompts either on the command line"):
        assert words in error
