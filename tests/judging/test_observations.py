from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fairlit.faces import AttributeClassifier, ClassifierConfig
from fairlit.faces.ensemble import ClassifierEnsemble
from fairlit.faces.validation import AttributeValidation
from fairlit.faces.zero_shot import ClipZeroShotClassifier, ZeroShotConfig
from fairlit.judging.image_folders import find_images
from fairlit.judging.observations import Judge, Seen, observe_folder
from fairlit.perception import ClipEncoder

TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
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


def test_notes_are_those_of_a_classifier_with_the_same_settings(
    colour_folder: Callable[..., Path], judge: Judge, tmp_path: Path
) -> None:
    """Temperatures, crops and words are in no weight, and decide probabilities all the same."""
    torch.manual_seed(0)
    plain = AttributeClassifier(ClassifierConfig({"tint": ("red", "blue")}, "shufflenet_v2", TINY, 16)).freeze()

    def with_(**settings: Any) -> Judge:
        changed = AttributeClassifier(replace(plain.config, **settings)).freeze()
        changed.load_state_dict(plain.state_dict())
        return Judge(judge.detector, changed, judge.names)

    folder, notes = find_images(colour_folder([RED, BLUE])), tmp_path / "notes.jsonl"
    before = observe_folder(folder, with_(), notes)
    whole = notes.read_bytes()
    assert observe_folder(folder, with_(), notes) == before
    assert notes.read_bytes() == whole
    colder = with_(temperature={"tint": 0.1})
    after = observe_folder(folder, colder, notes)
    assert after != before
    assert after == observe_folder(folder, colder, tmp_path / "new.jsonl")
    assert with_(mean=(0.1, 0.1, 0.1)).classifier.fingerprint != plain.fingerprint
    validation = {"tint": AttributeValidation(((9, 1), (1, 9)), 0.1, 0.1)}
    assert with_(validation=validation).classifier.fingerprint == plain.fingerprint


def test_every_kind_of_classifier_has_a_fingerprint(tiny_models: dict[str, str]) -> None:
    words = {"tint": {"red": ["red"], "blue": ["blue"]}}
    encoder = ClipEncoder.load(tiny_models["clip"])
    one, other = (
        ClipZeroShotClassifier(encoder, ZeroShotConfig(tiny_models["clip"], words, templates=[template]))
        for template in ("a {word} person", "the {word} face")
    )
    assert one.fingerprint != other.fingerprint
    assert ClassifierEnsemble([one, other]).fingerprint != ClassifierEnsemble([other, one]).fingerprint
