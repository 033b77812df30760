"""The versions of a model that are evaluated."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairlit.adaptors import AdaptorEMA, Lora
from fairlit.training.finetuning.variants import Variants


@pytest.fixture
def adaptor(tiny_pipeline: StableDiffusionPipeline) -> Lora:
    made = Lora(rank=2)
    made.attach(tiny_pipeline)
    return made


def test_the_last_is_the_average_where_there_is_one(adaptor: Lora) -> None:
    assert list(Variants(adaptor, None)) == ["original", "finetuned"]
    variants = Variants(adaptor, AdaptorEMA(adaptor.parameters()))
    assert (len(variants), variants[-1], variants[1:]) == (3, "ema", ["finetuned", "ema"])


def test_each_is_in_force_inside_its_block_alone(adaptor: Lora) -> None:
    ema = AdaptorEMA(adaptor.parameters(), decay=0.5)
    variants = Variants(adaptor, ema)
    [name, *_] = adaptor.parameters()
    start = adaptor.parameters()[name].detach().clone()
    with torch.no_grad():
        adaptor.parameters()[name].add_(1.0)
    with variants.applied("original"):
        assert not adaptor.enabled
    with variants.applied("finetuned"):
        assert adaptor.enabled
        assert torch.equal(adaptor.parameters()[name], start + 1.0)
    with variants.applied("ema"):  # not updated since it was made
        assert torch.equal(adaptor.parameters()[name], start)
    assert torch.equal(adaptor.parameters()[name], start + 1.0)
    assert adaptor.enabled


def test_a_version_of_ones_own(adaptor: Lora) -> None:
    class Halved(Variants):
        @property
        def names(self) -> list[str]:
            return [*super().names, "halved"]

    assert Halved(adaptor, None)[-1] == "halved"
