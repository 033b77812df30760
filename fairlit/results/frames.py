"""Tables of pandas, which is imported where somebody asks for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fairlit.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd


def data_frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows as a `pandas.DataFrame`.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigurationError(
            "to_frame: got no pandas; expected it to be installed; run `pip install fairlit[frames]`"
        ) from error
    return pd.DataFrame(list(rows))
