"""docs/upgrading.md names every old setting, with the name that the tables of the code give it."""

from __future__ import annotations

import re
from pathlib import Path

from fairlit.commands.old_names import AUDIT, COMPARE, EDIT, EXPORT
from fairlit.commands.renaming import RenamedKeys
from fairlit.commands.training_names import TRAINING

PAGE = Path(__file__).parents[1] / "docs" / "upgrading.md"


def rows() -> set[tuple[str, str, str]]:
    """Command, old name and new name of every row of the page's first table."""
    found = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| `([^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
    return {
        (command.strip(), old, new) for commands, old, new in found for command in commands.split(":")[0].split(",")
    }


def test_the_page_has_every_old_name_and_no_other() -> None:
    tables: dict[str, RenamedKeys] = {"audit": AUDIT, "compare": COMPARE, "edit": EDIT, "export": EXPORT}
    expected = {(command, old, new) for command, keys in tables.items() for old, new in keys.renamed.items()}
    for command in ("fit", "validate", "test", "predict"):
        for old, new in TRAINING.renamed.items():
            if not old.startswith("model.init_args."):
                expected.add((command, old.removeprefix("model."), new.removeprefix("model.")))
    assert rows() == expected
