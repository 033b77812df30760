"""No mitigation: the model as it is, what every method is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation.method import Chunk, Method, Sampler, SamplingPlan


class NoMitigation(Method):
    """Leaves the model unchanged: samples every prompt as it stands."""

    name: ClassVar[str] = "none"
    needs_target: ClassVar[bool] = False
    is_unchanged_model: ClassVar[bool] = True

    @property
    def display_name(self) -> str:
        """What reports call it: a reader asks what was not mitigated."""
        return "unchanged model"

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Give the model as it is; `target` has no say."""
        yield one_prompt_sampler(backbone, plan)


def one_prompt_sampler(
    backbone: Backbone, plan: SamplingPlan, rewrite: Callable[[str], str] = lambda prompt: prompt
) -> Sampler:
    """Return a sampler that gives all images of a prompt the same text.

    Args:
        backbone: loaded model, in the state in which it is to sample.
        plan: how to sample.
        rewrite: function from the prompt to the text to use.
    """
    chain = plan.chain(backbone)

    @torch.no_grad()
    def sample(chunk: Chunk, noise: Tensor) -> Tensor:
        prompts = backbone.encode(["", rewrite(chunk.prompt)])
        conditioning = Conditioning.of_one_prompt(prompts, len(noise))
        return rollout(chain, noise, conditioning, plan.batch_size).latents

    return sample
