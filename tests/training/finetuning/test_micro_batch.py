from __future__ import annotations

import pytest
import torch
from miniature_case import Case

from fairlit.diffusion import Conditioning, Pairs, Rollout, replay, rollout
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.training.finetuning.micro_batch import (
    LARGEST_MICRO_BATCH,
    even_micro_batch,
    largest_micro_batch,
    peak_bytes,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("budget", [0.02, 0.1])
def test_budget_decides_and_is_kept(budget: float) -> None:
    case = Case()
    conditioning = case.conditioning()
    sampled = rollout(case.chain, case.noise, conditioning)
    found = largest_micro_batch(case.chain, sampled, conditioning, parameters=case.inner, budget=budget)
    assert 1 < found < LARGEST_MICRO_BATCH["cpu"]
    repeated = Rollout(sampled.latents[:1].expand(40, -1, -1, -1), sampled.states[:, :1].expand(-1, 40, -1, -1, -1))
    many = Conditioning.of_one_prompt(conditioning.prompts, 40)

    def run(size: int) -> None:
        latents = replay(case.chain, repeated, many, torch.ones(3), case.inner, micro_batch=size)
        torch.autograd.grad(latents.sum(), case.inner, retain_graph=True)

    gib = 2**30
    assert peak_bytes(lambda: run(found), CPU) < 1.02 * budget * gib
    assert peak_bytes(lambda: run(found + 2), CPU) > 0.98 * budget * gib


def test_kept_activations_are_neither_used_up_nor_measured() -> None:
    case = Case()
    conditioning = case.conditioning()
    shape = (case.chain.solver.num_evaluations, len(case.noise))
    pairs = Pairs.all(*shape, CPU)
    keep = KeptActivations.first(2, pairs.evaluations, pairs.images, shape=shape, conditioning=conditioning)
    without, with_kept = (rollout(case.chain, case.noise, conditioning, keep=keeper) for keeper in (None, keep))
    found = [
        largest_micro_batch(case.chain, sampled, conditioning, parameters=case.inner, budget=0.1)
        for sampled in (without, with_kept)
    ]
    assert keep.count == 2
    assert found[0] == found[1]


def test_a_budget_too_small_leaves_one_pair() -> None:
    case = Case(steps=1, images=1)
    conditioning = case.conditioning()
    sampled = rollout(case.chain, case.noise, conditioning)
    assert largest_micro_batch(case.chain, sampled, conditioning, parameters=case.inner, budget=1e-6) == 1
    assert (
        largest_micro_batch(case.chain, sampled, conditioning, parameters=case.inner, budget=None)
        == LARGEST_MICRO_BATCH["cpu"]
    )
    assert (
        largest_micro_batch(case.chain, sampled, conditioning, parameters=case.inner, budget=1e6)
        == LARGEST_MICRO_BATCH["cpu"]
    )


@pytest.mark.parametrize(
    ("pairs", "largest", "even"), [(60, 32, 30), (33, 32, 17), (5, 32, 5), (64, 32, 32), (1, 1, 1)]
)
def test_batches_of_one_size(pairs: int, largest: int, even: int) -> None:
    assert even_micro_batch(pairs, largest) == even


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    few, many = Case(steps=10), Case(steps=40)
    for case in (few, many):
        case.step(4)
    assert peak_bytes(lambda: many.step(4), CPU) == pytest.approx(peak_bytes(lambda: few.step(4), CPU), rel=0.05)
