"""The code blocks of the README and of the docs, and what a shell makes of the commands in them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
# Every command but the shell's own lands in the handler, which writes it down instead of running it.
HANDLER = "command_not_found_handle() { printf '%s\\x1f' \"$@\"; printf '\\x1e'; }\ncd() { :; }\n"


@dataclass(frozen=True)
class Block:
    """A code block: name of its page, number of its first line, language, text."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """The README and every page of the docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_blocks(*languages: str) -> list[Block]:
    """All blocks in these languages; without any: all blocks."""
    found = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            found.append(Block(str(path.relative_to(ROOT)), line, match["language"], code))
    return [block for block in found if not languages or block.language in languages]


def shell_commands(code: str, folder: Path) -> Sequence[list[str]]:
    """The commands of a block as bash splits and expands them, none of which is run."""
    done = subprocess.run(
        ["/bin/bash", "-euc", HANDLER + code],
        cwd=folder,
        env={"PATH": "/nowhere", "SCRATCH": "scratch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [command.split("\x1f")[:-1] for command in done.stdout.split("\x1e")[:-1]]
