"""The training step on the embedded miniature: real pipeline, detector, classifiers and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from fairlit.adaptors import Adaptor, Lora, SoftTokens
from fairlit.data import PromptDataModule
from fairlit.errors import ConfigurationError
from fairlit.losses import FaceRealismLoss, ImagePreservationLoss
from fairlit.training import Detection, FairFinetuner, Gradient, Models, Sampling

ROOT = Path(__file__).parents[2]
MINIATURE = ROOT / "checkpoints" / "miniature"
GENDER = {"gender": {"female": 0.5, "male": 0.5}}
FACTORS = {"gender": 0.2, "skin_tone": 0.6, "age": 0.6}


def miniature_models() -> Models:
    return Models(
        backbone=str(MINIATURE / "pipeline"),
        classifier=str(MINIATURE / "classifier_train"),
        audit_classifier=str(MINIATURE / "classifier_audit"),
        clip=str(MINIATURE / "clip"),
        dino=str(MINIATURE / "dino"),
        face_embedder=str(MINIATURE / "classifier_train"),
        face_bank=str(MINIATURE / "face_bank.safetensors"),
    )


def finetuner(adaptor: Adaptor | None = None, **changes: Any) -> FairFinetuner:
    settings: dict[str, Any] = {
        "models": miniature_models(),
        "adaptor": adaptor or Lora(rank=4),
        "detection": Detection(enlarge=2.0),
        "sampling": Sampling(min_steps=4, max_steps=5, evaluation_steps=6, guidance_scale=4.0),
        "gradient": Gradient(micro_batch=16, loss_batch=4),
        "preservation": ImagePreservationLoss(weight=2.0, factor1=FACTORS, factor2=FACTORS),
        "realism": FaceRealismLoss(weight=0.1),
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        "ema_decay": 0.5,
    }
    return FairFinetuner(**(settings | changes))


def prompts(target: dict[str, Any] | None = None, **changes: Any) -> PromptDataModule:
    settings: dict[str, Any] = {"families": ["occupations"], "images_per_prompt": 8, "validation_images": 4}
    settings |= {"validation_prompts": 1, "test_prompts": 1, "test_images": 4} | changes
    return PromptDataModule(str(ROOT / "configs/prompts/miniature.yaml"), target or GENDER, **settings)


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    settings: dict[str, Any] = {"max_steps": 2, "max_epochs": -1, "limit_val_batches": 0, "logger": False}
    settings |= {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return L.Trainer(default_root_dir=folder, accelerator="cpu", log_every_n_steps=1, **(settings | changes))


def adaptor_values(module: FairFinetuner) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.adaptor.parameters().values()])


def test_two_steps_train_the_adaptor_and_nothing_else(tmp_path: Path) -> None:
    module = finetuner()
    run = trainer(tmp_path)
    run.fit(module, datamodule=prompts())
    trainable = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora" in name for name in trainable)
    start = finetuner()
    start.configure_model()
    assert not torch.equal(adaptor_values(module), adaptor_values(start))
    frozen = dict(start.backbone.named_parameters())
    for name, parameter in module.backbone.named_parameters():
        if "lora" not in name:
            assert torch.equal(parameter, frozen[name]), name
    logged = run.callback_metrics
    for name in (
        *("loss", "loss/alignment", "loss/image", "loss/face", "bias/gender", "faces/missing"),
        *("faces/confident_target", "norm/gradient", "norm/adaptor", "memory/peak_GiB", "seconds/step"),
        *(f"seconds/{phase}" for phase in ("rollout", "originals", "faces", "losses", "replay")),
    ):
        assert torch.isfinite(logged[name]), name
    parts = logged["loss/alignment"] + logged["loss/image"] + logged["loss/face"]
    torch.testing.assert_close(logged["loss"], parts)
    assert not [name for name, child in module.named_modules() if child.training and name]


@pytest.mark.parametrize(
    "adaptor", [Lora(rank=2, text_encoder=True, unet=True), SoftTokens(count=2)], ids=["both", "soft tokens"]
)
def test_replay_and_detached_graph_train_alike(tmp_path: Path, adaptor: Adaptor) -> None:
    settings = adaptor.describe()
    kind = settings.pop("kind")
    results = []
    for mode in ("replay", "detached"):
        own = Lora(**settings) if kind == "lora" else SoftTokens(**settings)
        module = finetuner(own, gradient=Gradient(mode=mode, micro_batch=7, loss_batch=3), ema_decay=None)
        gradients: list[Tensor] = []

        class Keep(L.Callback):
            def on_before_optimizer_step(self, run: L.Trainer, module: Any, optimizer: Any) -> None:
                kept = [parameter.grad.flatten() for parameter in module.adaptor.parameters().values()]
                gradients.append(torch.cat(kept))  # noqa: B023 - used up before the next turn

        trainer(tmp_path, max_steps=1, callbacks=[Keep()]).fit(module, datamodule=prompts(images_per_prompt=4))
        results.append(gradients[0])
    assert results[0].norm() > 0
    assert (results[0] - results[1]).norm() / results[1].norm() < 1e-3  # float32; exact in test_gradients


def test_no_face_anywhere_is_an_ordinary_event(tmp_path: Path) -> None:
    module = finetuner(detection=Detection(enlarge=2.0, min_score=1.0))
    run = trainer(tmp_path)
    run.fit(module, datamodule=prompts())
    assert run.callback_metrics["faces/missing"] == 1
    assert run.callback_metrics["loss/alignment"] == 0
    assert adaptor_values(module).isfinite().all()


def test_the_original_variant_is_the_untouched_pipeline(tmp_path: Path) -> None:
    module, data = finetuner(), prompts()
    trainer(tmp_path).fit(module, datamodule=data)
    untouched = finetuner()
    untouched.configure_model()
    batch = data.batch("test", 0)
    original = module.generate(batch, "original").images
    assert torch.equal(original, untouched.generate(batch, "finetuned").images)  # LoRA starts as the identity
    assert not torch.equal(original, module.generate(batch, "finetuned").images)


def test_several_attributes_at_once(tmp_path: Path) -> None:
    target = {
        "skin_tone": {"light": 0.25, "tan": 0.25, "brown": 0.25, "dark": 0.25},
        "gender": {"male": 0.5, "female": 0.5},  # neither attributes nor classes in the classifier's order
        "age": {"young": 0.75, "old": 0.25},
    }
    run = trainer(tmp_path, max_steps=1)
    run.fit(finetuner(), datamodule=prompts(target))
    for name in ("gender", "skin_tone", "age", "joint"):
        assert 0 <= run.callback_metrics[f"bias/{name}"] <= 1


def test_everything_wrong_is_said_at_once_before_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairFinetuner, "configure_model", lambda self: pytest.fail("weights were loaded"))
    module = finetuner(
        models=Models(backbone=str(tmp_path / "nowhere"), classifier=str(MINIATURE / "classifier_train")),
    )
    data = prompts({"gender": {"woman": 0.5, "male": 0.5}, "hair": {"long": 0.5, "short": 0.5}})
    with pytest.raises(ConfigurationError) as caught:
        trainer(tmp_path).fit(module, datamodule=data)
    for part in ("nowhere", "'woman'", "'hair'"):
        assert part in str(caught.value)
