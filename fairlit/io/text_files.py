"""Text files that people write: read whole, or refused with the reason."""

from __future__ import annotations

import os
from pathlib import Path

from fairlit.errors import ConfigurationError

_MAX_BYTES = 50_000_000


def read_text(path: str | os.PathLike[str], expected: str, max_bytes: int = _MAX_BYTES) -> str:
    """Return the content of a text file.

    Args:
        path: file in UTF-8, with or without a byte-order mark.
        expected: what the file should be, for messages.
        max_bytes: size above which it is not read.

    Raises:
        ConfigurationError: the file is missing, not an ordinary file, too large or not text in UTF-8.
    """
    file = Path(path)
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise ConfigurationError(f"{file}: cannot be read (it is not a file); give {expected}")
        if file.stat().st_size > max_bytes:
            raise ConfigurationError(
                f"{file}: cannot be read (it has more than {max_bytes // 1_000_000} MB); give {expected}, in parts"
            )
        return file.read_text(encoding="utf-8-sig")
    except ConfigurationError:
        raise
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or NUL in the path
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigurationError(f"{file}: cannot be read ({reason}); give {expected}") from error
