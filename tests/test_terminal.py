"""What commands print can be read on every terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairlit.cli import main


def test_names_that_the_terminal_cannot_write_are_spelt_as_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")])
    assert "caf\\udce9" in capsys.readouterr().out
