"""Parts of one's own in a file beside the config: finetuner, adaptor, loss, detector, classifier; stopped, resumed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import yaml
from cli_runs import adaptors, last_checkpoint, read_checkpoint, run_fairlit, same_content, variant

OWN_PARTS = '''
"""Parts that fairlit does not know."""

from dataclasses import dataclass

import torch

from fairlit.adaptors import Lora
from fairlit.faces import FaceClassifier
from fairlit.losses import AlignmentLoss
from fairlit.training import FairFinetuner
from stand_ins import MiddleFaces


class TextLora(Lora):
    """A LoRA in the text encoder alone."""

    def __init__(self, rank: int = 2) -> None:
        super().__init__(rank=rank, text_encoder=True, unet=False)

    def settings(self):
        return {"rank": self.rank}


@dataclass(frozen=True)
class DoubledAlignment(AlignmentLoss):
    """The alignment loss, times a factor.

    Attributes:
        factor: factor on the loss.
    """

    factor: float = 2.0

    def __call__(self, logits, assignment, weights):
        return self.factor * super().__call__(logits, assignment, weights)


class OwnDetector(MiddleFaces):
    """Finds a face in about every second image of noise."""


class Redness(FaceClassifier):
    """Takes a face for female where the image is redder than blue."""

    classes = {"gender": ("female", "male")}
    temperature = {"gender": 1.0}
    size = 16

    def forward(self, faces):
        contrast = faces[:, 0].mean(dim=(1, 2)) - faces[:, 2].mean(dim=(1, 2))
        return {"gender": 20.0 * torch.stack([contrast, -contrast], dim=1)}

    def classify(self, images, faces):
        return self(images[faces.image_index])


class OwnFinetuner(FairFinetuner):
    """Says what it minimises."""

    def differentiate(self, latents, observation, references, target_labels):
        value = super().differentiate(latents, observation, references, target_labels=target_labels)
        print(f"losses: {sorted(value.parts)}, {type(self.alignment).__name__} {self.alignment.factor}")
        return value
'''


def own_config(config: Path) -> Path:
    """The config with parts of somebody's own, and their file beside it."""
    (config.parent / "own_parts.py").write_text(OWN_PARTS)
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    content["model"]["class_path"] = "own_parts.OwnFinetuner"
    content["model"]["init_args"]["models"] |= {
        "detector": "own_parts.OwnDetector",
        "classifier": {"class_path": "own_parts.Redness"},
    }
    content["model"]["init_args"] |= {
        "adaptor": {"class_path": "own_parts.TextLora", "init_args": {"rank": 3}},
        "alignment": {"class_path": "own_parts.DoubledAlignment", "init_args": {"threshold": 0.5, "factor": 3.0}},
    }
    config.write_text(yaml.safe_dump(content))
    return config


def test_parts_of_ones_own_are_stopped_and_resumed(tiny_config: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = own_config(tiny_config)
    done = run_fairlit("fit", "--config", variant(config, whole), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "DoubledAlignment 3.0" in done.stdout
    killer = {"class_path": "stand_ins.KillAfterBatch", "init_args": {"batch": 2}}
    killed = run_fairlit("fit", "--config", variant(config, broken, callbacks=[killer]), folder=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = last_checkpoint(broken)
    assert read_checkpoint(left)["global_step"] == 2
    # What is on the command line goes on top of the own class's settings.
    settings = ["--model.init_args.alignment.init_args.factor", "3.0", "--ckpt_path", left]
    resumed = run_fairlit("fit", "--config", variant(config, broken), *settings, folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    trained = adaptors(whole)
    assert same_content(trained, adaptors(broken))
    assert any(bool(tensor.any()) for name, tensor in trained.items() if "lora_B" in name or "up" in name)
    assert not any(name.split("/")[1].startswith("unet") for name in trained)
    saved = yaml.safe_load((whole / "config.yaml").read_text())["model"]["init_args"]["alignment"]
    assert saved["class_path"] == "own_parts.DoubledAlignment"
    assert saved["init_args"]["factor"] == 3.0
