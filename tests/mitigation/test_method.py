"""The interface: plans, chunks, imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from closeness import close
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import Chunk, NoMitigation, SamplingPlan
from fairlit.mitigation.method import require_full_batch


def test_mitigation_does_without_lightning() -> None:
    code = "import sys, fairlit.mitigation; print([name for name in sys.modules if 'lightning' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_plans_and_chunks_refuse_nonsense() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)3 problems.*steps: got 0.*guidance_scale: got -0.5.*batch_size"):
        SamplingPlan(steps=0, guidance_scale=-0.5, batch_size=0)
    with pytest.raises(ConfigurationError, match=r"got 4; expected 0..3"):
        Chunk("a", [0, 4], 4)
    with pytest.raises(ConfigurationError, match="expected each once"):
        Chunk("a", [1, 1], 4)
    with pytest.raises(ValueError, match="give all 4 in one chunk"):
        require_full_batch("it", Chunk("a", [0, 1], 4))
    require_full_batch("it", Chunk.whole("a", 4))


def test_none_is_the_stock_pipeline(run: Callable[..., Tensor], backbone: Backbone) -> None:
    """The same noise through diffusers' own pipeline gives the same latents, whatever the chunks."""
    latents = run(NoMitigation())
    assert close(run(NoMitigation(), chunk=1, batch_size=1), latents)
    pipeline = backbone.pipeline()
    pipeline.set_progress_bar_config(disable=True)
    embeddings = backbone.encode(["", "a photo of the face of a doctor"])["prompt_embeds"]
    expected = pipeline(
        prompt_embeds=embeddings[1:].expand(4, -1, -1),
        negative_prompt_embeds=embeddings[:1].expand(4, -1, -1),
        latents=keyed_noise([(0, image) for image in range(4)], backbone.latent_shape()),
        num_inference_steps=3,
        guidance_scale=2.0,
        output_type="latent",
    ).images
    assert close(latents, expected)
