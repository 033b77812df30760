"""Activations of model evaluations, kept from sampling until the backward pass instead of computed once more there.

The replay repeats evaluations because their activations were thrown away. The adjusted gradient takes every evaluation
on a detached input, so an evaluation of the rollout itself can serve: with its graph kept, its vector-Jacobian product
costs no second forward pass. Memory grows with what is kept, so a budget says how many (image, evaluation) pairs are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.diffusion.chain import Chain, Conditioning
from fairlit.diffusion.out_of_memory import is_out_of_memory

_log = logging.getLogger(__name__)


@contextmanager
def keeping(device: torch.device) -> Iterator[None]:
    """Record a graph whose activations are kept, in the present precision."""
    # Without the cache, in which autocast (torch 2.15) keeps casts of weights that were made without gradient.
    precision = torch.autocast(
        device.type,
        dtype=torch.get_autocast_dtype(device.type),
        enabled=torch.is_autocast_enabled(device.type),
        cache_enabled=False,
    )
    with torch.enable_grad(), precision:
        yield


@dataclass(frozen=True)
class KeptEvaluation:
    """The evaluation of some images with its graph.

    Attributes:
        evaluation: number of the evaluation.
        images: LongTensor [M], the images in it.
        output: guided model output [M, C, h, w], a function of the leaves of the prompts and of parameters.
    """

    evaluation: int
    images: Tensor
    output: Tensor


class KeptActivations:
    """Evaluations of a rollout whose activations are kept.

    Args:
        pairs: which (image, evaluation) pairs to keep, bool [S, N] on the CPU.
        conditioning: prompts of the N images, as the trained model reads them.
    """

    def __init__(self, pairs: Tensor, conditioning: Conditioning) -> None:
        self._images = [row.nonzero().flatten() for row in pairs]
        self._conditioning = conditioning.detached()
        self._kept: list[KeptEvaluation] = []

    @classmethod
    def first(
        cls, count: int, evaluations: Tensor, images: Tensor, *, shape: tuple[int, int], conditioning: Conditioning
    ) -> KeptActivations:
        """Return a keeper of the first of some pairs, evaluation by evaluation.

        Args:
            count: number of pairs to keep.
            evaluations: LongTensor [M], evaluations of the pairs.
            images: LongTensor [M], their images.
            shape: numbers of evaluations S and images N.
            conditioning: prompts of the N images.
        """
        wanted = torch.zeros(shape, dtype=torch.bool)
        wanted[evaluations.cpu(), images.cpu()] = True
        return cls(wanted & (wanted.flatten().cumsum(0) <= count).view(shape), conditioning)

    @property
    def leaves(self) -> list[Tensor]:
        """Leaves of the graphs that are kept, in the order of `Conditioning.leaves`."""
        return list(self._conditioning.leaves.values())

    @property
    def count(self) -> int:
        """Number of pairs that are kept by now."""
        return sum(len(kept.images) for kept in self._kept)

    def images(self, evaluation: int) -> Tensor:
        """Return the images whose activations are to be kept in an evaluation, LongTensor [M] on the CPU."""
        return self._images[evaluation]

    def predict(self, chain: Chain, state: Tensor, evaluation: int, *, images: Tensor) -> Tensor:
        """Evaluate the model and keep what its gradient needs.

        Where memory does not suffice, nothing more is kept and the pairs are left to the replay.

        Args:
            chain: chain that is sampled.
            state: x_t of the images [M, C, h, w].
            evaluation: number of the evaluation t.
            images: LongTensor [M].

        Returns:
            Guided model output [M, C, h, w], without its graph.
        """
        evaluations = torch.full_like(images, evaluation)
        output = None
        try:
            with keeping(state.device):
                output = chain.predict(state, evaluations, self._conditioning, images)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if output is None:  # outside of `except`, where the error would still hold what it could not place
            torch.cuda.empty_cache()
            _log.warning("replay.keep: too little memory to keep more activations; the rest is computed again")
            self._images = [row[:0] for row in self._images]
            return chain.predict(state, evaluations, self._conditioning, images)
        if output.requires_grad:
            self._kept.append(KeptEvaluation(evaluation, images, output))
        return output.detach()

    def take(self) -> list[KeptEvaluation]:
        """Return what is kept, which can be taken once: a graph is gone after its backward pass."""
        kept, self._kept = self._kept, []
        return kept
