from __future__ import annotations

import pytest
import torch

from fairlit.errors import NotFiniteError
from fairlit.io.finiteness import first_not_finite, require_finite


def test_the_first_tensor_that_is_not_finite_is_named() -> None:
    tensors = {
        "a": torch.ones(2),
        "n": torch.arange(3),
        "b": torch.tensor([1.0, torch.inf]),
        "c": torch.tensor(torch.nan),
    }
    assert first_not_finite(tensors) == "b"
    assert first_not_finite({"a": torch.ones(0), "n": torch.arange(3)}) is None


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_rows_that_are_not_finite_are_counted(shape: tuple[int, ...]) -> None:
    values = torch.ones(shape)
    assert require_finite(values, "network") is values
    values[1], values[3] = torch.nan, -torch.inf
    with pytest.raises(NotFiniteError, match=r"^network: got NaN or infinity for 2 of 4; expected finite numbers"):
        require_finite(values, "network")


def test_no_rows_are_finite() -> None:
    for shape in ((0,), (0, 3)):
        assert len(require_finite(torch.zeros(shape), "network")) == 0
