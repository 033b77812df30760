"""Classes named by path: what counts as one, where they are found, and what is said when they do not fit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlit.errors import ConfigurationError
from fairlit.io.class_paths import find_class, instantiate, is_class_spec, read_class_spec

MODULE = """
class Base:
    pass


class Own(Base):
    def __init__(self, size: int = 1, name: str = "x"):
        self.size, self.name = size, name


class Other:
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder, which is not on the path."""
    name = "parts_of_somebody"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield name
    sys.modules.pop(name, None)


def base_of(module: str) -> type:
    found: type = find_class(f"{module}.Base", object, "part")
    return found


def test_found_in_the_current_folder_in_all_three_spellings(module: str, tmp_path: Path) -> None:
    base = base_of(module)
    spec = {"class_path": f"{module}.Own", "init_args": {"size": 3}}
    (tmp_path / "part.yaml").write_text(f"class_path: {module}.Own\ninit_args: {{size: 3}}\n")
    found = [instantiate(one, base, "part") for one in (spec, "part.yaml", f"{module}.Own")]
    assert [(type(one).__name__, one.size) for one in found] == [("Own", 3), ("Own", 3), ("Own", 1)]


def test_what_exists_or_is_another_file_is_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.folder").mkdir()
    (tmp_path / "words.yaml").write_text("clip: a\n")
    assert [is_class_spec(one) for one in ("some.folder", "words.yaml", "a/b", "folder", {"clip": "a"})] == [False] * 5
    assert is_class_spec("some.other_folder")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{module}.Nothing", "cannot be imported"),
        ("no_such_module.Part", "cannot be imported"),
        ("{module}.Other", "expected a subclass of parts_of_somebody.Base"),
    ],
)
def test_classes_that_do_not_fit(module: str, spec: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        instantiate(spec.format(module=module), base_of(module), "detector")
    assert str(caught.value).startswith("detector: got ")


def test_arguments_that_do_not_fit(module: str) -> None:
    base, path = base_of(module), f"{module}.Own"
    for arguments in ({"size": "large"}, {"colour": "red"}):
        with pytest.raises(ConfigurationError, match="part: got init_args"):
            instantiate({"class_path": path, "init_args": arguments}, base, "part")
    with pytest.raises(ConfigurationError, match="got the key size beside class_path"):
        read_class_spec({"class_path": path, "size": 3}, "part")
    with pytest.raises(ConfigurationError, match="expected a class"):
        read_class_spec("a/folder", "part")
