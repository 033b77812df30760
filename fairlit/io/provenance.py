"""What results were made with, compared with what would make them now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlit.io.foreign_text import shortened
from fairlit.io.setting_paths import differing_settings

DIGESTS = "digests"
"""Setting that holds name of a model -> digest of its content: a path alone does not tell what lies there."""


def made_otherwise(noted: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return in words which other setting or model results were made with; None where they were made alike.

    Args:
        noted: settings that were noted with the results; earlier versions of fairlit noted no digests.
        now: settings that would make them now, with `DIGESTS`.

    Example:
        >>> made_otherwise({"steps": 30, "digests": {}}, {"steps": 20, "digests": {}})
        'steps 30, not 20'
        >>> made_otherwise({"digests": {"model": "a", "judge": "b"}}, {"digests": {"model": "a", "judge": "c"}})
        'another judge than is there now'
        >>> made_otherwise({}, {"digests": {"model": "a"}})
        'an unknown model, of which earlier versions of fairlit noted the path alone'
    """
    one, other = ({name: value for name, value in held.items() if name != DIGESTS} for held in (noted, now))
    for name in differing_settings(one, other)[:1]:
        return f"{name} {shortened(noted.get(name))}, not {shortened(now.get(name))}"
    return _changed_models(noted.get(DIGESTS), now[DIGESTS])


def _changed_models(noted: object, now: Mapping[str, str]) -> str | None:
    known = noted if isinstance(noted, Mapping) else {}
    differing = [name for name, digest in now.items() if known.get(name) != digest]
    changed = [name for name in differing if name in known]
    if changed:
        return f"another {' and '.join(changed)} than is there now"
    if differing:
        return f"an unknown {' and '.join(differing)}, of which earlier versions of fairlit noted the path alone"
    return None
