"""Training with reference images that are sampled, or remembered."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from finetuning import finetuner, prompts, trainer
from torch import Tensor

from fairlit.data.prompts.datamodule import PromptMix
from fairlit.training import FairFinetuner, ReferenceImages, Sampling
from fairlit.training.finetuning.step_draws import StepDraw


class Steps(L.Callback):
    """Gradients and losses of every step."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []
        self.found: list[float] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, module: FairFinetuner, optimizer: object) -> None:  # type: ignore[override]
        kept = [parameter.grad for parameter in module.adaptor.parameters().values()]
        self.gradients.append(torch.cat([gradient.flatten() for gradient in kept if gradient is not None]))

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.found.append(float(trainer.callback_metrics["originals/found"]))


def steps_of(folder: Path, solver: Any = "pipeline", **settings: object) -> tuple[list[Tensor], FairFinetuner, Steps]:
    seen = Steps()
    sampling = Sampling(min_steps=2, max_steps=3, guidance_scale=2.0, batch_size=8, solver=solver)
    module = finetuner(reference_images=ReferenceImages(**settings), sampling=sampling, ema_decay=None)  # type: ignore[arg-type]
    callbacks = [seen] if settings.get("cache") else [_only_gradients(seen)]
    run = trainer(folder, max_steps=2, callbacks=callbacks)
    run.fit(module, datamodule=prompts(images_per_prompt=4))
    return seen.gradients, module, seen


def _only_gradients(seen: Steps) -> L.Callback:
    seen.on_train_end = lambda *args: None  # type: ignore[method-assign]
    return seen


def test_descriptions_are_of_one_guidance_scale(tmp_path: Path) -> None:
    """One set of noise with one scale drawn for it; another range of scales finds nothing of the first."""
    cache = {"noise_pool": 1, "cache": str(tmp_path / "originals")}
    found = []
    for high in (None, 4.0, 4.0):
        sampling = Sampling(
            min_steps=2, max_steps=2, evaluation_steps=2, guidance_scale=2.0, max_guidance_scale=high, batch_size=8
        )
        module = finetuner(reference_images=ReferenceImages(**cache), sampling=sampling, ema_decay=None)  # type: ignore[arg-type]
        trainer(tmp_path, max_steps=1).fit(module, datamodule=prompts(images_per_prompt=2))
        assert module.references.cache is not None
        found.append(module.references.cache.share_found)
    assert found == [0.0, 0.0, 1.0]


def test_descriptions_are_of_one_prompt_and_of_what_is_mixed_into_it() -> None:
    module = finetuner()
    module.configure_model()
    draw = StepDraw(prompt="a chef", index=0, num_steps=2, guidance_scale=4.0, keys=[], noise=torch.zeros(0, 4, 8, 8))
    mixes = (None, PromptMix("a nurse", 0.25), PromptMix("a nurse", 0.5), PromptMix("a judge", 0.25))
    keys = [module.references._key(replace(draw, mix=mix)) for mix in mixes]
    assert all(one != other for one, other in itertools.combinations(keys, 2))
    assert "mix" not in keys[0]  # what was remembered by earlier versions is still found


@pytest.mark.parametrize("solver", ["pipeline", "lcm"])
def test_remembered_references_train_alike(tmp_path: Path, solver: str) -> None:
    """Without a cache, with an empty one, and with a full one that holds one damaged file."""
    plain, _, _ = steps_of(tmp_path, solver, noise_pool=2, cache=None)
    first, module, _ = steps_of(tmp_path, solver, noise_pool=2, cache=str(tmp_path / "originals"))
    assert module.references.cache is not None
    assert module.references.cache.missed == 2
    files = sorted((tmp_path / "originals").glob("*/*.safetensors"))
    assert len(files) == 2
    files[0].write_bytes(b"nonsense")
    again, module, seen = steps_of(tmp_path, solver, noise_pool=2, cache=str(tmp_path / "originals"))
    assert (module.references.cache.found, module.references.cache.damaged) == (1, 1)
    assert seen.found == [0.5]
    for expected, new, remembered in zip(plain, first, again, strict=True):
        assert (new - expected).norm() / expected.norm() < 1e-4
        assert (remembered - expected).norm() / expected.norm() < 1e-4
