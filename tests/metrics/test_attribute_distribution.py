from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy.stats import binomtest
from torch import Tensor

from fairlit.errors import ConfigurationError, NotFiniteError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.fairness import noise_floor, noise_floor_tv
from fairlit.metrics import AttributeDistribution
from fairlit.results.record import Estimate, encode

TARGET = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.75, "old": 0.25}})


def sure(labels: list[int], classes: int = 2, top: float = 0.9) -> Tensor:
    rest = (1 - top) / (classes - 1)
    return torch.full((len(labels), classes), rest).scatter(1, torch.tensor(labels)[:, None], top)


def shares(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {name: estimate.value for name, estimate in estimates.items()}


def filled() -> AttributeDistribution:
    """Prompt 3: four images, one without a face; prompt 7: two images."""
    metric = AttributeDistribution(TARGET, draws=200)
    metric.update(
        torch.tensor([3, 7, 3]),
        {"gender": sure([0, 1]), "age": sure([0, 1]), "hat": torch.zeros(2, 5)},
        image_index=torch.tensor([0, 1]),
    )
    metric.update(torch.tensor([3, 3]), {"gender": sure([0, 1], top=0.7), "age": sure([0, 1])})
    metric.update(torch.tensor([7]), {"gender": sure([1]), "age": sure([0])})
    return metric


def test_figures_of_a_case_done_by_hand() -> None:
    result = filled().compute()
    gender = result.attributes["gender"]
    # prompt 3: female female male, of prompt 7: male male
    assert gender.bias.value == pytest.approx((1 / 3 + 1) / 2)
    assert shares(gender.frequencies) == pytest.approx({"female": (2 / 3 + 0) / 2, "male": (1 / 3 + 1) / 2})
    assert gender.target == {"female": 0.5, "male": 0.5}
    assert gender.tv.value == pytest.approx((1 / 6 + 1 / 2) / 2)
    kl_3 = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    assert gender.kl == pytest.approx((kl_3 + math.log(2)) / 2)
    assert gender.bias.floor == pytest.approx((noise_floor([0.5, 0.5], 3) + noise_floor([0.5, 0.5], 2)) / 2)
    assert gender.tv.floor == pytest.approx((noise_floor_tv([0.5, 0.5], 3) + noise_floor_tv([0.5, 0.5], 2)) / 2)
    assert gender.unsure == pytest.approx(2 / 5)
    assert 0 <= gender.bias.low <= gender.bias.value <= gender.bias.high <= 1
    age = result.attributes["age"]
    assert age.tv.value == pytest.approx((abs(2 / 3 - 0.75) + abs(1 / 2 - 0.75)) / 2)
    joint = result.joint_classes
    assert joint is not None
    assert list(joint.frequencies) == ["female/young", "female/old", "male/young", "male/old"]
    assert list(shares(joint.frequencies).values()) == pytest.approx([1 / 3, 0, 1 / 4, 1 / 6 + 1 / 4])
    assert list(joint.target.values()) == pytest.approx([0.375, 0.125, 0.375, 0.125])
    # pairs of (2/3, 0, 0, 1/3) and of (0, 0, 1/2, 1/2)
    assert joint.bias.value == pytest.approx(((2 / 3 + 2 / 3 + 1 / 3 + 0 + 1 / 3 + 1 / 3) / 6 + (4 * 0.5) / 6) / 2)
    assert result.face_rate == pytest.approx(5 / 6)
    assert result.unsure == pytest.approx(2 / 10)
    assert [result.images, result.faces, result.prompts, result.n] == [6, 5, 2, 2.5]
    assert [entry.number for entry in result.per_prompt] == [3, 7]
    first = result.per_prompt[0]
    assert (first.images, first.faces, first.face_rate) == (4, 3, 0.75)
    assert first.attributes["gender"].bias.value == pytest.approx(1 / 3)
    assert first.joint_classes is not None
    assert shares(first.joint_classes.frequencies) == pytest.approx(
        {"female/young": 2 / 3, "female/old": 0, "male/young": 0, "male/old": 1 / 3}
    )


def test_batches_and_their_order_do_not_matter() -> None:
    prompts = torch.arange(40) % 4
    predictions = {name: torch.rand(40, 2).softmax(1) for name in ("gender", "age")}
    whole, parts = AttributeDistribution(TARGET, draws=50), AttributeDistribution(TARGET, draws=50)
    whole.update(prompts, predictions)
    for part in torch.randperm(40).split(7):
        parts.update(prompts[part], {name: p[part] for name, p in predictions.items()})
    assert parts.compute() == whole.compute()


def test_several_faces_of_one_image_count_each_but_the_image_once() -> None:
    metric = AttributeDistribution(TARGET, draws=10)
    faces = {"gender": sure([0, 1, 1]), "age": sure([0, 0, 0])}
    metric.update(torch.tensor([0, 0]), faces, image_index=torch.tensor([0, 0, 0]))
    result = metric.compute()
    assert (result.images, result.faces, result.face_rate) == (2, 3, 0.5)
    assert result.attributes["gender"].frequencies["male"].value == pytest.approx(2 / 3)


def test_no_face_anywhere_and_no_update_at_all() -> None:
    metric = AttributeDistribution(TARGET, draws=10)
    none = {"gender": torch.zeros(0, 2), "age": torch.zeros(0, 2)}
    metric.update(torch.tensor([0, 1]), none, image_index=torch.zeros(0, dtype=torch.long))
    result = metric.compute()
    assert (result.images, result.faces, result.face_rate, result.prompts) == (2, 0, 0.0, 2)
    assert not result.attributes["gender"].bias.known
    assert encode(result)["joint_classes"]["bias_ci"] == [None, None]
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert metric.compute().images == 0


def test_a_prompt_without_faces_is_left_out_of_the_means() -> None:
    metric = AttributeDistribution(TARGET.restrict(["gender"]), draws=10)
    metric.update(torch.tensor([0, 0, 1]), {"gender": sure([0, 0])}, image_index=torch.tensor([0, 1]))
    result = metric.compute()
    assert result.attributes["gender"].bias.value == 1.0
    assert result.face_rate == pytest.approx(2 / 3)
    assert math.isnan(result.per_prompt[1].attributes["gender"].bias.floor)


def test_aligned_samples_measure_their_noise_floor() -> None:
    metric = AttributeDistribution(TARGET, draws=300, level=0.999)  # six intervals: one of 95 % would often miss
    labels = TARGET.sample(100 * 48, torch.Generator().manual_seed(0))
    metric.update(
        torch.arange(100).repeat_interleave(48),
        {n: sure(labels[:, i].tolist()) for i, n in enumerate(TARGET.attributes)},
    )
    result = metric.compute()
    for figures in result.blocks.values():
        assert figures.bias.low < figures.bias.floor < figures.bias.high
        assert figures.tv.low < figures.tv.floor < figures.tv.high


def test_results_are_json(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(encode(filled().compute()), allow_nan=False))
    assert json.loads(path.read_text())["attributes"]["gender"]["unsure"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("predictions", "image_index", "message"),
    [
        ({"gender": sure([0, 1])}, None, "no predictions of 'age'"),
        ({"gender": sure([0, 1]), "age": sure([0, 1], classes=3)}, None, r"'age' have shape \(2, 3\)"),
        ({"gender": sure([0]), "age": sure([0])}, None, r"\[faces, classes\] = \(2, 2\)"),
        ({"gender": sure([0]), "age": sure([0])}, torch.tensor([2]), "leaves the 2 images"),
    ],
)
def test_what_does_not_fit_is_refused(predictions: dict[str, Tensor], image_index: Any, message: str) -> None:
    metric = AttributeDistribution(TARGET)
    with pytest.raises(ConfigurationError, match=message):
        metric.update(torch.tensor([0, 1]), predictions, image_index)


def _rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    busy, idle = AttributeDistribution(TARGET, draws=50), AttributeDistribution(TARGET, draws=50)
    prompts, predictions = shards()[rank]
    busy.update(prompts, predictions)
    if rank == 0:
        idle.update(prompts, predictions)
    (Path(folder) / f"{rank}.json").write_text(json.dumps([encode(busy.compute()), encode(idle.compute())]))
    dist.destroy_process_group()


def shards() -> list[tuple[Tensor, dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    sizes = (9, 4)
    return [
        (torch.arange(n) % 3, {name: torch.rand(n, 2, generator=generator).softmax(1) for name in TARGET.attributes})
        for n in sizes
    ]


def test_two_processes_see_what_one_would_even_if_one_of_them_sees_nothing(tmp_path: Path) -> None:
    mp.start_processes(_rank, args=(str(tmp_path),), nprocs=2, start_method="fork")
    together, alone = AttributeDistribution(TARGET, draws=50), AttributeDistribution(TARGET, draws=50)
    for shard in shards():
        together.update(*shard)
    alone.update(*shards()[0])
    expected = json.loads(json.dumps([encode(together.compute()), encode(alone.compute())]))
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == expected


def test_intervals_and_tests_against_the_target() -> None:
    """Prompt 0 shows 20 faces of the first class, prompt 1 ten of each, prompt 2 none."""
    metric = AttributeDistribution(TargetDistribution({"a": {"x": 0.5, "y": 0.5}}), seed=0)
    first = torch.tensor([[0.9, 0.1]] * 30 + [[0.1, 0.9]] * 10)
    metric.update(torch.tensor([0] * 20 + [1] * 20), {"a": first})
    metric.update(torch.tensor([2]), {"a": first[:0]}, image_index=torch.zeros(0, dtype=torch.int64))
    result = metric.compute()
    entries = [entry.attributes["a"] for entry in result.per_prompt]
    assert [entry.p_value for entry in entries[:2]] == pytest.approx([2 * 0.5**20, 1.0])
    assert [entry.p_value_holm for entry in entries[:2]] == pytest.approx([4 * 0.5**20, 1.0])
    assert entries[0].tv_bound == pytest.approx(0.5)
    assert entries[1].tv_bound == pytest.approx(binomtest(10, 20, alternative="less").proportion_ci(0.95).high - 0.5)
    assert entries[0].frequencies["y"].interval == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    assert all(math.isnan(value) for value in (entries[2].p_value, entries[2].p_value_holm, entries[2].tv_bound))
    figures, joint = result.attributes["a"], result.joint_classes
    assert joint is not None
    assert figures.off_target == joint.off_target == 1
    low, high = figures.frequencies["x"].interval
    assert 0 <= low <= 0.75 <= high <= 1
    low, high = figures.bias_noise_free_ci
    assert 0 <= low <= 0.5 <= high <= 1


def test_a_metric_can_be_pickled_and_computes_the_same_record() -> None:
    metric = filled()
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()


def test_very_many_joint_classes_are_measured_attribute_by_attribute() -> None:
    marginal = {str(number): 1 / 20 for number in range(20)}
    target = TargetDistribution({"hat": marginal, "coat": marginal})
    hats, coats, prompts = [0, 3, 19, 3], [19, 2, 2, 0], torch.tensor([0, 0, 1, 1])
    metric = AttributeDistribution(target, draws=50)
    metric.update(prompts, {"hat": sure(hats, 20), "coat": sure(coats, 20)})
    result = metric.compute()
    assert result.joint_classes is None
    assert all(entry.joint_classes is None for entry in result.per_prompt)
    assert (result.faces, [entry.faces for entry in result.per_prompt]) == (4, [2, 2])
    for name, labels in (("hat", hats), ("coat", coats)):
        alone = AttributeDistribution(TargetDistribution({name: marginal}), draws=50)
        alone.update(prompts, {name: sure(labels, 20)})
        expected = alone.compute()
        assert result.attributes[name] == expected.attributes[name]
        assert [entry.attributes[name] for entry in result.per_prompt] == [
            entry.attributes[name] for entry in expected.per_prompt
        ]


def test_probabilities_that_are_not_finite_are_refused() -> None:
    metric = AttributeDistribution(TargetDistribution({"gender": {"female": 0.5, "male": 0.5}}))
    rows = torch.tensor([[0.4, 0.6], [torch.nan, torch.nan]])
    with pytest.raises(NotFiniteError, match="gender: probabilities: got NaN or infinity for 1 of 2"):
        metric.update(torch.tensor([0, 0]), {"gender": rows})
