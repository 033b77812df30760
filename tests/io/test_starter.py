"""The folder that `fairlit init` writes: it runs once its paths are filled in, and on the example models as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fairlit.cli import main
from fairlit.data.prompts.files import read_families
from fairlit.errors import ConfigurationError
from fairlit.io import shipped
from fairlit.io.starter import InitConfig, write_starter

FILES = ["README.md", "audit.yaml", "finetune.yaml", "prompts.yaml"]
MINIATURE = Path(__file__).parents[2] / "checkpoints" / "miniature"
FILLED_IN = {
    "path/to/model": MINIATURE / "pipeline",
    "path/to/classifier": MINIATURE / "classifier_train",
    "path/to/another_classifier": MINIATURE / "classifier_audit",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": MINIATURE / "clip",
    "facebook/dinov2-base": MINIATURE / "dino",
    "bf16-mixed # 32-true on CPUs": "32-true",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fill_in(file: Path) -> None:
    text = file.read_text()
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, str(value))
    file.write_text(text)


def test_the_config_of_ones_own_model_passes_the_dry_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", "mine"])
    assert "wrote  mine/finetune.yaml" in capsys.readouterr().out
    assert sorted(file.name for file in Path("mine").iterdir()) == FILES
    monkeypatch.chdir("mine")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "finetune.yaml", "--dry_run"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    for placeholder in ("path/to/model", "path/to/classifier", "path/to/another_classifier"):
        assert placeholder in message
    fill_in(Path("finetune.yaml"))
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "finetune.yaml", "--dry_run"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "38 train, 3 val, 10 test" in printed
    assert "runs/finetune" in printed


def test_the_audit_of_ones_own_model_judges_what_was_trained(tmp_path: Path) -> None:
    from fairlit.commands.audit import COMMAND

    main(["init", "mine"])
    fill_in(Path("mine/audit.yaml"))
    config = COMMAND.parse(["--config", "mine/audit.yaml"])
    trained = yaml.safe_load(Path("mine/finetune.yaml").read_text())
    assert config.model == str(MINIATURE / "pipeline")
    assert config.adaptor == f"{trained['trainer']['default_root_dir']}/adaptor_ema"
    assert config.target == trained["data"]["init_args"]["target"]
    assert config.classifier != trained["model"]["init_args"]["models"]["classifier"]


def test_the_example_is_the_demo_with_its_files_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    main(["init", "--example", "first"])
    assert sorted(file.name for file in Path("first").iterdir()) == FILES
    demo = yaml.safe_load((MINIATURE.parents[1] / "configs" / "demo.yaml").read_text())
    demo["trainer"]["default_root_dir"] = "runs/finetune"
    demo["data"]["init_args"]["prompts"] = "prompts.yaml"
    assert yaml.safe_load(Path("first/finetune.yaml").read_text()) == demo
    assert {family.name for family in read_families(Path("first/prompts.yaml"))} >= {"occupations"}
    audit = yaml.safe_load(Path("first/audit.yaml").read_text())
    assert (audit["adaptor"], audit["out"], audit["prompts"]) == (
        "runs/finetune/adaptor_ema",
        "runs/audit",
        "prompts.yaml",
    )
    monkeypatch.chdir("first")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "finetune.yaml", "--dry_run"])
    assert stopped.value.code == 0


def test_a_folder_that_holds_something_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("kept")
    with pytest.raises(SystemExit) as stopped:
        main(["init", "mine"])
    assert stopped.value.code == 2
    assert "mine holds files already" in capsys.readouterr().err
    assert [file.name for file in Path("mine").iterdir()] == ["notes.txt"]
    Path("mine/notes.txt").unlink()
    main(["init", "mine"])
    assert sorted(file.name for file in Path("mine").iterdir()) == FILES


def test_without_the_example_models_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shipped._OWNERS, "checkpoints", "no_such_package")
    with pytest.raises(ConfigurationError, match="pip install fairlit-miniature"):
        write_starter(InitConfig(folder="first", example=True))
    assert not Path("first").exists()
    with pytest.raises(ConfigurationError, match="folder: got nothing"):
        write_starter(InitConfig())


def test_the_demo_without_the_example_models_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(shipped._OWNERS, "checkpoints", "no_such_package")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "demo"])
    assert stopped.value.code == 2
    assert "pip install fairlit-miniature" in capsys.readouterr().err
