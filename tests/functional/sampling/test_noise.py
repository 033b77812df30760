from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.noise import chain_noise, keyed_generator, keyed_noise

keys = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4).map(tuple)


@settings(max_examples=30, deadline=None)
@given(st.lists(keys, min_size=1, max_size=5))
def test_a_row_depends_on_its_key_alone(several: list[tuple[int, ...]]) -> None:
    together = keyed_noise(several, (4, 3, 3))
    assert together.dtype == torch.float32
    for row, key in zip(together, several, strict=True):
        assert torch.equal(row, keyed_noise([key], (4, 3, 3))[0])


@settings(max_examples=60, deadline=None)
@given(keys, keys)
def test_different_keys_have_different_noise(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    noise = keyed_noise([first, second], (16,))
    assert torch.equal(noise[0], noise[1]) == (first == second)


@pytest.mark.parametrize(
    ("first", "second"), [((1,), (1, 0)), ((0,), (0, 0)), ((2**32,), (0, 1)), ((2**32, 5), (0, 1 + 5 * 2**32))]
)
def test_keys_that_numpy_would_spell_alike_stay_apart(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    noise = keyed_noise([first, second], (16,))
    assert not torch.equal(noise[0], noise[1])


def test_noise_is_standard_normal_and_neighbours_are_independent() -> None:
    noise = keyed_noise([(0, step, image) for step in range(20) for image in range(20)], (64,)).double()
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    correlations = torch.corrcoef(noise)[~torch.eye(400, dtype=torch.bool)]
    assert float(correlations.abs().max()) < 0.65  # 80 000 pairs of 64 numbers: six standard deviations are 0.75
    assert abs(float(correlations.mean())) < 1e-2


def test_the_stream_is_the_one_that_saved_runs_were_made_with() -> None:
    expected = torch.tensor([1.093130111694336, 0.043415021151304245, -1.0998408794403076])
    assert torch.allclose(keyed_noise([(0, 0, 0)], (3,))[0], expected, rtol=0, atol=1e-6)


def test_no_keys_give_an_empty_tensor() -> None:
    assert keyed_noise([], (4, 8, 8)).shape == (0, 4, 8, 8)


@pytest.mark.parametrize("key", [(), (-1,), (0, 2**64)])
def test_a_key_out_of_range_is_refused(key: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="noise key"):
        keyed_noise([key], (2,))


def test_noise_of_a_chain_is_the_keyed_noise_and_what_the_generator_gives_draw_by_draw() -> None:
    keys, shape = [(0, 7), (0, 8)], (4, 3, 3)
    noise = chain_noise(keys, shape, 3)
    assert torch.equal(noise[:, 0], keyed_noise(keys, shape))
    assert torch.equal(chain_noise(keys, shape), keyed_noise(keys, shape))
    assert torch.equal(noise[1:], chain_noise(keys[1:], shape, 3))
    for row, key in zip(noise, keys, strict=True):
        generator = keyed_generator(key)
        assert torch.equal(row[1:], torch.stack([torch.randn(1, *shape, generator=generator)[0] for _ in range(3)]))
