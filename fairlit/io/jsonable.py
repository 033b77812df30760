"""Results as what every JSON reader understands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def to_jsonable(value: Any) -> Any:
    """Turn tensors, arrays, tuples and mappings into lists, dicts, numbers, text and None.

    Numbers that are not finite become None: JSON has no spelling for them that all readers accept.

    Args:
        value: Nested mappings, lists and tuples of tensors, arrays, numbers, text, bool and None. Anything else is
            written as its `str`.

    Returns:
        A copy that `json.dumps(..., allow_nan=False)` accepts.

    Example:
        >>> import numpy as np
        >>> to_jsonable({"bias_ci": (0.1, float("nan")), 3: np.arange(2)})
        {'bias_ci': [0.1, None], '3': [0, 1]}
    """
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float):  # numpy's float64 is one
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):  # tensors, arrays, and their scalars, without importing torch or numpy
        return to_jsonable(value.tolist())
    return str(value)
