from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fairlit.errors import ConfigurationError
from fairlit.io.yaml_files import load_yaml, read_yaml


def test_sound_yaml_is_what_pyyaml_reads() -> None:
    text = "a: &x {b: 1, c: [2, 3]}\nd: {<<: *x, b: 4}\ne: [*x, *x]\nf: \n? [1, 2]\n: g\n"
    sound = text[: text.index("?")]
    assert load_yaml(sound) == yaml.safe_load(sound)
    assert load_yaml(sound)["d"] == {"b": 4, "c": [2, 3]}
    assert load_yaml("") is None
    assert load_yaml('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


def test_many_values_that_are_written_are_read_and_aliases_add_few() -> None:
    lines = "".join(f"- word {number}\n" for number in range(100_001))
    assert len(load_yaml(f"{lines}- &a [1, 2]\n- *a\n")) == 100_003
    # 1000 values a line: 99 more lines of aliases make 99 * 1001, 101 lines make 101 101
    base = f"- &a [1{', 1' * 999}]\n"
    assert len(load_yaml(base + "- *a\n" * 99)) == 100
    with pytest.raises(yaml.MarkedYAMLError, match="aliases that make more than 100000"):
        load_yaml(base + "- *a\n" * 101)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            "line 3, column 1: is not valid YAML, found the key 'a' a second time; correct it there",
        ),
        ("a: {b: 1, b: 2}\n", "line 1, column 11: is not valid YAML, found the key 'b' a second time"),
        ("a: &a {b: *a}\n", "line 1, column 4: is not valid YAML, found an alias of a value within that value"),
        ("a: 2026-13-45\n", "is not valid YAML, found a value that cannot be read (month must be in 1..12)"),
        ("a: !!bool x\n", "is not valid YAML, found a value that cannot be read"),
        ("a: " + "[" * 2000, "is not valid YAML, "),
        ("a: " + "[" * 200 + "]" * 200, "line 1, column 104: is not valid YAML, found more than 100 levels"),
        ("a: !!python/object/apply:os.getcwd []\n", "line 1, column 4: is not valid YAML, could not determine"),
        ("a: \0\n", "is not valid YAML, "),
        ("a: 1\n--- \nb: 2\n", "is not valid YAML, but found another document"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        read_yaml(path, "a YAML file")
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_large_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("# " + "x" * 5_000_000)
    with pytest.raises(ConfigurationError, match="more than 5 MB"):
        read_yaml(path, "a YAML file")
