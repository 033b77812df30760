"""Subcommands of ``fairlit`` beside those of Lightning's Trainer: one module each, which offers `run(args)`."""

from __future__ import annotations

COMMANDS = {
    "generate": "fairlit.commands.generate",
    "audit": "fairlit.commands.audit",
    "edit": "fairlit.commands.edit",
    "compare": "fairlit.commands.compare",
    "export": "fairlit.commands.export",
    "classifier": "fairlit.commands.classifier",
    "face-bank": "fairlit.commands.face_bank",
}
"""Name -> module, imported when it is called for."""
