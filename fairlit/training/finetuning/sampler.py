"""Sampling as training and evaluation need it: the model as it is, as it was, or both at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fairlit.adaptors import Adaptor
from fairlit.data.prompts.datamodule import PromptMix
from fairlit.diffusion import Backbone, Chain, Conditioning, Rollout, detached_graph, full_graph, rollout
from fairlit.diffusion.chain import EncodedPrompts
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.functional.sampling.noise import chain_noise
from fairlit.functional.sampling.solver import LinearSolver, linear_solver, output_weights
from fairlit.training.finetuning.settings import Gradient, Sampling


class Samples(NamedTuple):
    """Latents of one prompt's images.

    Attributes:
        latents: final latents [N, C, h, w]; they carry a graph in the modes `detached` and `full`.
        rollout: what the replay repeats; None where there is a graph.
        references: final latents of the reference images, by the original model [N, C, h, w]; None where nobody asked.
    """

    latents: Tensor
    rollout: Rollout | None
    references: Tensor | None


class Sampler:
    """Samples images of one prompt by the adapted and by the original model.

    Args:
        backbone: model with the adaptor attached.
        adaptor: adaptor, which can be switched off.
        sampling: how images are generated.
        gradient: how the gradient goes through the chain.
    """

    def __init__(self, backbone: Backbone, adaptor: Adaptor, *, sampling: Sampling, gradient: Gradient) -> None:
        self.backbone, self.adaptor = backbone, adaptor
        self.sampling, self.gradient = sampling, gradient
        self._solvers: dict[tuple[int, torch.device], LinearSolver] = {}
        self._weights: dict[tuple[int, str], Tensor] = {}

    def chain(self, steps: int, guidance_scale: float | None = None) -> Chain:
        """Return the sampling chain of a number of solver steps; None: the guidance scale of the settings."""
        key = (steps, self.backbone.device)
        if key not in self._solvers:
            self._solvers[key] = linear_solver(self.backbone.scheduler, steps).to(self.backbone.device)
        scale = self.sampling.guidance_scale if guidance_scale is None else guidance_scale
        return Chain(self.backbone, self._solvers[key], scale)

    def weights(self, steps: int) -> Tensor:
        """Return the weights of its evaluations in the adjusted gradient [S]."""
        key = (steps, self.gradient.weights)
        if key not in self._weights:
            self._weights[key] = output_weights(self.backbone.scheduler, steps, self.gradient.weights)
        return self._weights[key]

    def noise(self, keys: Sequence[tuple[int, ...]], num_steps: int) -> Tensor:
        """Return all unit noise that images with these keys read in a number of solver steps.

        Args:
            keys: N noise keys.
            num_steps: number of solver steps.

        Returns:
            [N, C, h, w], or [N, 1 + F, C, h, w] for a solver that draws fresh noise, see `LinearSolver.draws`.
        """
        fresh = self.chain(num_steps).solver.num_fresh
        return chain_noise(keys, self.backbone.latent_shape(self.sampling.image_size), fresh).to(self.backbone.device)

    def conditioning(self, prompt: str, count: int, mix: PromptMix | None = None) -> Conditioning:
        """Return the prompt as the adapted model reads it, for `count` images.

        Args:
            prompt: the text.
            count: number of images.
            mix: what is mixed into it; None: nothing.
        """
        if mix is not None:
            mix = mix._replace(other=self.adaptor.adapt_prompt(mix.other))
        return Conditioning.of_one_prompt(self._encode(self.adaptor.adapt_prompt(prompt), mix), count)

    @torch.no_grad()
    def original_conditioning(self, prompt: str, count: int, mix: PromptMix | None = None) -> Conditioning:
        """Return the prompt as the original model reads it, see `conditioning`."""
        with self.adaptor.disabled():
            return Conditioning.of_one_prompt(self._encode(prompt, mix), count)

    def _encode(self, prompt: str, mix: PromptMix | None) -> EncodedPrompts:
        """Return the empty prompt and this one: tensors [2, ...]."""
        if mix is None:
            return self.backbone.encode(["", prompt])
        return self.backbone.encode_mixed(["", prompt], ["", mix.other], mix.weight)

    def inner_parameters(self) -> list[nn.Parameter]:
        """Return the adaptor parameters inside the denoiser; others get theirs through the conditioning."""
        inside = {id(parameter) for parameter in self.backbone.denoiser.parameters()}
        return [parameter for parameter in self.adaptor.parameters().values() if id(parameter) in inside]

    def sample(
        self,
        num_steps: int,
        noise: Tensor,
        conditioning: Conditioning,
        *,
        guidance_scale: float | None = None,
        references: Conditioning | None,
        together: bool,
        keep: KeptActivations | None = None,
    ) -> Samples:
        """Sample images of a training step, by the adapted and by the original model.

        Args:
            num_steps: number of solver steps.
            noise: what `noise` gave, the same for both.
            conditioning: what `conditioning` gave.
            guidance_scale: scale of classifier-free guidance; None: that of the settings.
            references: what `original_conditioning` gave; None: no reference images.
            together: whether both are sampled in one batch where that gives the same.
            keep: evaluations of the adapted model whose activations are kept for the replay; None: of no evaluation.
        """
        chain = self.chain(num_steps, guidance_scale)
        mode, batch_size = self.gradient.mode, self.sampling.batch_size
        if references is not None and together and mode == "replay" and self._can_join(conditioning, references):
            joined = Conditioning.join(conditioning, references)
            both = rollout(chain, torch.cat([noise, noise]), joined, batch_size, keep=keep)
            new, old = both.split(len(noise))
            return Samples(new.latents, new, old.latents)
        sampled = None
        if mode == "detached":
            latents = detached_graph(chain, noise, conditioning, weights=self.weights(num_steps))
        elif mode == "full":
            latents = full_graph(chain, noise, conditioning, last_evaluations=self.gradient.last_evaluations)
        else:
            sampled = rollout(chain, noise, conditioning, batch_size, keep=keep)
            latents = sampled.latents
        old_latents = None if references is None else self._sample_original(chain, noise, references)
        return Samples(latents, sampled, old_latents)

    def _can_join(self, conditioning: Conditioning, references: Conditioning) -> bool:
        """Whether one batch can serve both: the same weights, and as many tokens, which attention has no mask for."""
        return not self.inner_parameters() and conditioning.same_shapes(references)

    def _sample_original(self, chain: Chain, noise: Tensor, conditioning: Conditioning) -> Tensor:
        with self.adaptor.disabled():
            return rollout(chain, noise, conditioning, self.sampling.batch_size).latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return images [N, 3, H, W] in [0, 1], decoded a few at a time."""
        parts = latents.detach().split(self.sampling.batch_size)
        return torch.cat([self.backbone.decode(part) for part in parts])
