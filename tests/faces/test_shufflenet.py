from __future__ import annotations

import pytest
import torch
from torchvision.models import ShuffleNetV2

from fairlit.errors import ConfigurationError
from fairlit.faces.shufflenet import ShuffleNet


@pytest.mark.parametrize("sizes", [([1, 2, 1], [8, 16, 32, 48, 20]), ([2, 1, 3], [6, 10, 10, 12, 7])])
def test_it_is_the_network_of_torchvision(sizes: tuple[list[int], list[int]]) -> None:
    """The same random weights from one seed, under the same names, and the same logits and gradients."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = ShuffleNetV2(*sizes)
        torch.manual_seed(0)
        network = ShuffleNet(*sizes)
    state, expected_state = network.state_dict(), expected.state_dict()
    assert list(state) == list(expected_state)
    assert all(torch.equal(state[name], expected_state[name]) for name in state)
    images = torch.rand(2, 3, 40, 33, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits, expected_logits = network(images), expected(images)  # in training mode: statistics move
    assert torch.equal(logits, expected_logits)
    assert all(torch.equal(*pair) for pair in zip(network.buffers(), expected.buffers(), strict=True))
    gradients = [torch.autograd.grad(some[:, :9].sum(), images)[0] for some in (logits, expected_logits)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("repeats", "channels", "named"),
    [
        ([1], [8, 16, 32, 48, 20], r"stages_repeats: got \[1\]; expected 3"),
        ([1, 0, 1], [8, 16, 32, 48, 20], "stages_repeats.*1 or more"),
        ([1, 1, 1], [8, 16, 32, 48], "stages_out_channels.*expected 5"),
        ([1, 1, 1], [8, 16, 31, 48, 20], "stages_out_channels: got 31.*even"),
    ],
)
def test_wrong_sizes_are_named(repeats: list[int], channels: list[int], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        ShuffleNet(repeats, channels)
