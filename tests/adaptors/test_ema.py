"""The moving average against its recursion."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fairlit.adaptors import AdaptorEMA
from fairlit.errors import CheckpointError, ConfigurationError

values = st.floats(-100, 100, width=32)


def _parameters(*shapes: tuple[int, ...]) -> dict[str, nn.Parameter]:
    return {f"p{index}": nn.Parameter(torch.randn(shape)) for index, shape in enumerate(shapes)}


@given(trajectory=st.lists(values, min_size=1, max_size=30), decay=st.floats(0, 0.9999), warm_up=st.booleans())
def test_follows_the_recursion(trajectory: list[float], decay: float, warm_up: bool) -> None:
    parameters = {"w": nn.Parameter(torch.tensor([trajectory[0]], dtype=torch.float64))}
    average = AdaptorEMA(parameters, decay, warm_up)
    expected = trajectory[0]
    for step, value in enumerate(trajectory[1:], start=1):
        with torch.no_grad():
            parameters["w"].fill_(value)
        average.update()
        weight = min(decay, (1 + step) / (10 + step)) if warm_up else decay
        expected = weight * expected + (1 - weight) * value
    with average.applied():
        assert parameters["w"].item() == pytest.approx(expected, abs=1e-9)


def test_applied_restores_bit_for_bit_even_after_an_exception() -> None:
    parameters = _parameters((3, 2), (5,))
    average = AdaptorEMA(parameters)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(torch.randn_like(parameter))
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with average.applied():
        assert not torch.equal(parameters["p0"], before["p0"])
        with pytest.raises(KeyError), average.applied():
            raise KeyError("from inside")
        assert not torch.equal(parameters["p0"], before["p0"])
    assert all(torch.equal(parameters[name], before[name]) for name in before)
    average.update()


def test_update_inside_applied_is_refused() -> None:
    average = AdaptorEMA(_parameters((2,)))
    with average.applied(), pytest.raises(RuntimeError, match="leave the `applied` block"):
        average.update()


def test_resumes_exactly() -> None:
    steps = torch.randn(12, 4)
    parameters = {"w": nn.Parameter(torch.zeros(4))}
    whole = AdaptorEMA(parameters)
    resumed: AdaptorEMA | None = None
    for index, step in enumerate(steps):
        with torch.no_grad():
            parameters["w"].copy_(step)
        whole.update()
        if resumed is not None:
            resumed.update()
        if index == 5:
            resumed = AdaptorEMA({"w": parameters["w"]})
            resumed.load_state_dict(whole.state_dict())
    assert resumed is not None
    assert torch.equal(resumed.state_dict()["shadow"]["w"], whole.state_dict()["shadow"]["w"])
    assert resumed.updates == 12


def test_average_of_half_precision_is_kept_in_float32() -> None:
    """1 + 2^-9 lies between two bfloat16 numbers: the average must not be lost to rounding."""
    parameter = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    average = AdaptorEMA({"w": parameter}, decay=1 - 2**-9, warm_up=False)
    with torch.no_grad():
        parameter.fill_(2.0)
    average.update()
    assert average.state_dict()["shadow"]["w"].item() == 1 + 2**-9


def test_state_is_a_copy_and_foreign_states_are_refused() -> None:
    average = AdaptorEMA(_parameters((2, 3), (4,)))
    state = average.state_dict()
    state["shadow"]["p0"].fill_(9.0)
    assert not (average.state_dict()["shadow"]["p0"] == 9.0).any()
    with pytest.raises(CheckpointError, match=r"'p0' has shape \[2, 4\], the model needs \[2, 3\]"):
        average.load_state_dict(AdaptorEMA(_parameters((2, 4), (4,))).state_dict())
    with pytest.raises(CheckpointError, match=r"'p1' of shape .* is missing"):
        average.load_state_dict(AdaptorEMA(_parameters((2, 3))).state_dict())
    with pytest.raises(CheckpointError, match="not an EMA state"):
        average.load_state_dict({"weights": {}})


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_bad_decay(decay: float) -> None:
    with pytest.raises(ConfigurationError, match="decay is"):
        AdaptorEMA(_parameters((1,)), decay)
