"""Many tests at once: p-values that account for how many there were."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairlit.errors import ConfigurationError


def holm(p_values: Tensor | Sequence[float]) -> Tensor:
    """Adjusted p-values (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    With probability 1 - alpha there is no true hypothesis among those whose adjusted p-value is at most alpha,
    whatever the dependence of the tests.

    Args:
        p_values: [M] in [0, 1]; NaN stands for a test that could not be made, and does not count.

    Returns:
        float64 [M], in the order given: the i-th smallest of M times M - i + 1, never below a smaller one's, at most 1.

    Raises:
        ConfigurationError: A p-value is outside 0 to 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        tensor([0.0300, 0.0600, 0.0600], dtype=torch.float64)
    """
    given = torch.as_tensor(p_values, dtype=torch.float64).detach().cpu().flatten()
    made = ~given.isnan()
    if bool(((given < 0) | (given > 1)).any()):
        raise ConfigurationError(f"p_values are {given.tolist()}, give numbers from 0 to 1")
    tests = int(made.sum())
    ordered, order = given[made].sort()
    stepped = (ordered * torch.arange(tests, 0, -1)).cummax(dim=0).values.clamp(max=1.0) if tests else ordered
    adjusted = torch.full_like(given, torch.nan)
    adjusted[made] = torch.empty_like(stepped).scatter(0, order, stepped)
    return adjusted
