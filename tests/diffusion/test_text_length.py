from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fairlit.diffusion.text_length import cut_tokens, open_tokenizer, warn_of_cut_texts


def test_tokens_beyond_the_limit_are_counted(tiny_pipeline_folder: Path) -> None:
    tokenizer = open_tokenizer(tiny_pipeline_folder)
    assert tokenizer is not None
    assert tokenizer.model_max_length == 77
    for words, cut in ((1, 0), (75, 0), (76, 1), (100, 25)):  # `doctor` is one token, and two mark the ends
        assert cut_tokens(tokenizer, "doctor " * words) == cut
    assert cut_tokens(tokenizer, "q" * 80) == 5
    assert cut_tokens(tokenizer, "\udc80 doctor") == 0


def test_a_model_without_a_readable_tokenizer_has_none(tmp_path: Path) -> None:
    assert open_tokenizer("somebody/no-such-model") is None
    assert open_tokenizer(tmp_path) is None
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{")
    assert open_tokenizer(tmp_path) is None


def test_texts_that_are_cut_are_named(tiny_pipeline_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = open_tokenizer(tiny_pipeline_folder)
    assert tokenizer is not None
    long = [f"a photo of {number} " + "doctor " * 80 for number in range(5)]
    with caplog.at_level(logging.WARNING, "fairlit"):
        warn_of_cut_texts(tokenizer, ["a doctor", *long, long[0]])
    assert len(caplog.messages) == 4
    assert caplog.messages[0].startswith("cut      9 tokens at the end of 'a photo of 0 doctor doctor")
    assert "5 of 6 texts in all" in caplog.messages[3]
