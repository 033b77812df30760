from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress
from torch import Tensor, nn

from fairlit_miniature.augment import jitter
from fairlit_miniature.dataset import draw
from fairlit_miniature.loop import Schedule, step_generator, train
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_diffusion import (
    CAPTION_SHARES,
    draw_captions,
    head_weights,
    loss_weights,
    sample_timesteps,
    tokenize,
)
from fairlit_miniature.training_encoders import contrastive_loss
from fairlit_miniature.training_vae import FACE_WEIGHT, face_weights, reconstruction_loss
from fairlit_miniature.world import captions, sample_scene

SCHEDULE = Schedule(steps=9, lr=0.05, warmup=2, ema_decay=0.5, save_every=4)


class KilledError(Exception):
    pass


def regression(checkpoint: Path, die_at: int | None = None) -> Tensor:
    """Fits a line to noise; dies in the middle if told to."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        if step == die_at:
            raise KilledError
        x = torch.randn(8, 3, generator=generator)
        return (model(x) - x.sum(dim=1, keepdim=True)).square().mean()

    train("line", model, loss_of_step, SCHEDULE, checkpoint, seed=5, progress=Progress(disable=True))
    return model.weight.detach()


def test_a_killed_training_ends_bitwise_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = regression(tmp_path / "a.pt")
    with pytest.raises(KilledError):
        regression(tmp_path / "b.pt", die_at=6)
    assert torch.load(tmp_path / "b.pt", weights_only=True)["step"] == 4
    assert torch.equal(regression(tmp_path / "b.pt"), unbroken)


def test_average_of_weights_is_what_is_delivered(tmp_path: Path) -> None:
    delivered = regression(tmp_path / "a.pt")
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    assert torch.equal(state["averages"]["weight"], delivered)
    assert not torch.equal(state["module"]["weight"], delivered)


def test_learning_rate_rises_and_falls() -> None:
    schedule = Schedule(steps=100, lr=1.0, warmup=10)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert all(a >= b for a, b in pairwise(factors[10:]))
    assert factors[-1] == pytest.approx(0.02, abs=0.002)


def test_steps_have_their_own_random_numbers() -> None:
    def first(seed: int, step: int) -> float:
        return torch.rand((), generator=step_generator(seed, step)).item()

    assert first(0, 1) == first(0, 1)
    assert len({first(0, 0), first(0, 1), first(1, 0)}) == 3


def test_drawings_are_read_back(tmp_path: Path) -> None:
    file, progress = tmp_path / "drawings.npz", Progress(disable=True)
    first = draw("drawings", lambda index: sample_scene(0, index), 6, file, progress)
    second = draw("drawings", lambda index: sample_scene(0, index), 6, file, progress)
    assert torch.equal(first.pixels, second.pixels)
    assert first.scenes == second.scenes
    people = [len(scene.people) for scene in first.scenes]
    assert (~first.boxes.isnan().any(dim=-1)).sum(dim=1).tolist() == people
    images = first.images(slice(2, 4))
    assert images.shape == (2, 3, 64, 64)
    assert 0 <= images.min() < images.max() <= 1


def test_face_weights_by_hand() -> None:
    boxes = torch.tensor([[[2.0, 1.0, 6.0, 3.0], [np.nan] * 4]])
    weights = face_weights(boxes, 8, 8)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[1:3, 2:6] = True  # pixel centres at 1.5, 2.5 and 2.5 .. 5.5
    mean = (8 * FACE_WEIGHT + 56) / 64
    expected = torch.where(inside, FACE_WEIGHT / mean, 1 / mean)
    torch.testing.assert_close(weights[0, 0], expected)


def test_reconstruction_loss_by_hand() -> None:
    target = torch.zeros(1, 3, 2, 2)
    output = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).expand(1, 3, 2, 2)
    flat = torch.ones(1, 1, 2, 2)
    # a quarter of the pixels is off by 1; half of the horizontal and half of the vertical differences are
    assert reconstruction_loss(output, target, flat) == pytest.approx(0.25 + 0.5 * 0.5 + 0.5 * 0.5)
    assert reconstruction_loss(target, target, flat) == 0


def test_loss_weights_weigh_the_clean_latents_alike() -> None:
    """The error of x_0 counts min(SNR + 1, 6)."""
    snr = torch.tensor([999.0, 5.0, 1.0, 1 / 3, 1 / 99])
    cumulative = snr / (1 + snr)
    wanted = torch.tensor([6.0, 6.0, 2.0, 4 / 3, 100 / 99])
    # the error of v is sqrt(SNR + 1) times that of x_0
    torch.testing.assert_close(loss_weights(cumulative) * (snr + 1), wanted, rtol=1e-3, atol=0)


def test_heads_weigh_more_than_the_rest() -> None:
    boxes = torch.tensor([[[25.0, 21.0, 45.0, 49.0], [np.nan] * 4]])
    weights = head_weights(boxes)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[4:14, 5:13] = True  # 20 wide, so 6 more on each side: columns 19 .. 51, rows 15 .. 55, 4 pixels a latent
    assert torch.equal(weights[0, 0] > 1, inside)
    assert weights.mean() == pytest.approx(1.0)
    assert weights.max() / weights.min() == pytest.approx(FACE_WEIGHT)


def test_timesteps_favour_noise() -> None:
    drawn = torch.cat([sample_timesteps(32, 1000, step_generator(0, step)) for step in range(500)])
    shares = torch.histc(drawn.float(), bins=4, min=0, max=1000) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.125, 0.125, 0.125, 0.625]), atol=1e-3, rtol=0)
    assert drawn.min() == 0
    assert drawn.max() == 999


def test_captions_are_drawn_dropped_and_cut() -> None:
    tokenizer = build_tokenizer()
    texts = [(*captions(sample_scene(0, index)), "") for index in range(400)]
    tokens = torch.stack([tokenize(tokenizer, list(kind)) for kind in zip(*texts, strict=True)])
    lengths, dropped, own = set(), 0, 0
    for step in range(40):
        index = torch.arange(400)
        batch, kinds = draw_captions(tokens, index, step_generator(0, step))
        assert torch.equal(batch, tokens[kinds, index, : batch.shape[1]])
        lengths.add(batch.shape[1])
        dropped += int((batch[:, 1] == tokenizer.eos_token_id).sum())
        own += int((kinds == 0).sum())
        assert (batch == tokenizer.eos_token_id).any(dim=1).all(), "every caption keeps its end token"
    assert dropped / (40 * 400) == pytest.approx(CAPTION_SHARES[3], abs=0.015)
    assert own / (40 * 400) == pytest.approx(CAPTION_SHARES[0], abs=0.015)
    assert tokenizer.model_max_length in lengths
    assert min(lengths) < tokenizer.model_max_length
    with pytest.raises(ValueError, match="tokens"):
        tokenize(tokenizer, ["a photo " * 40])


def test_contrastive_loss() -> None:
    assert contrastive_loss(torch.zeros(4, 4), torch.eye(4, dtype=torch.bool)) == pytest.approx(np.log(4))
    assert contrastive_loss(50 * torch.eye(4), torch.eye(4, dtype=torch.bool)) < 1e-6
    pairs = torch.tensor([[1, 1], [1, 1]], dtype=torch.bool)
    assert contrastive_loss(torch.zeros(2, 2), pairs) == pytest.approx(np.log(2)), "both columns are right"


def test_jitter_keeps_shape_and_range_and_is_repeatable() -> None:
    images = torch.rand(6, 3, 32, 32)
    first, second = jitter(images, step_generator(0, 0)), jitter(images, step_generator(0, 0))
    assert first.shape == images.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, second)
    assert not torch.equal(first, jitter(images, step_generator(0, 1)))
