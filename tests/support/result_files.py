"""Files of results as fairlit 0.1.0 wrote them: small audits, comparisons and runs of the embedded models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILES = Path(__file__).parents[1] / "results" / "files"


def old_file(name: str) -> Path:
    """The file of `name`: audit, groups, comparison, summary or validation."""
    return FILES / f"{name}_0_1_0.json"


def old_content(name: str) -> dict[str, Any]:
    return dict(json.loads(old_file(name).read_text(encoding="utf-8")))
