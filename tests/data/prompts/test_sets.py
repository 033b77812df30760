from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fairlit.data import Prompt, PromptFamily, PromptSet
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution

FILLERS = {
    "job": {"train": ["doctor", "nurse"], "val": ["chef"], "test": ["farmer", "pilot"]},
    "place": {"train": ["at sea", "at home"], "val": ["outside"], "test": ["at night"]},
}


def write(path: Path, families: Any) -> Path:
    path.write_text(yaml.safe_dump({"families": families}, sort_keys=False), encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        PromptSet.from_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def family(**changes: Any) -> dict[str, Any]:
    return {"templates": ["a {job}"], "fillers": {"job": FILLERS["job"]}, **changes}


def test_every_template_with_every_combination(tmp_path: Path) -> None:
    families = {
        "plain": family(),
        "placed": {"templates": ["a {job} {place}", "{place}: a {job} with a {job}"], "fillers": FILLERS},
    }
    prompts = PromptSet.from_file(write(tmp_path / "p.yaml", families))
    assert [prompt.text for prompt in prompts.select("train")] == [
        "a doctor",
        "a nurse",
        "a doctor at sea",
        "a doctor at home",
        "a nurse at sea",
        "a nurse at home",
        "at sea: a doctor with a doctor",
        "at sea: a nurse with a nurse",
        "at home: a doctor with a doctor",
        "at home: a nurse with a nurse",
    ]
    assert prompts.select("test", ["plain"]) == [Prompt("a farmer", "plain"), Prompt("a pilot", "plain")]
    assert [prompt.family for prompt in prompts.select("val", ["placed", "plain"])] == ["placed", "placed", "plain"]


def test_repeat_counts_in_training_alone() -> None:
    prompts = PromptFamily("f", ("a {job}",), FILLERS, repeat=3)
    assert [prompt.text for prompt in prompts.prompts("train")] == ["a doctor", "a nurse"] * 3
    assert [prompt.text for prompt in prompts.prompts("test")] == ["a farmer", "a pilot"]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("uvwxyz"), unique=True))
def test_a_family_has_one_prompt_for_each_combination(first: list[str], second: list[str]) -> None:
    fillers = {"x": {"train": first}, "y": {"train": second}}
    texts = [p.text for p in PromptFamily("f", ("{x}-{y}", "{x}-{y}"), fillers).prompts("train")]
    assert len(texts) == len(set(texts)) == len(first) * len(second)
    assert set(texts) == {f"{x}-{y}" for x in first for y in second}


def test_a_family_may_have_its_own_target(tmp_path: Path) -> None:
    shares = {"gender": {"female": 0.25, "male": 0.75}}
    prompts = PromptSet.from_file(write(tmp_path / "p.yaml", {"f": family(target=shares), "g": family()}))
    assert {prompt.family: prompt.target for prompt in prompts.select("val")} == {
        "f": TargetDistribution(shares),
        "g": None,
    }


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    families = {
        "none": {"templates": ["a photo"], "fillers": {}},
        "unlisted": family(templates=["a {jbo}"]),
        "nothing": {"fillers": {"job": FILLERS["job"]}},
        "shared": family(fillers={"job": {"train": ["doctor"], "test": ["doctor", "nurse"]}}),
        "often": family(repeat=0, extra=1),
        "unfair": family(target={"gender": {"female": 0.5, "male": 0.4}}),
        "text": "a {job}",
    }
    message = refusal(write(tmp_path / "p.yaml", families))
    for part in (
        "8 problems",
        "family 'none': template 'a photo' has no {placeholder}",
        "family 'unlisted': template 'a {jbo}' asks for {jbo}",
        "family 'nothing': `templates` is empty",
        "family 'shared': fillers of 'job': doctor in both train and test",
        "family 'often': unknown key extra",
        "family 'often': repeat is 0",
        "family 'unfair': target distribution: shares of 'gender' sum to 0.9",
        "family 'text': got 'a {job}'",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (family(templates="a {job}"), "templates is 'a {job}'; write a list"),
        (family(templates=["a {job} {}"]), "stray brace"),
        (family(templates=["a {job} {"]), "stray brace"),
        (family(templates=["a {{job}}"]), "stray brace"),
        (family(fillers=["doctor"]), "fillers is ['doctor']"),
        (family(fillers={"job": ["doctor"]}), "must be lists under train, val, test; got ['doctor']"),
        (family(fillers={"job": {"training": ["doctor"]}}), "got 'training'"),
        (family(fillers={"job": {"train": "doctor"}}), "train is 'doctor'; write a list of texts"),
        (family(fillers={"job": {"train": [True]}}), "train is [True]"),  # what YAML makes of a bare yes
        (family(fillers={"job": {"train": [" "]}}), "train is [' ']"),
        (family(repeat=True), "repeat is True"),
        (family(target=None), "marginals is None"),
    ],
)
def test_single_faults(tmp_path: Path, entry: Any, part: str) -> None:
    assert part in refusal(write(tmp_path / "p.yaml", {"f": entry}))


def test_files_that_hold_no_families(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    assert "cannot be read" in refusal(path)
    for content in ("", "[1, 2]", "families: {}", "families: [a]"):
        path.write_text(content)
        assert "no families" in refusal(path)
    path.write_text("families: {")
    assert "is not valid YAML" in refusal(path)
    path.write_bytes(b"\xff\xfe\x00families")
    assert "it is not text in UTF-8" in refusal(path)
    path.write_text(yaml.safe_dump({"families": {"f": family()}, "familes": {}}))
    assert "unknown key familes" in refusal(path)


def test_selecting_what_is_not_there(tmp_path: Path) -> None:
    entry = family(fillers={"job": {"train": ["doctor"]}})
    prompts = PromptSet.from_file(write(tmp_path / "p.yaml", {"f": entry}))
    with pytest.raises(ConfigurationError, match=r"has no 'g', 'h'; it has f; choose"):
        prompts.select("train", ["g", "f", "h"])
    with pytest.raises(ConfigurationError, match=r"gives no test prompts for f; add words under `test`"):
        prompts.select("test")
    with pytest.raises(ConfigurationError, match="for no family"):
        prompts.select("train", [])


def test_prompts_are_counted_before_they_are_made(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(50)]
    entry = {"templates": [" ".join(f"{{a{n}}}" for n in range(8))], "fillers": {}}
    for name in (f"a{n}" for n in range(8)):
        entry["fillers"][name] = {"train": words, "val": ["v"]}  # type: ignore[index]
    prompts = PromptSet.from_file(write(tmp_path / "p.yaml", {"f": entry}))
    for select in (prompts.select, prompts.listed):
        with pytest.raises(ConfigurationError, match=f"gives {50**8} train prompts; expected at most 100000"):
            select("train")
    assert [prompt.text for prompt in prompts.select("val")] == ["v v v v v v v v"]
    often = PromptSet.from_file(write(tmp_path / "p.yaml", {"f": family(repeat=10**12)}))
    with pytest.raises(ConfigurationError, match="train prompts; expected at most 100000"):
        often.select("train")


def test_texts_that_make_no_prompt_are_refused_before_prompts_are_made(tmp_path: Path) -> None:
    doubled = family(templates=["{job} " * 3000], fillers={"job": {"train": ["chef", "a" * 9000]}})
    assert "got 27003000 characters; expected at most 10000" in refusal(write(tmp_path / "p.yaml", {"f": doubled}))
    controlled = family(fillers={"job": {"train": [f"chef\x07{n}" for n in range(9)]}})
    message = refusal(write(tmp_path / "p.yaml", {"f": controlled}))
    assert message.count("control character U+0007") == 3
    assert "and more like these" in message
