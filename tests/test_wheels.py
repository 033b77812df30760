"""The wheels: what is in them, and that they run without the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = ("fairlit", "configs", "fairlit_miniature", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@dataclass(frozen=True)
class Installation:
    """Wheels that were unpacked into a folder; what they depend on comes from this environment."""

    site: Path
    workplace: Path

    def fairlit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``fairlit ARGUMENTS``, with neither the repository nor editable installations in sight."""
        return self.python("-m", "fairlit.cli", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PL_", "COV_"))
        }
        environment["PYTHONPATH"] = os.pathsep.join([str(self.site), sysconfig.get_path("purelib")])
        environment |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            [sys.executable, "-S", *arguments],  # -S: no .pth files, which editable installations live by
            cwd=self.workplace,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, built from a copy of the sources: setuptools leaves things beside them."""
    root = tmp_path_factory.mktemp("wheels")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in SOURCES:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / name, **({"ignore": unwanted} if source.is_dir() else {}))  # type: ignore[operator]
    (root / "checkpoints").symlink_to(REPOSITORY / "checkpoints")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(root / "dist")]
    projects = [str(root), str(root / "fairlit_miniature")]
    subprocess.run([*pip, "wheel", *options, *projects], check=True, capture_output=True)
    return {file.name.split("-")[0]: file for file in (root / "dist").glob("*.whl")}


def install(folder: Path, *files: Path) -> Installation:
    for file in files:
        zipfile.ZipFile(file).extractall(folder / "site")
    (folder / "work").mkdir()
    return Installation(folder / "site", folder / "work")


def files_of(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def tracked(*folders: str) -> set[str]:
    """Files of the repository below folders, without what Python leaves there."""
    files = (file for folder in folders for file in (REPOSITORY / folder).rglob("*") if file.is_file())
    unwanted = ("__pycache__", "build", ".egg-info")
    names = (file.relative_to(REPOSITORY).as_posix() for file in files)
    return {name for name in names if not any(part.endswith(unwanted) for part in name.split("/")[:-1])}


def test_the_wheel_has_the_library_and_its_configs_and_no_model(wheels: dict[str, Path]) -> None:
    configs = {f"fairlit/{name}" for name in tracked("configs")}
    assert files_of(wheels["fairlit"]) == tracked("fairlit") | configs
    assert wheels["fairlit"].stat().st_size < 2e6
    requirements = zipfile.ZipFile(wheels["fairlit"]).read("fairlit-0.1.0.dist-info/METADATA").decode()
    assert "miniature" not in requirements.split("\n\n")[0]


def test_the_other_wheel_has_the_world_and_its_models(wheels: dict[str, Path]) -> None:
    code = {name for name in tracked("fairlit_miniature") if name.endswith((".py", ".csv"))}
    models = {f"fairlit_miniature/{name}" for name in tracked("checkpoints")}
    assert files_of(wheels["fairlit_miniature"]) == code | models


def test_versions_of_both_are_the_same(wheels: dict[str, Path]) -> None:
    versions = {file.name.split("-")[1] for file in wheels.values()}
    assert len(versions) == 1
    metadata = zipfile.ZipFile(wheels["fairlit_miniature"]).read(
        f"fairlit_miniature-{next(iter(versions))}.dist-info/METADATA"
    )
    assert f"Requires-Dist: fairlit=={next(iter(versions))}" in metadata.decode()


def test_configs_are_found_by_name_and_models_are_missed(wheels: dict[str, Path], tmp_path: Path) -> None:
    installation = install(tmp_path, wheels["fairlit"])
    code = (
        "import fairlit; from fairlit.io.configs import find_config; print(fairlit.__file__, find_config('paper/exp3'))"
    )
    package = installation.site / "fairlit"
    assert installation.python("-c", code).stdout.split() == [
        str(package / "__init__.py"),
        str(package / "configs" / "paper" / "exp3.yaml"),
    ]
    refused = installation.fairlit("audit", "--config", "audit/demo")
    assert refused.returncode == 2
    assert "pip install fairlit-miniature" in refused.stderr
    assert installation.fairlit("init", "mine").returncode == 0
    assert (installation.workplace / "mine" / "finetune.yaml").is_file()
    refused = installation.fairlit("init", "--example", "first")
    assert (refused.returncode, "pip install fairlit-miniature" in refused.stderr) == (2, True)


@pytest.mark.slow
def test_an_example_is_begun_finetuned_and_audited(wheels: dict[str, Path], tmp_path: Path) -> None:
    installation = install(tmp_path, *wheels.values())
    done = installation.fairlit("init", "--example", "first")
    assert done.returncode == 0, done.stderr
    installation = Installation(installation.site, installation.workplace / "first")
    few = ("--trainer.max_steps", "3", "--trainer.limit_val_batches", "0")
    done = installation.fairlit("fit", "--config", "finetune.yaml", *few)
    assert done.returncode == 0, done.stderr
    run = installation.workplace / "runs" / "finetune"
    assert (run / "adaptor_ema" / "pytorch_lora_weights.safetensors").is_file()
    prompts = [f"a photo of the face of a {job}, a person" for job in ("miner", "singer")]
    (installation.workplace / "few.json").write_text(json.dumps({"test_prompts": prompts}))
    less = ("--prompts", "few.json", "--families", "null", "--images", "2", "--steps", "2")
    done = installation.fairlit("audit", "--config", "audit.yaml", *less)
    assert done.returncode == 0, done.stderr
    audit = installation.workplace / "runs" / "audit"
    assert (audit / "report.html").is_file()
    assert json.loads((audit / "results.json").read_text())["schema"] == 1
