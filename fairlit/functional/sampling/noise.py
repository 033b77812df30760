"""Gaussian noise that depends on its key and on nothing else.

A key such as (seed, step, global image index) names one image's noise. Whoever asks for it, on whichever
rank, in whichever order and batch, gets the same numbers: resuming is exact and the number of GPUs does
not change the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fairlit.errors import ConfigurationError

_WORD = 2**32
_LARGEST = 2**64


def keyed_noise(keys: Sequence[tuple[int, ...]], shape: Sequence[int]) -> Tensor:
    """Draws one standard normal tensor per key with a counter-based generator (Philox).

    Args:
        keys: N tuples of integers in [0, 2**64). Keys of different lengths are different keys: (1,) and
            (1, 0) do not share their noise.
        shape: Shape of the noise of one key.

    Returns:
        float32 tensor [N, *shape] on the CPU.

    Raises:
        ConfigurationError: A key is empty or holds a number outside [0, 2**64).

    Example:
        >>> both = keyed_noise([(0, 7), (0, 8)], (2, 3))
        >>> both.shape
        torch.Size([2, 2, 3])
        >>> torch.equal(both[1], keyed_noise([(0, 8)], (2, 3))[0])
        True
    """
    noise = np.empty((len(keys), *shape), dtype=np.float32)
    for row, key in enumerate(keys):
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(_entropy(key))))
        noise[row] = generator.standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(noise)


def chain_noise(keys: Sequence[tuple[int, ...]], shape: Sequence[int], fresh: int = 0) -> Tensor:
    """Draws all noise of a sampling chain: `keyed_noise` to begin with, and what its solver draws on its way.

    The fresh noise of an image is what its `keyed_generator` gives, so stock diffusers makes the same image from
    ``latents=keyed_noise(keys, shape)`` and ``generator=[keyed_generator(key) for key in keys]`` in float32.

    Args:
        keys: N tuples of integers, see `keyed_noise`.
        shape: Shape [C, H, W] of the noise of one key.
        fresh: F, how often the solver draws noise, `LinearSolver.num_fresh`.

    Returns:
        float32 tensor on the CPU: [N, C, H, W] if `fresh` is 0, else [N, 1 + F, C, H, W], the initial noise first.

    Raises:
        ConfigurationError: as `keyed_noise`.
    """
    initial = keyed_noise(keys, shape)
    if fresh == 0:
        return initial
    noise = initial.new_empty(len(keys), 1 + fresh, *shape)
    noise[:, 0] = initial
    for draws, key in zip(noise, keys, strict=True):
        generator = keyed_generator(key)
        for draw in draws[1:]:  # one at a time, as schedulers draw: together torch gives other numbers
            draw.copy_(torch.randn(tuple(shape), generator=generator))
    return noise


def keyed_generator(key: tuple[int, ...]) -> torch.Generator:
    """A CPU generator that depends on its key and on nothing else, for libraries that draw their noise themselves.

    Raises:
        ConfigurationError: as `keyed_noise`.

    Example:
        >>> keyed_generator((0, 7)).initial_seed() == keyed_generator((0, 7)).initial_seed()
        True
    """
    seed = np.random.SeedSequence(_entropy(key)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed >> np.uint64(1)))


def _entropy(key: tuple[int, ...]) -> list[int]:
    """Spells a key in 32-bit words such that no two keys share a spelling.

    SeedSequence pads short entropy with zeros and splits large integers into as many words as they need,
    so (1,) and (1, 0), or (2**32,) and (0, 1), would meet. A leading length and two words a number keep
    them apart.
    """
    if not key or any(not 0 <= number < _LARGEST for number in key):
        raise ConfigurationError(f"noise key {key!r}: give at least one integer, each from 0 to 2**64 - 1")
    return [len(key), *(word for number in key for word in (number % _WORD, number // _WORD))]
