from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from torch import Tensor

from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge, Seen, observe_folder

RED, BLUE = (220, 40, 40), (40, 40, 220)


@pytest.mark.parametrize(
    ("damage", "looked_at"),
    [
        (lambda lines: [*lines, b"\xff\xfe"], 0),
        (lambda lines: [*lines, b'"x"'], 0),
        (lambda lines: [lines[0], b"[]", *lines[1:]], 0),
        (lambda lines: [lines[0], lines[1][:-9], *lines[2:]], 1),
        (lambda lines: [lines[0], lines[1].replace(b'"tint"', b'"tent"'), *lines[2:]], 1),
        (lambda lines: [lines[0].replace(b"tint", b"tent"), *lines[1:]], 3),
        (lambda lines: lines[1:], 3),
        (lambda lines: [], 3),
    ],
)
def test_damaged_notes_are_dropped_and_their_images_looked_at_again(
    damage: Callable[[Sequence[bytes]], Sequence[bytes]],
    looked_at: int,
    colour_folder: Callable[..., Path],
    judge: Judge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, notes = find_images(colour_folder([RED, BLUE, RED])), tmp_path / "notes.jsonl"
    expected = observe_folder(folder, judge, notes)
    whole = notes.read_bytes()
    notes.write_bytes(b"\n".join(damage(whole.splitlines())) + b"\n")
    looked: list[int] = []
    look = Judge.look

    def counting(self: Judge, images: Tensor) -> list[Seen]:
        looked.append(len(images))
        return look(self, images)

    monkeypatch.setattr(Judge, "look", counting)
    assert observe_folder(folder, judge, notes) == expected
    assert sum(looked) == looked_at
    assert sorted(notes.read_bytes().splitlines()) == sorted(whole.splitlines())
