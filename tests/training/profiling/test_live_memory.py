from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from fairlit.training.profiling.live_memory import GpuAutocast, LiveMemory, bytes_of, outline


def test_counts_what_is_alive() -> None:
    before = torch.zeros(1000)
    with LiveMemory() as live:
        first = before + 1  # 4000 bytes
        second = first.double()  # 8000
        assert live.now == 12_000
        del first
        assert (live.now, live.peak) == (8000, 12_000)
        view = second[:10].reshape(2, 5)  # nothing new
        before.add_(1)
        old = before[::2]
        assert live.now == 8000
        del second
        assert live.now == 8000  # the view holds it
        del view, old
    assert (live.now, live.peak) == (0, 12_000)


def test_counts_what_the_backward_pass_keeps_alike_on_tensors_without_content() -> None:
    """Linear layers keep their input, which is 4 x 256 floats here, for the gradient of their weight."""

    def train(model: torch.nn.Module) -> tuple[int, int]:
        with LiveMemory() as live:
            loss = model(torch.zeros(4, 256)).sum()
            kept = live.now
            torch.autograd.grad(loss, list(model.parameters()))
        return kept, live.peak

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.Linear(256, 256))

    real = train(build())
    with torch.device("meta"):
        model = build()
    with FakeTensorMode():
        outline(model)
        assert train(model) == real
    assert real[0] == 4 * (2 * 4 * 256 + 1)  # the inputs of both layers, and the loss
    assert real[1] > 4 * 2 * 256 * 257  # the gradients of both at the end


def test_outlines_keep_shapes_sharing_and_what_is_trained() -> None:
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(8, 4))
    model[2].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    size = bytes_of(model)
    assert size == 4 * (8 * 4 + 4 + 4 + 4 * 4) + 8  # weights, biases, batch statistics, and their count
    old = model[0].weight
    with FakeTensorMode():
        made = outline(model)
    assert model[0].weight is model[2].weight is made[id(old)]
    assert model[0].weight.device.type == "cpu"
    assert not model[0].bias.requires_grad
    assert bytes_of(model) == size


def test_gpus_normalise_in_full_precision() -> None:
    inputs = torch.zeros(2, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert functional.layer_norm(inputs, (4,)).dtype == torch.bfloat16
        with GpuAutocast():
            assert functional.layer_norm(inputs, (4,)).dtype == torch.float32
            assert functional.linear(inputs.float(), torch.zeros(3, 4)).dtype == torch.bfloat16
    with GpuAutocast():
        assert functional.layer_norm(inputs, (4,)).dtype == torch.bfloat16
