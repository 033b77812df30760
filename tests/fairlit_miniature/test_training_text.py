from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from fairlit_miniature import world
from fairlit_miniature.loop import Schedule
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_diffusion import tokenize
from fairlit_miniature.training_text import (
    ATTRIBUTE_HEAD,
    SIZES,
    SUBJECTS,
    FactHeads,
    caption_facts,
    picture_facts,
    train_text_encoder,
)
from fairlit_miniature.world import Scene

GENDER = 3  # column, after subject, context and people


def test_facts_by_hand() -> None:
    subject = OCCUPATIONS[3]
    old = {"gender": "male", "skin_tone": "brown", "age": "old"}
    young = {"gender": "female", "skin_tone": "light", "age": "young"}
    scenes = [
        Scene("groups", subject, (old, young), {}, "", "", 0),
        Scene("style_and_context", subject, (young,), {}, "at night", "", 0),
    ]
    night = 1 + list(world.CONTEXTS).index("at night")
    assert SIZES[1:] == [1 + 4, 3, 2, 4, 2]
    assert picture_facts(scenes).tolist() == [[3, 0, 1, 1, 2, 1], [3, night, 0, 0, 0, 0]]
    assert len(set(SUBJECTS)) == SIZES[0]


def test_pictures_of_the_same_caption_share_their_facts() -> None:
    """Two pictures, both called "1"; the second one, "2", too: drawn with shares .36 and .27."""
    tokens = torch.tensor([[[1], [1]], [[1], [2]], [[3], [4]], [[0], [0]]])
    facts = torch.zeros(2, len(SIZES), dtype=torch.long)
    facts[1, GENDER] = 1
    shares = caption_facts(tokens, facts, SIZES)
    start = sum(SIZES[:GENDER])
    male = shares[:, :, start + 1]
    first = 0.36 / (0.36 + 0.36 + 0.27)
    expected = torch.tensor([[first, first], [first, 1.0], [0.0, 1.0], [0.5, 0.5]])
    torch.testing.assert_close(male, expected)
    for answers in shares.split(SIZES, dim=-1):
        torch.testing.assert_close(answers.sum(dim=-1), torch.ones(4, 2))


def test_heads_of_attributes_have_a_fixed_length() -> None:
    """So a state must go 1 / ATTRIBUTE_HEAD far to change a share from 0 to 1, however long the weights are."""
    heads = FactHeads().requires_grad_(False)
    heads.attributes.bias.zero_()
    heads.setting.weight.zero_()
    heads.setting.bias.zero_()
    heads.attributes.weight.zero_()[:, 0] = 100.0
    state = torch.zeros(1, heads.setting.in_features)
    state[0, 0] = 1 / ATTRIBUTE_HEAD
    shares = torch.ones(1, sum(SIZES))
    uniform = sum(size * torch.tensor(size).log() for size in SIZES[:3])  # cross-entropy against weights of one each
    assert heads.loss(state, shares) == pytest.approx(float(uniform), rel=1e-5)


def test_words_point_the_same_way_in_every_prompt(tmp_path: Path) -> None:
    """What the training is for: a word comes to move the end of every caption far, and all of them alike."""
    tokenizer = build_tokenizer()
    scenes = [world.sample_scene(0, index) for index in range(2000)]
    kinds = zip(*((*world.captions(scene), "") for scene in scenes), strict=True)
    tokens = torch.stack([tokenize(tokenizer, list(texts)) for texts in kinds])

    def state(gender: str) -> torch.Tensor:
        prompts = [world.caption("occupations", job, {"gender": gender}) for job in OCCUPATIONS]
        return encoder(tokenize(tokenizer, prompts)).last_hidden_state[:, -1]

    def alikeness() -> float:
        with torch.no_grad():
            difference = state("female") - state("male")
        return torch.nn.functional.cosine_similarity(difference, difference.mean(0, keepdim=True)).mean().item()

    found = []
    for steps in (1, 50):
        encoder = train_text_encoder(
            tokens,
            scenes,
            tokenizer,
            schedule=Schedule(steps=steps, lr=3e-3, warmup=10),
            checkpoint=tmp_path / f"{steps}.pt",
            seed=0,
            device="cpu",
            progress=Progress(disable=True),
        )
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        found.append((alikeness(), float((state("female") - state("male")).norm(dim=1).mean())))
    assert found[1][1] > 3 * found[0][1]
    assert found[1][0] > 0.8
