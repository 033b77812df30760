"""Packages whose names are imported on first use, and what importing them leaves alone."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAZY = ("adaptors", "callbacks", "data", "diffusion", "functional", "generation", "losses", "metrics", "perception")
HEAVY = ("torch", "numpy", "diffusers", "transformers", "lightning", "torchvision", "torchmetrics", "matplotlib")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from fairlit.lazy import lazy_exports\n"
        "__getattr__, __dir__, __all__ = lazy_exports(__name__, {\n"
        "    'Apple': 'shop.fruit', 'weigh': 'shop.weigh', 'fruit': 'shop.fruit'})\n"
    )
    (folder / "fruit.py").write_text("class Apple: pass\n")
    (folder / "weigh.py").write_text("def weigh(): return 3\n")
    return folder


def test_names_are_imported_on_first_use(package: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); import shop\n"
        "print('shop.fruit' in sys.modules, [name for name in dir(shop) if name[0] != '_'])\n"
        "from shop import Apple, fruit\n"
        "print(Apple is fruit.Apple, 'Apple' in vars(shop), 'shop.weigh' in sys.modules, shop.__all__)"
    )
    assert run_python(code).splitlines() == [
        "False ['Apple', 'fruit', 'lazy_exports', 'weigh']",
        "True True False ['Apple', 'fruit', 'weigh']",
    ]


@pytest.mark.parametrize("first", ["import shop.weigh", "from shop.weigh import weigh", "import shop"])
def test_a_submodule_does_not_hide_the_function_it_is_named_after(package: Path, first: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{first}\nfrom shop import weigh\nprint(weigh())\n"
        "import shop; print(shop.weigh(), sys.modules['shop.weigh'].__name__)"
    )
    assert run_python(code).splitlines() == ["3", "3 shop.weigh"]


def test_unknown_names_are_attribute_errors(package: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); import shop\n"
        "try: shop.pear\nexcept AttributeError as error: print(error)"
    )
    assert run_python(code) == "module 'shop' has no attribute 'pear'"


@pytest.mark.parametrize("before", [True, False])
def test_importing_leaves_garbage_alone_and_the_collector_as_it_was(package: Path, before: bool) -> None:
    (package / "fruit.py").write_text("import gc\nseen = gc.isenabled()\nclass Apple: pass\n")
    (package / "weigh.py").write_text("raise ImportError('no scales')\n")
    code = (
        f"import gc, sys; sys.path.insert(0, {str(package.parent)!r}); import shop\n"
        f"gc.enable() if {before} else gc.disable()\n"
        "print(shop.fruit.seen, gc.isenabled())\n"
        "try: shop.weigh\nexcept ImportError: print(gc.isenabled())"
    )
    assert run_python(code).splitlines() == [f"False {before}", str(before)]


@pytest.mark.parametrize("name", [*LAZY, "training"])
def test_every_exported_name_is_there(name: str) -> None:
    package = import_module(f"fairlit.{name}")
    assert len(package.__all__) > 0
    assert [entry for entry in package.__all__ if not hasattr(package, entry)] == []


def test_packages_and_settings_import_nothing_heavy() -> None:
    modules = [
        "fairlit",
        *(f"fairlit.{name}" for name in LAZY),
        "fairlit.training",
        "fairlit.commands",
        "fairlit.diffusion.settings",
        "fairlit.errors",
        "fairlit.io.atomic",
        "fairlit.io.digests",
        "fairlit.io.jsonable",
        "fairlit.io.model_folders",
        "fairlit.functional.alignment.target_distribution",
        "fairlit.data.prompts.sources",
        "fairlit.terminal",
    ]
    code = (
        f"import sys\nfor name in {modules}:\n    __import__(name)\n"
        f"    found = [heavy for heavy in {HEAVY} if heavy in sys.modules]\n    assert not found, (name, found)"
    )
    run_python(code)
