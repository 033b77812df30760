"""A finetuner of the embedded miniature, its prompts and a trainer, small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch

from fairlit.adaptors import Adaptor, Lora
from fairlit.data import PromptDataModule
from fairlit.faces.detection import FaceDetection
from fairlit.losses import FaceRealismLoss, ImagePreservationLoss
from fairlit.training import FairFinetuner, Gradient, Models, Replay, Sampling

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
        "detection": FaceDetection(scale=2.0),
        "sampling": Sampling(min_steps=4, max_steps=5, evaluation_steps=6, guidance_scale=4.0),
        "gradient": Gradient(loss_batch=4),
        "replay": Replay(micro_batch=16),
        "preservation": ImagePreservationLoss(weight=2.0, image_loss_scale=FACTORS, face_gradient_scale=FACTORS),
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
