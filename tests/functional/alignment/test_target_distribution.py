from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution

GENDER = {"female": 0.5, "male": 0.5}
TONE = {"light": 0.4, "tan": 0.3, "brown": 0.2, "dark": 0.1}
AGE = {"young": 0.75, "old": 0.25}


@st.composite
def marginals(draw: st.DrawFn) -> dict[str, dict[str, float]]:
    result = {}
    for attribute in range(draw(st.integers(1, 3))):
        weights = draw(st.lists(st.integers(0, 20), min_size=2, max_size=4).filter(any))
        result[f"a{attribute}"] = {f"c{k}": weight / sum(weights) for k, weight in enumerate(weights)}
    return result


@settings(max_examples=50, deadline=None)
@given(marginals())
def test_the_table_is_the_product_of_the_marginals(shares: dict[str, dict[str, float]]) -> None:
    target = TargetDistribution(shares)
    for cell in itertools.product(*(range(len(s)) for s in shares.values())):
        expected = 1.0
        for index, s in zip(cell, shares.values(), strict=True):
            expected *= list(s.values())[index]
        assert float(target.table[cell]) == pytest.approx(expected, abs=1e-12)
    for attribute in target.attributes:
        assert list(target.marginals[attribute].values()) == pytest.approx(list(shares[attribute].values()), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(marginals(), st.randoms(use_true_random=False))
def test_reorder_moves_every_share_with_its_name(shares: dict[str, dict[str, float]], random: Any) -> None:
    joint = torch.rand([len(s) for s in shares.values()], dtype=torch.float64) + 0.01
    by_table = TargetDistribution.from_joint({a: list(s) for a, s in shares.items()}, joint / joint.sum())
    order = random.sample(list(shares), len(shares))
    classes = {attribute: random.sample(list(shares[attribute]), len(shares[attribute])) for attribute in order}
    for target in (TargetDistribution(shares), by_table):
        moved = target.reorder(classes)
        assert moved.attributes == tuple(order)
        for names in itertools.product(*target.classes.values()):
            here = tuple(target.classes[a].index(n) for a, n in zip(target.attributes, names, strict=True))
            named = dict(zip(target.attributes, names, strict=True))
            there = tuple(moved.classes[a].index(named[a]) for a in order)
            assert float(moved.table[there]) == pytest.approx(float(target.table[here]), abs=1e-12)
        assert moved.reorder(target.classes) == target
        assert TargetDistribution.from_dict(moved.to_dict()) == moved


def test_reorder_leaves_out_attributes_that_the_target_does_not_mention() -> None:
    moved = TargetDistribution({"age": AGE}).reorder({"gender": ("female", "male"), "age": ("old", "young")})
    assert moved.marginals == {"age": {"old": 0.25, "young": 0.75}}


def test_reorder_lists_everything_that_does_not_fit() -> None:
    target = TargetDistribution({"gender": GENDER, "age": AGE, "height": {"tall": 0.5, "short": 0.5}})
    with pytest.raises(ConfigurationError) as error:
        target.reorder({"gender": ("female", "man"), "age": ("young", "middle", "old")})
    for expected in (
        "4 problems",
        "'height' is unknown",
        "'male' of 'gender' is unknown",
        "'man' of 'gender' has no",
        "'middle' of",
    ):
        assert expected in str(error.value)


def test_restrict_sums_the_other_attributes_out() -> None:
    table = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(2, 3, 2) / 78
    target = TargetDistribution.from_joint({"a": "xy", "b": "uvw", "c": "pq"}, table)
    assert torch.allclose(target.restrict(["c", "a"]).table, table.sum(1).T, atol=1e-15)
    assert target.restrict(["c", "a"]).classes == {"c": ("p", "q"), "a": ("x", "y")}
    assert torch.allclose(target.marginal("b"), table.sum((0, 2)), atol=1e-15)
    product = TargetDistribution({"gender": GENDER, "skin_tone": TONE})
    assert product.restrict(["skin_tone"]) == TargetDistribution({"skin_tone": TONE})
    with pytest.raises(ConfigurationError, match="'hat' is unknown"):
        product.restrict(["hat"])
    with pytest.raises(ConfigurationError, match="each once"):
        product.restrict(["gender", "gender"])


def test_samples_follow_the_table() -> None:
    table = torch.tensor([[0.5, 0.0], [0.1, 0.4]], dtype=torch.float64)
    target = TargetDistribution.from_joint({"a": ["x", "y"], "b": ["u", "v"]}, table)
    drawn = target.sample(20_000, torch.Generator().manual_seed(0))
    assert drawn.shape == (20_000, 2)
    assert drawn.dtype == torch.int64
    frequencies = torch.stack(
        [((drawn == torch.tensor([i, j])).all(1)).double().mean() for i in (0, 1) for j in (0, 1)]
    )
    assert float(frequencies[1]) == 0.0
    assert torch.allclose(frequencies, table.flatten(), atol=4 * 0.5 / 20_000**0.5)
    assert torch.equal(drawn, target.sample(20_000, torch.Generator().manual_seed(0)))
    assert target.sample(0).shape == (0, 2)


def test_yaml_in_both_formats(tmp_path: Path) -> None:
    by_marginals = tmp_path / "marginals.yaml"
    by_marginals.write_text("gender: {female: 0.5, male: 0.5}\nage: {young: 0.75, old: 0.25}\n")
    by_table = tmp_path / "joint.yaml"
    by_table.write_text(
        "joint:\n  classes: {gender: [female, male], age: [young, old]}\n  table: [[0.375, 0.125], [0.375, 0.125]]\n"
    )
    expected = TargetDistribution({"gender": GENDER, "age": AGE})
    assert TargetDistribution.from_yaml(by_marginals) == expected
    assert TargetDistribution.from_yaml(by_table) == expected
    by_table.write_text(yaml.safe_dump(TargetDistribution.from_yaml(by_table).to_dict(), sort_keys=False))
    assert TargetDistribution.from_yaml(by_table) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gender: {female: 0.5, male: 0.4}", "sum to 0.9"),
        ("gender: [", "is not valid YAML"),
        ("- 1", "attribute -> class -> share"),
        ("", "attribute -> class -> share"),
        ("joint: {classes: {a: [x, y]}}", "`table`"),
        ("joint: {classes: {a: [x, y]}, table: [[1.0, 0.0], [1.0]]}", "rectangular"),
        ("smiles: {yes: 0.5, no: 0.5}", "quotes"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"target\.yaml") as error:
        TargetDistribution.from_yaml(path)
    assert message in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml"):
        TargetDistribution.from_yaml(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "at least one attribute"),
        ({"gender": {}}, "at least two"),
        ({"gender": {"female": 1.0}}, "at least two"),
        ({"gender": {"female": -0.5, "male": 1.5}}, "'female' has -0.5"),
        ({"gender": {"female": float("nan"), "male": 0.5}}, "'female' has nan"),
        ({"gender": {"female": "half", "male": 0.5}}, "'female' has 'half'"),
        ({"gender": {"female": 0.5, "male": 0.5 + 3e-6}}, "sum to 1"),
        ({"gender": 0.5}, "one share per class"),
        ([0.5, 0.5], "attribute -> class -> share"),
    ],
)
def test_bad_shares_are_refused(shares: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        TargetDistribution(shares)
    assert message in str(error.value)


def test_all_problems_come_together() -> None:
    with pytest.raises(ConfigurationError, match="3 problems"):
        TargetDistribution({"gender": {"female": 0.5, "male": 0.4}, "age": {"old": 1.0}, "hat": {"on": -1, "off": 1}})


def test_bad_tables_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"shape \(2,\).*\(2, 2\)"):
        TargetDistribution.from_joint({"a": ["x", "y"], "b": ["u", "v"]}, [0.5, 0.5])
    with pytest.raises(ConfigurationError, match="'x' more than once"):
        TargetDistribution.from_joint({"a": ["x", "x"]}, [0.5, 0.5])
    with pytest.raises(ConfigurationError, match="at least one attribute"):
        TargetDistribution.from_joint({}, [])
    with pytest.raises(ConfigurationError, match=r"\('y', 'v'\) has -0.5"):
        TargetDistribution.from_joint({"a": ["x", "y"], "b": ["u", "v"]}, [[0.5, 0.5], [0.5, -0.5]])


def test_rounded_shares_are_normalised_and_keep_their_value_in_a_round_trip() -> None:
    target = TargetDistribution({"tone": {"a": 0.3333333, "b": 0.3333333, "c": 0.3333333}})
    assert float(target.table.sum()) == pytest.approx(1.0, abs=1e-15)
    assert TargetDistribution.from_dict(target.to_dict()).to_dict() == target.to_dict()


def test_equality_hash_repr_and_copies() -> None:
    target = TargetDistribution({"gender": GENDER, "age": AGE})
    assert target == eval(repr(target))
    assert target == copy.deepcopy(target)
    assert hash(target) == hash(copy.deepcopy(target))
    assert target != TargetDistribution({"age": AGE, "gender": GENDER})
    assert target != TargetDistribution({"gender": {"female": 0.6, "male": 0.4}, "age": AGE})
    assert target != "target"
    joint = TargetDistribution.from_joint(target.classes, target.table)
    assert joint == target
    assert eval(repr(joint)) == target
    target.table.zero_()
    assert float(target.table.sum()) == 1.0


def test_it_is_a_class_that_a_config_file_can_name() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--target", type=TargetDistribution)
    init = {
        "class_path": f"{TargetDistribution.__module__}.TargetDistribution",
        "init_args": {"marginals": {"age": AGE}},
    }
    config = parser.parse_object({"target": init})
    assert parser.instantiate_classes(config).target == TargetDistribution({"age": AGE})


def test_joint_classes_are_counted_before_their_table_is_made() -> None:
    ten = {f"c{number}": 0.1 for number in range(10)}
    with pytest.raises(ConfigurationError, match=f"have {10**20} joint classes, name fewer: at most 100000"):
        TargetDistribution({f"a{number}": ten for number in range(20)})
    assert TargetDistribution({f"a{number}": ten for number in range(5)}).table.numel() == 10**5


def test_classes_that_are_no_list_of_names_are_refused() -> None:
    for names in (None, 5, {"a": 1}):
        with pytest.raises(ConfigurationError, match=r"^target distribution: 'gender' is .*, list the names"):
            TargetDistribution.from_dict({"joint": {"classes": {"gender": names}, "table": [0.5, 0.5]}})
    with pytest.raises(ConfigurationError, match="attribute 1 is no text: put it in quotes"):
        TargetDistribution.from_dict({1: {"a": 0.5, "b": 0.5}})  # type: ignore[dict-item]
