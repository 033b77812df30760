"""What a checkpoint gives back to the adaptor, its average and its unfinished gradient."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline

from fairlit.adaptors import AdaptorEMA, SoftTokens
from fairlit.training.finetuning.checkpoint import restore_training_state, training_state


def test_checkpoints_with_the_former_default_token_go_on(tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = SoftTokens(count=2)
    adaptor.attach(tiny_pipeline)
    ((name, rows),) = adaptor.parameters().items()
    ema = AdaptorEMA({name: rows})
    saved = training_state(adaptor.parameters(), ema, unfinished=False)
    old = {
        "adaptor": {"<fair>": saved["adaptor"][name] + 1},
        "adaptor_ema": {**saved["adaptor_ema"], "shadow": {"<fair>": saved["adaptor_ema"]["shadow"][name] + 2}},
        "gradients": {"<fair>": torch.ones_like(rows)},
    }
    gradients = restore_training_state(old, adaptor, ema)
    assert torch.equal(rows.detach(), saved["adaptor"][name] + 1)
    assert torch.equal(ema.state_dict()["shadow"][name], saved["adaptor"][name] + 2)
    assert list(gradients) == [name]
