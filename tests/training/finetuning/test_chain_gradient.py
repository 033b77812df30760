"""Which pairs keep their activations is found in a run's first step, and stays as it was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from finetuning import finetuner, prompts, trainer
from two_ranks import on_two_ranks

from fairlit.errors import ConfigurationError
from fairlit.training import FairFinetuner, Gradient, Replay
from fairlit.training.finetuning.chain_gradient import ChainGradient
from fairlit.training.finetuning.kept_pairs import kept_pairs
from fairlit.training.finetuning.step_draws import StepDraw, draw_step


def built(**changes: Any) -> tuple[FairFinetuner, ChainGradient]:
    module = finetuner(**changes)
    module.configure_model()
    return module, module.chain_gradient


def first_draw(module: FairFinetuner, images: int = 4) -> StepDraw:
    """What the first step samples on this rank."""
    data = prompts(images_per_prompt=images)
    data.setup("fit")
    return draw_step(next(iter(data.train_dataloader())), module.sampler, noise_pool=None, seed=0)


def count(module: FairFinetuner) -> int:
    """The pairs that are kept in the first step."""
    draw = first_draw(module)
    keep = module.chain_gradient.keep(draw, module.sampler.conditioning(draw.prompt, len(draw.keys)))
    return 0 if keep is None else sum(len(keep.images(evaluation)) for evaluation in range(draw.num_steps))


def test_a_resumed_run_keeps_as_many_as_before() -> None:
    module, gradient = built(replay=Replay(keep=0.02))
    found = count(module)
    assert 0 < found == gradient.kept
    assert gradient.state_dict() == {"keep": 0.02, "kept": found}
    gradient.load_state_dict({"keep": 0.02, "kept": 3})
    assert gradient.kept == found  # found already
    gradient.kept = None
    gradient.load_state_dict({"keep": "auto", "kept": 3})  # of another setting
    assert gradient.kept is None
    gradient.load_state_dict({})  # of a checkpoint from before there was the setting
    assert gradient.kept is None
    gradient.load_state_dict({"keep": 0.02, "kept": 3})
    assert count(module) == 3


def _kept_by_rank() -> dict[str, int | None]:
    """Of five images the first rank has three; in half precision each batch has casts of the weights to keep too."""
    module, gradient = built(replay=Replay(keep=0.05))
    draw = first_draw(module, images=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        conditioning = module.sampler.conditioning(draw.prompt, len(draw.keys))
        chain = module.sampler.chain(draw.num_steps)
        alone = kept_pairs(chain, draw.noise, conditioning, budget=0.05, max_batch=module.sampling.batch_size)
        gradient.keep(draw, conditioning)
    return {"alone": alone, "kept": gradient.kept}


def test_all_ranks_keep_as_many_as_the_one_that_can_keep_fewest(tmp_path: Path) -> None:
    first, second = on_two_ranks(_kept_by_rank, tmp_path)
    assert first["alone"] > second["alone"] > 0
    assert first["kept"] == second["kept"] == second["alone"]


def test_nothing_is_kept_where_it_cannot_serve() -> None:
    module, gradient = built(replay=Replay(keep=0))
    assert count(module) == 0
    settings: dict[str, Any] = {"seed": (0,), "fixed_shape": False, "sharded": False}
    for way, change in (
        (Gradient(mode="detached"), {}),
        (Gradient(), {"fixed_shape": True}),
        (Gradient(), {"sharded": True}),
    ):
        module.chain_gradient = ChainGradient(module.sampler, way, Replay(), **(settings | change))
        assert count(module) == 0
    module.chain_gradient = ChainGradient(module.sampler, Gradient(), Replay(), **settings)
    assert count(module) > 0
    assert gradient.kept == 0


def test_draws_of_the_chain_s_stretches_are_what_is_kept() -> None:
    module, _ = built(replay=Replay(step_fraction=0.5))
    steps = module.sampling.max_steps
    assert 0 < count(module) <= 4 * round(steps / 2)


def test_a_compiled_model_and_kept_activations_are_refused_together(tmp_path: Path) -> None:
    module = finetuner(replay=Replay(keep=1.0))
    module.acceleration = type(module.acceleration)(compile=True)
    with pytest.raises(ConfigurationError, match=r"replay\.keep: got 1\.0 with acceleration\.compile"):
        trainer(tmp_path).fit(module, datamodule=prompts())


def test_the_count_is_in_the_checkpoint(tmp_path: Path) -> None:
    module, data, run = finetuner(), prompts(), trainer(tmp_path, max_steps=1)
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)["chain_gradient"]
    assert saved == {"keep": "auto", "kept": module.chain_gradient.kept}
    assert saved["kept"] > 0
