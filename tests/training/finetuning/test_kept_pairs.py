"""How many pairs are kept: as many as the budget holds, and no byte more."""

from __future__ import annotations

import pytest
import torch
from miniature_case import Case
from torch import Tensor

from fairlit.diffusion import Pairs, rollout
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.training.finetuning.kept_pairs import kept_pairs

STEPS, BATCH = 4, 8


def saved_bytes(case: Case, count: int) -> int:
    """Bytes that the graphs of the first `count` pairs save, weights apart."""
    owned = {parameter.untyped_storage().data_ptr() for parameter in case.backbone.parameters()}
    saved: dict[int, int] = {}
    tensors: list[Tensor] = []  # held, so that no address is used again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            saved[storage.data_ptr()] = storage.nbytes()
            tensors.append(tensor)
        return tensor

    conditioning, images = case.conditioning(), len(case.noise)
    pairs = Pairs.all(STEPS, images, torch.device("cpu"))
    keep = KeptActivations.first(
        count, pairs.evaluations, pairs.images, shape=(STEPS, images), conditioning=conditioning
    )
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        rollout(case.chain, case.noise, conditioning, BATCH, keep=keep)
    assert keep.count == count
    return sum(saved.values())


@pytest.mark.parametrize("mebibytes", [64, 128, 256, 512])
def test_bytes_are_within_the_budget_and_near_it(mebibytes: int) -> None:
    case = Case(STEPS, images=4 + mebibytes // 16)
    budget = mebibytes / 2**10
    count = kept_pairs(case.chain, case.noise, case.conditioning(), budget=budget, max_batch=BATCH)
    assert 0 < count < STEPS * len(case.noise)
    assert 0.8 * mebibytes < saved_bytes(case, count) / 2**20 <= mebibytes


def test_half_precision_counts_the_casts_of_weights() -> None:
    """Every evaluation keeps casts of its own: in bfloat16 fewer bytes a pair, and some for each batch."""
    case = Case(STEPS, images=12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        count = kept_pairs(case.chain, case.noise, case.conditioning(), budget=0.125, max_batch=BATCH)
        assert 0.7 * 128 < saved_bytes(case, count) / 2**20 <= 128


def test_a_budget_below_one_pair_keeps_nothing() -> None:
    case = Case(STEPS, images=12)
    assert kept_pairs(case.chain, case.noise, case.conditioning(), budget=1e-4, max_batch=BATCH) == 0
