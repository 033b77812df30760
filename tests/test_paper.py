"""The experiments of the paper: that the configs say what it says, and that each of them trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_runs import last_checkpoint, read_checkpoint
from safetensors.torch import load_file

from fairlit.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
GENDER = {"female": 0.5, "male": 0.5}
RACE = {"WMELH": 0.25, "Black": 0.25, "Indian": 0.25, "Asian": 0.25}
AGE = {"young": 0.75, "old": 0.25}
FAMILIES = ["occupations", "style_and_context", "descriptors", "sports"]
# Shen et al., ICLR 2024: target, w_img, w_face, factors 1 and 2, images per prompt over all GPUs, steps
TABLE: dict[str, tuple[dict[str, Any], float, float, dict[str, float], dict[str, float], int, int]] = {
    "exp1": ({"gender": GENDER}, 8, 1, {"gender": 0.2}, {"gender": 0.2}, 24, 10_000),
    "exp2": ({"gender": GENDER}, 8, 1, {"gender": 0.2}, {"gender": 0.2}, 24, 10_000),
    "exp3": (
        {"gender": GENDER, "race": RACE}, 8, 0.1, {"gender": 0.2, "race": 0.6}, {"gender": 0.2, "race": 0.3}, 32, 15_000
    ),
    "exp4": (
        {"gender": GENDER, "race": RACE, "age": AGE}, 8, 0.1,
        {"gender": 0.2, "race": 0.6, "age": 0.6}, {"gender": 0.2, "race": 0.3, "age": 0.3}, 40, 15_000,
    ),
    "exp5": (
        {"gender": GENDER, "race": RACE}, 8, 0.1, {"gender": 0.2, "race": 0.6}, {"gender": 0.2, "race": 0.3}, 40, 15_000
    ),
    "exp6": ({"race": RACE}, 6, 0.1, {"race": 0.6}, {"race": 0.3}, 32, 12_000),
}  # fmt: skip
TRAINED = {"text_encoder": {"text_encoder"}, "unet": {"unet"}, "both": {"text_encoder", "unet"}}
RUNS = [(name, part) for name in TABLE for part in TRAINED if name != "exp2"] + [("exp2", None)]


def configs(experiment: str, trained: str | None) -> list[str]:
    names = ["sd15", experiment, *([trained] if trained else [])]
    return [f"--config=configs/paper/{name}.yaml" for name in names]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)


def test_nothing_in_the_folder_is_left_out() -> None:
    names = {path.stem for path in (CONFIGS / "paper").iterdir()}
    assert names == {"sd15", *TABLE, *TRAINED}


@pytest.mark.parametrize(("experiment", "trained"), RUNS)
def test_settings_are_the_papers(experiment: str, trained: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *configs(experiment, trained), "--print_config"])
    assert not stopped.value.code
    config = yaml.safe_load(capsys.readouterr().out)
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    adaptor = model["adaptor"]["init_args"]
    alignment, preservation, realism = (model[name]["init_args"] for name in ("alignment", "preservation", "realism"))
    target, image, face, image_loss_scale, face_gradient_scale, images, steps = TABLE[experiment]
    assert data["target"] == target
    assert (preservation["weight"], realism["weight"]) == (image, face)
    assert preservation["unsure"] == "change"  # as the published code does
    assert preservation["image_loss_scale"] == image_loss_scale
    assert preservation["face_gradient_scale"] == face_gradient_scale
    assert (data["images_per_prompt"], config["trainer"]["max_steps"]) == (images, steps)
    assert data["families"] == (FAMILIES if experiment == "exp5" else FAMILIES[:1])
    costs = {"age": {"old": {"young": 2.0}}} if experiment == "exp4" else {}
    assert alignment["class_costs"] == costs
    if trained is None:
        assert model["adaptor"]["class_path"] == "fairlit.adaptors.SoftTokens"
        assert (adaptor["count"], adaptor["initial_text"]) == (5, None)
    else:
        assert {name for name in ("text_encoder", "unet") if adaptor[name]} == TRAINED[trained]
        assert (adaptor["rank"], adaptor["alpha"], adaptor["contrasts"]) == (50, None, [])
        assert set(adaptor["text_encoder_modules"]) == {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
        assert set(adaptor["unet_modules"]) == {"to_q", "to_k", "to_v", "to_out.0"}
    optimizer = model["optimizer"]["init_args"]
    assert (optimizer["lr"], optimizer["betas"], optimizer["weight_decay"]) == (5e-5, [0.9, 0.999], 0.01)
    assert (model["lr_scheduler"], model["ema_decay"], alignment["threshold"]) == (None, 0.996, 0.8)
    sampling = model["sampling"]
    assert [sampling[name] for name in ("min_steps", "max_steps", "evaluation_steps")] == [19, 23, 25]
    assert (sampling["solver"], sampling["guidance_scale"]) == ("dpm-solver++", 7.5)
    assert sampling["prompt_padding"] == "longest"
    assert config["trainer"]["val_check_interval"] == 200
    models = model["models"]
    assert models["backbone"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert (models["clip"], models["dino"]) == ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "facebook/dinov2-base")


def on_the_miniature(experiment: str, folder: Path) -> Path:
    """An overlay that puts the miniature's models in place of the large ones and asks for little.

    The miniature's classifiers know four skin tones and no races, so what an experiment asks of its four races is asked
    of them.
    """
    content = yaml.safe_load((CONFIGS / "paper" / f"{experiment}.yaml").read_text())
    demo = yaml.safe_load((CONFIGS / "demo.yaml").read_text())["model"]["init_args"]
    preservation = {
        name: {"skin_tone" if attribute == "race" else attribute: factor for attribute, factor in factors.items()}
        for name, factors in content["model"]["init_args"]["preservation"].items()
        if name != "weight"
    }
    target = content["data"]["init_args"]["target"]
    if "race" in target:
        target["skin_tone"] = dict(zip(("light", "tan", "brown", "dark"), target.pop("race").values(), strict=True))
    overlay = {
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 2,
            "default_root_dir": str(folder / "run"),
            "enable_model_summary": False,
        },
        "model": {
            "init_args": {
                "models": demo["models"],
                "detection": demo["detection"],
                "sampling": {"min_steps": 2, "max_steps": 2},
                "preservation": preservation,
            }
        },
        "data": {"init_args": {"target": target, "images_per_prompt": 4}},
    }
    path = folder / "miniature.yaml"
    path.write_text(yaml.safe_dump(overlay, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("experiment", "trained"),
    [
        pytest.param(*run, marks=[] if run[1] in ("both", None) else [pytest.mark.slow], id="-".join(filter(None, run)))
        for run in RUNS
    ],
)
def test_two_steps_on_the_miniature(experiment: str, trained: str | None, tmp_path: Path) -> None:
    main(["fit", *configs(experiment, trained), "--config", str(on_the_miniature(experiment, tmp_path))])
    assert read_checkpoint(last_checkpoint(tmp_path / "run"))["global_step"] == 2
    if trained is None:
        assert (tmp_path / "run" / "adaptor" / "learned_embeds.safetensors").is_file()
        return
    tensors = load_file(tmp_path / "run" / "adaptor" / "pytorch_lora_weights.safetensors")
    assert {name.split(".")[0] for name in tensors} == TRAINED[trained]
    for component in TRAINED[trained]:  # B starts at zero
        assert any(tensor.any() for name, tensor in tensors.items() if name.startswith(component) and "lora_B" in name)
