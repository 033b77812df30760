"""Sampling as training and evaluation need it: the model as it is, as it was, or both at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fairlit.adaptors import Adaptor
from fairlit.diffusion import Backbone, Chain, Conditioning, Rollout, detached_graph, full_graph, rollout
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.functional.sampling.solver import LinearSolver, linear_solver, output_weights
from fairlit.training.finetuning.settings import Gradient, Sampling


class Samples(NamedTuple):
    """Latents of one prompt's images.

    Attributes:
        latents: final latents [N, C, h, w]; they carry a graph in the modes `detached` and `full`.
        rollout: what the replay repeats; None where there is a graph.
        originals: final latents by the original model [N, C, h, w]; None where nobody asked.
    """

    latents: Tensor
    rollout: Rollout | None
    originals: Tensor | None


class Sampler:
    """Samples images of one prompt by the adapted and by the original model.

    Args:
        backbone: with the adaptor attached.
        adaptor: can be switched off.
        sampling: how images are generated.
        gradient: how the gradient goes through the chain.
    """

    def __init__(self, backbone: Backbone, adaptor: Adaptor, sampling: Sampling, gradient: Gradient) -> None:
        self.backbone, self.adaptor = backbone, adaptor
        self.sampling, self.gradient = sampling, gradient
        self._solvers: dict[tuple[int, torch.device], LinearSolver] = {}
        self._weights: dict[tuple[int, str], Tensor] = {}

    def chain(self, steps: int) -> Chain:
        """The chain of so many solver steps."""
        key = (steps, self.backbone.device)
        if key not in self._solvers:
            self._solvers[key] = linear_solver(self.backbone.scheduler, steps).to(self.backbone.device)
        return Chain(self.backbone, self._solvers[key], self.sampling.guidance_scale)

    def weights(self, steps: int) -> Tensor:
        """Weights of its calls in the adjusted gradient [S]."""
        key = (steps, self.gradient.weights)
        if key not in self._weights:
            self._weights[key] = output_weights(self.backbone.scheduler, steps, self.gradient.weights)
        return self._weights[key]

    def noise(self, keys: Sequence[tuple[int, ...]]) -> Tensor:
        """Unit noise [N, C, h, w] of images with these keys."""
        return keyed_noise(keys, self.backbone.latent_shape(self.sampling.image_size)).to(self.backbone.device)

    def conditioning(self, prompt: str, count: int) -> Conditioning:
        """The prompt as the adapted model reads it, for `count` images."""
        embeddings = self.backbone.encode(["", self.adaptor.adapt_prompt(prompt)])
        return Conditioning.of_one_prompt(embeddings, count)

    @torch.no_grad()
    def original_conditioning(self, prompt: str, count: int) -> Conditioning:
        """The prompt as the original model reads it."""
        with self.adaptor.disabled():
            return Conditioning.of_one_prompt(self.backbone.encode(["", prompt]), count)

    def inner_parameters(self) -> list[nn.Parameter]:
        """Adaptor parameters inside the denoiser; others get their gradient through the embeddings."""
        inside = {id(parameter) for parameter in self.backbone.unet.parameters()}
        return [parameter for parameter in self.adaptor.parameters().values() if id(parameter) in inside]

    def sample(
        self, steps: int, noise: Tensor, conditioning: Conditioning, original: Conditioning | None, together: bool
    ) -> Samples:
        """Images of a training step, by the adapted and by the original model.

        Args:
            steps: of the solver.
            noise: unit noise [N, C, h, w], the same for both.
            conditioning: from `conditioning`.
            original: from `original_conditioning`; None: no originals.
            together: sample both in one batch where that gives the same.
        """
        chain = self.chain(steps)
        mode, batch_size = self.gradient.mode, self.sampling.batch_size
        if original is not None and together and mode == "replay" and self._can_join(conditioning, original):
            joined = Conditioning.join(conditioning, original)
            both = rollout(chain, torch.cat([noise, noise]), joined, batch_size)
            new, old = both.split(len(noise))
            return Samples(new.latents, new, old.latents)
        sampled = None
        if mode == "detached":
            latents = detached_graph(chain, noise, conditioning, self.weights(steps))
        elif mode == "full":
            latents = full_graph(chain, noise, conditioning, last_calls=self.gradient.last_calls)
        else:
            sampled = rollout(chain, noise, conditioning, batch_size)
            latents = sampled.latents
        return Samples(latents, sampled, None if original is None else self._originals(chain, noise, original))

    def _can_join(self, conditioning: Conditioning, original: Conditioning) -> bool:
        """Whether one call can serve both: the same weights, and as many tokens, which attention has no mask for."""
        return not self.inner_parameters() and conditioning.embeddings.shape == original.embeddings.shape

    def _originals(self, chain: Chain, noise: Tensor, original: Conditioning) -> Tensor:
        with self.adaptor.disabled():
            return rollout(chain, noise, original, self.sampling.batch_size).latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1], a few at a time."""
        parts = latents.detach().split(self.sampling.batch_size)
        return torch.cat([self.backbone.decode(part) for part in parts])
