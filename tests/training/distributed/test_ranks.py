from __future__ import annotations

from pathlib import Path

import pytest
import torch
from two_ranks import WORLD, on_two_ranks

from fairlit.training.distributed.ranks import (
    any_rank,
    average_gradients,
    gather_rows,
    rank,
    share_of_rank,
    smallest,
    world_size,
)


def _rows(total: int) -> torch.Tensor:
    return torch.arange(total * 6, dtype=torch.float32).reshape(total, 2, 3)


def _gather() -> dict[str, object]:
    found: dict[str, object] = {"rank": rank(), "world": world_size()}
    for total in (1, 2, 7):
        mine = torch.tensor(share_of_rank(range(total)), dtype=torch.long)
        found[f"share {total}"] = mine
        rows = _rows(total).requires_grad_()[mine]
        gathered = gather_rows(rows, total)
        assert not gathered.requires_grad
        found[f"float {total}"] = gathered
        found[f"bool {total}"] = gather_rows(mine % 3 == 0, total)
        found[f"long {total}"] = gather_rows(mine, total)
    return found


def test_rows_come_back_in_their_order_on_every_rank(tmp_path: Path) -> None:
    results = on_two_ranks(_gather, tmp_path)
    for number, found in enumerate(results):
        assert (found["rank"], found["world"]) == (number, WORLD)
        assert found["share 7"].tolist() == [[0, 2, 4, 6], [1, 3, 5]][number]
        for total in (1, 2, 7):
            assert torch.equal(found[f"float {total}"], _rows(total))
            assert found[f"long {total}"].tolist() == list(range(total))
            assert found[f"bool {total}"].dtype == torch.bool
            assert found[f"bool {total}"].tolist() == [number % 3 == 0 for number in range(total)]


def _average() -> dict[str, torch.Tensor]:
    first, second, third = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), ()))
    scale = rank() + 1.0  # 1 and 2
    first.grad = scale * torch.arange(6.0).reshape(3, 2).T  # not contiguous
    if rank() == 1:
        second.grad = torch.ones(4)
    average_gradients([first, second, third])
    assert first.grad is not None
    assert second.grad is not None
    assert third.grad is not None
    return {"first": first.grad, "second": second.grad, "third": third.grad}


def test_gradients_are_averaged_and_missing_ones_count_as_zero(tmp_path: Path) -> None:
    for found in on_two_ranks(_average, tmp_path):
        torch.testing.assert_close(found["first"], 1.5 * torch.arange(6.0).reshape(3, 2).T)
        torch.testing.assert_close(found["second"], torch.full((4,), 0.5))
        assert found["third"] == 0


def _vote() -> dict[str, torch.Tensor]:
    return {"votes": torch.tensor(any_rank([rank() == 0, rank() == 1, False], torch.device("cpu")))}


def test_what_one_rank_says_counts_on_all(tmp_path: Path) -> None:
    for found in on_two_ranks(_vote, tmp_path):
        assert found["votes"].tolist() == [True, True, False]


def _smallest() -> dict[str, int]:
    return {"found": smallest(7 - 3 * rank(), torch.device("cpu"))}


def test_the_smallest_number_counts_on_all(tmp_path: Path) -> None:
    assert [found["found"] for found in on_two_ranks(_smallest, tmp_path)] == [4, 4]


def test_alone_nothing_changes() -> None:
    assert smallest(7, torch.device("cpu")) == 7
    assert any_rank([True, False], torch.device("cpu")) == [True, False]
    assert (rank(), world_size()) == (0, 1)
    assert share_of_rank("abc") == ["a", "b", "c"]
    rows = _rows(3).requires_grad_()
    assert torch.equal(gather_rows(rows, 3), rows)
    assert not gather_rows(rows, 3).requires_grad
    parameter = torch.nn.Parameter(torch.zeros(2))
    average_gradients([parameter])
    assert parameter.grad is None


@pytest.mark.parametrize("total", [0, 1, 5])
def test_no_rows(total: int) -> None:
    assert gather_rows(torch.zeros(total, 4), total).shape == (total, 4)
