from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import lightning as L
import pytest
import torch

from fairlit.errors import Problems
from fairlit.training import FrozenShardsStrategy, Gradient, Replay, Sampling
from fairlit.training.finetuning.run_checks import check_optimizer, check_run


def complaints(images: int, world: int, shards: bool = False, precision: str = "32-true", **sizes: Any) -> list[str]:
    strategy = FrozenShardsStrategy() if shards else None
    trainer = cast(L.Trainer, SimpleNamespace(precision=precision, world_size=world, strategy=strategy))
    sampling = Sampling(min_steps=2, max_steps=3, batch_size=sizes.get("batch_size", 16))
    replay = Replay(**({"micro_batch": 16} | {name: sizes[name] for name in sizes if hasattr(Replay, name)}))
    gradient = Gradient(mode=sizes.get("mode", "replay"))
    problems = Problems("test")
    check_run(trainer, {"train": images, "val": 8}, sampling, gradient=gradient, replay=replay, problems=problems)
    return problems.messages


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_precisions_that_do(precision: str) -> None:
    assert complaints(4, 2, precision=precision) == []


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true", "transformer-engine"])
def test_precisions_that_the_models_do_not_have(precision: str) -> None:
    [message] = complaints(4, 2, precision=precision)
    assert message.startswith(f"trainer.precision: got {precision}; ")
    assert "bf16-mixed" in message


def test_every_process_needs_an_image() -> None:
    assert "got 3 images of each train prompt for 4 processes" in complaints(3, 4)[0]


@pytest.mark.parametrize(
    ("precision", "fused", "refused"),
    [("16-mixed", True, True), ("16-mixed", False, False), ("bf16-mixed", True, False)],
)
def test_fused_optimizers_and_scaled_gradients(precision: str, fused: bool, refused: bool) -> None:
    trainer = cast(L.Trainer, SimpleNamespace(precision=precision))
    problems = Problems("test")
    check_optimizer(torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=fused), trainer, problems)
    assert bool(problems.messages) == refused
    assert all(message.endswith("give false, or take bf16-mixed") for message in problems.messages)


def test_shards_need_a_number_for_the_micro_batch() -> None:
    [message] = complaints(4, 2, shards=True, micro_batch="auto")
    assert message.startswith("replay.micro_batch: got auto")
    assert complaints(4, 2, micro_batch="auto") == []


@pytest.mark.parametrize("mode", ["detached", "published", "full"])
def test_settings_of_the_replay_are_refused_where_nothing_is_replayed(mode: str) -> None:
    keep, fraction = complaints(4, 1, mode=mode, keep=0.5, step_fraction=0.25)
    assert keep.startswith(f"replay.keep: got 0.5 with gradient.mode {mode}, which replays nothing; expected auto or 0")
    assert fraction.startswith(f"replay.step_fraction: got 0.25 with gradient.mode {mode}, ")
    assert complaints(4, 1, mode=mode, keep=0) == complaints(4, 1, keep=0.5, step_fraction=0.25) == []


def test_shards_keep_no_activations() -> None:
    [message] = complaints(4, 2, shards=True, keep=1.0)
    assert message.startswith("replay.keep: got 1.0")
    assert complaints(4, 2, shards=True, keep=0) == complaints(4, 2, keep=1.0) == []


@pytest.mark.parametrize(
    ("images", "sizes", "fine"),
    [
        (6, {"batch_size": 1, "micro_batch": 1}, True),  # the same in both
        (5, {}, True),  # 3 and 2 images: one batch, and 9 or 6, 6 or 4 pairs in one micro-batch
        (5, {"batch_size": 2}, False),  # 2 batches and 1
        (5, {"micro_batch": 4}, False),  # 3 micro-batches and 2
    ],
)
def test_shards_need_as_many_model_calls_in_every_process(images: int, sizes: Any, fine: bool) -> None:
    found = complaints(images, 2, shards=True, **sizes)
    assert complaints(images, 2, **sizes) == []
    assert bool(found) != fine
    if found:
        assert "would wait for ever" in found[0]
        assert found[0].endswith("give 4 or 6")
