"""Guidance against hand arithmetic."""

from __future__ import annotations

import numpy as np
import torch

from fairlit.functional.sampling.guidance import classifier_free_guidance, semantic_edit, semantic_momentum


def test_classifier_free_guidance_by_hand() -> None:
    unconditional, conditional = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0])
    assert torch.equal(classifier_free_guidance(unconditional, conditional, 1.0), conditional)
    assert torch.equal(classifier_free_guidance(unconditional, conditional, 0.0), unconditional)
    assert torch.equal(classifier_free_guidance(unconditional, conditional, 7.5), torch.tensor([16.0, 13.0]))


def test_semantic_guidance_by_the_equations_written_out() -> None:
    """SEGA in numpy, float64, one element at a time, over several calls."""
    rng = np.random.default_rng(3)
    calls, edits, images, shape = 4, 3, 2, (2, 3, 5)
    outputs = rng.standard_normal((calls, 1 + edits, images, *shape))
    weights = rng.standard_normal((edits, images))
    scale, threshold, momentum, beta = 4.0, 0.8, 0.5, 0.6
    expected_velocity = np.zeros((images, *shape))
    velocity = torch.zeros(images, *shape, dtype=torch.float64)
    for output in outputs:
        gamma = np.zeros((images, *shape))
        for edit in range(edits):
            for image in range(images):
                for channel in range(shape[0]):
                    psi = output[1 + edit, image, channel] - output[0, image, channel]
                    least = np.quantile(np.abs(psi), threshold)
                    for place in np.ndindex(shape[1:]):
                        if abs(psi[place]) >= least:
                            gamma[(image, channel, *place)] += weights[edit, image] * scale * psi[place]
        gamma += momentum * expected_velocity
        expected_velocity = beta * expected_velocity + (1 - beta) * gamma
        tensors = torch.from_numpy(output)
        step = semantic_edit(tensors[0], tensors[1:], torch.from_numpy(weights), scale=scale, threshold=threshold)
        added, velocity = semantic_momentum(step, velocity, momentum, momentum_beta=beta)
        assert np.allclose(added.numpy(), gamma, rtol=1e-12, atol=1e-12)
        assert np.allclose(velocity.numpy(), expected_velocity, rtol=1e-12, atol=1e-12)


def test_thresholds_of_semantic_edits() -> None:
    """At 0 an edit acts everywhere; at 1 on the largest element of every channel alone."""
    generator = torch.Generator().manual_seed(0)
    unconditional, edit = torch.randn(2, 1, 4, 8, 8, generator=generator).unbind()
    one = torch.ones(1, 1)
    assert torch.equal(
        semantic_edit(unconditional, edit[None], one, scale=2.0, threshold=0.0), 2 * (edit - unconditional)
    )
    largest = semantic_edit(unconditional, edit[None], one, scale=2.0, threshold=1.0)
    assert (largest != 0).sum(dim=(2, 3)).tolist() == [[1, 1, 1, 1]]
