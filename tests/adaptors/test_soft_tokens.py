"""Soft tokens: names, ids, initial values, prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from fairlit.adaptors import Adaptor, AdaptorMetadata, SoftTokens
from fairlit.errors import CheckpointError, ConfigurationError

Open = Callable[[], StableDiffusionPipeline]


def test_rows_start_as_different_vocabulary_entries(open_pipeline: Open) -> None:
    table = open_pipeline().text_encoder.get_input_embeddings().weight
    starts = []
    for seed in (0, 1):
        adaptor = SoftTokens(count=5, seed=seed)
        adaptor.attach(open_pipeline())
        (rows,) = adaptor.parameters().values()
        matches = (rows[:, None] == table[None]).all(-1)
        assert matches.sum(1).tolist() == [1] * 5
        starts.append(tuple(matches.nonzero()[:, 1].tolist()))
        assert len(set(starts[-1])) == 5
    assert starts[0] != starts[1]


def test_rows_may_start_as_a_text(tiny_pipeline: StableDiffusionPipeline, open_pipeline: Open) -> None:
    """With "a photo" repeated over five tokens, a prompt has the states of "a photo a photo a" before it."""
    adaptor = SoftTokens(count=5, initial_text="a photo")
    adaptor.attach(tiny_pipeline)
    plain = open_pipeline()
    with torch.no_grad():
        ids = [tiny_pipeline.tokenizer(adaptor.adapt_prompt("nurse")).input_ids]
        words = [plain.tokenizer("a photo a photo a nurse").input_ids]
        states = tiny_pipeline.text_encoder(torch.tensor(ids))[0]
        assert torch.equal(states, plain.text_encoder(torch.tensor(words))[0])
    with pytest.raises(ConfigurationError, match="initial_text is ' '"):
        SoftTokens(initial_text=" ").attach(open_pipeline())


def test_gradient_reaches_the_rows_alone(tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = SoftTokens(count=3)
    adaptor.attach(tiny_pipeline)
    ids = torch.tensor([tiny_pipeline.tokenizer(adaptor.adapt_prompt("a nurse")).input_ids])
    tiny_pipeline.text_encoder(ids)[0].square().sum().backward()
    (rows,) = adaptor.parameters().values()
    assert (rows.grad.abs().sum(1) > 0).all()
    assert tiny_pipeline.text_encoder.get_input_embeddings().base.weight.grad is None


def test_prompts(tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = SoftTokens(count=3)
    assert adaptor.adapt_prompt("a nurse") == "<fairlit> <fairlit>_1 <fairlit>_2 a nurse"
    assert adaptor.pipeline_prompt("a nurse") == "<fairlit> a nurse"
    words = tiny_pipeline.tokenizer("a nurse").input_ids
    adaptor.attach(tiny_pipeline)
    tokenizer = tiny_pipeline.tokenizer
    size = tiny_pipeline.text_encoder.config.vocab_size
    expected = [words[0], size, size + 1, size + 2, *words[1:]]
    assert tokenizer(adaptor.adapt_prompt("a nurse")).input_ids == expected
    assert tiny_pipeline.maybe_convert_prompt(adaptor.pipeline_prompt("a nurse"), tokenizer) == adaptor.adapt_prompt(
        "a nurse"
    )


def test_too_long_a_prompt_is_cut_at_its_end_with_a_warning(tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = SoftTokens(count=5)
    adaptor.attach(tiny_pipeline)
    with pytest.warns(UserWarning, match=r"82 tokens, 5 more .* its end is cut off"):
        adapted = adaptor.adapt_prompt(" ".join(["photo"] * 75))
    ids = tiny_pipeline.tokenizer(adapted, truncation=True).input_ids
    assert len(ids) == 77
    assert ids[1] == tiny_pipeline.tokenizer.convert_tokens_to_ids("<fairlit>")


def test_file_is_what_diffusers_writes(
    tiny_pipeline: StableDiffusionPipeline, train: Callable[[Adaptor], None], tmp_path: Path
) -> None:
    adaptor = SoftTokens(count=4, token="<even>")
    adaptor.attach(tiny_pipeline)
    train(adaptor)
    (path,) = adaptor.save(tmp_path, tiny_pipeline, AdaptorMetadata())
    assert path.name == "learned_embeds.safetensors"
    (name,), (rows,) = load_file(path).keys(), load_file(path).values()
    assert name == "<even>"
    assert torch.equal(rows, adaptor.parameters()["<even>"])


def test_mismatches(open_pipeline: Open, tmp_path: Path) -> None:
    pipeline, adaptor = open_pipeline(), SoftTokens(count=4)
    adaptor.attach(pipeline)
    adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    for other, message in (
        (SoftTokens(count=5), r"tensor '<fairlit>' has shape \[4, 32\], the model needs \[5, 32\]"),
        (SoftTokens(count=4, token="<even>"), r"tensor '<even>' of shape \[4, 32\] is missing"),
    ):
        other.attach(open_pipeline())
        with pytest.raises(CheckpointError, match=message):
            other.load(tmp_path)


def test_files_with_the_former_default_token_load(open_pipeline: Open, tmp_path: Path) -> None:
    former, present = SoftTokens(count=2, token="<fair>", seed=1), SoftTokens(count=2)
    for adaptor in (former, present):
        pipeline = open_pipeline()
        adaptor.attach(pipeline)
        if adaptor is former:
            adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    present.load(tmp_path)
    assert torch.equal(present.parameters()["<fairlit>"], former.parameters()["<fair>"])


def test_bad_arguments(tiny_pipeline: StableDiffusionPipeline) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SoftTokens(count=0, token="Two Words")
    assert "count: got 0" in str(caught.value)
    assert "token is 'Two Words'" in str(caught.value)
    with pytest.raises(ConfigurationError, match="knows 'doctor</w>' already"):
        SoftTokens(token="doctor</w>").attach(tiny_pipeline)
    with pytest.raises(ConfigurationError, match="count is 1000, the vocabulary has only"):
        SoftTokens(count=1000).attach(tiny_pipeline)


@pytest.mark.parametrize(
    "token", ["__metadata__", "emb_params", "lora_a", "<\x1b[31m>", "<\udce9>", "a b", "<A>", "", "<" + "a" * 100]
)
def test_names_that_files_or_prompts_cannot_hold_are_refused(token: str) -> None:
    with pytest.raises(ConfigurationError, match="give a lower-case name without spaces"):
        SoftTokens(token=token)
