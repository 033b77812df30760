from __future__ import annotations

import pytest
import torch

from fairlit.diffusion.out_of_memory import is_out_of_memory


def test_both_allocators_are_understood_and_no_other_error() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2) + torch.ones(3)
    assert not is_out_of_memory(caught.value)
    assert not is_out_of_memory(MemoryError())
