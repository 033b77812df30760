"""Contrasts: the directions they find, and where LoRA puts them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from fairlit.adaptors import Lora
from fairlit.adaptors.contrasts import Contrast, contrast_directions
from fairlit.errors import ConfigurationError

Open = Callable[[], StableDiffusionPipeline]
GENDER = Contrast(["female", "male"], ["a photo of the face of a {word} doctor"])
TONE = Contrast(["light", "tan", "brown", "dark"], ["a photo of a {word} doctor", "the face of a {word} nurse"])
WORDS, TEMPLATES = [GENDER.words, TONE.words], GENDER.templates


def states_from(pipeline: StableDiffusionPipeline, prompt: str, start: str) -> list[Tensor]:
    """Hidden states [tokens, D] after every layer and at the end, from the first token after `start` on."""
    ids = pipeline.tokenizer(prompt, return_tensors="pt").input_ids
    first = len(pipeline.tokenizer(start).input_ids) - 1  # without the end token
    with torch.no_grad():
        output = pipeline.text_encoder(ids, output_hidden_states=True)
    return [states[0, first:] for states in (*output.hidden_states, output.last_hidden_state)]


def test_two_words_span_their_difference(tiny_pipeline: StableDiffusionPipeline) -> None:
    """By hand: the normalised hidden states in front of a layer, and those behind the last one."""
    encoder = tiny_pipeline.text_encoder
    layer = encoder.get_submodule("encoder.layers.1" if hasattr(encoder, "encoder") else "text_model.encoder.layers.1")
    found = contrast_directions(GENDER, tiny_pipeline, {"queries": layer.self_attn.q_proj}, after=["keys"])
    female, male = (
        states_from(tiny_pipeline, f"a photo of the face of a {word} doctor", "a photo of the face of a")
        for word in GENDER.words
    )
    with torch.no_grad():
        inputs = (layer.layer_norm1(female[1]).mean(dim=0) - layer.layer_norm1(male[1]).mean(dim=0)).numpy()
    behind = (female[-1].mean(dim=0) - male[-1].mean(dim=0)).numpy()
    for direction, difference in ((found["queries"], inputs), (found["keys"], behind)):
        assert direction.shape == (1, len(difference))
        assert abs(float(direction[0].norm()) - 1) < 1e-5
        cosine = float(direction[0] @ torch.from_numpy(difference)) / float((difference**2).sum()) ** 0.5
        assert abs(abs(cosine) - 1) < 1e-5


def test_four_words_span_every_difference_between_them(tiny_pipeline: StableDiffusionPipeline) -> None:
    (directions,) = contrast_directions(TONE, tiny_pipeline, {}, after=["keys"]).values()
    assert torch.allclose(directions @ directions.T, torch.eye(3), atol=1e-5)
    means = []
    for word in TONE.words:
        prompts = (f"a photo of a {word} doctor", "a photo of a"), (f"the face of a {word} nurse", "the face of a")
        means.append(sum(states_from(tiny_pipeline, *prompt)[-1].mean(dim=0) for prompt in prompts))
    for mean in means[1:]:
        difference = mean - means[0]
        inside = directions.T @ (directions @ difference)
        assert (inside - difference).norm() < 1e-4 * difference.norm()


@pytest.mark.parametrize("contrast", [GENDER, TONE], ids=["two words", "four words"])
def test_centred_directions_read_nothing_at_the_point_of_balance(
    tiny_pipeline: StableDiffusionPipeline, contrast: Contrast
) -> None:
    """What they read of a word is its distance from there, and they go on telling the words apart."""
    means = []
    for word in contrast.words:
        prompts = [(text.replace("{word}", word), text.split(" {word}")[0]) for text in contrast.templates]
        means.append(sum(states_from(tiny_pipeline, *prompt)[-1].mean(dim=0) for prompt in prompts))
    words = torch.stack(means)  # type: ignore[arg-type]
    balance = words.mean(dim=0)
    plain, centred = (
        contrast_directions(contrast, tiny_pipeline, {}, after=["keys"], centred=flag)["keys"] for flag in (False, True)
    )
    assert torch.allclose(centred @ centred.T, torch.eye(contrast.rank), atol=1e-5)
    assert (plain @ balance).abs().max() > 1e-3 * balance.norm()
    assert (centred @ balance).abs().max() < 1e-5 * balance.norm()
    assert torch.allclose(words @ centred.T, (words - balance) @ centred.T, atol=1e-4)
    assert torch.linalg.matrix_rank((words - balance) @ centred.T, rtol=1e-3) == contrast.rank


def test_words_of_a_group_stand_for_a_class_together(tiny_pipeline: StableDiffusionPipeline) -> None:
    """By hand: the difference between the means of the groups."""
    groups = [["nurse", "secretary"], ["pilot", "plumber", "farmer"]]
    contrast = Contrast(groups, ["a photo of a {word}"])
    assert contrast.rank == 1
    (direction,) = contrast_directions(contrast, tiny_pipeline, {}, after=["keys"])["keys"]
    first, second = (
        sum(states_from(tiny_pipeline, f"a photo of a {word}", "a photo of a")[-1].mean(dim=0) for word in group)
        / len(group)
        for group in groups
    )
    difference = first - second
    assert abs(abs(float(direction @ difference)) / float(difference.norm()) - 1) < 1e-5


@pytest.mark.parametrize("centred", [False, True])
def test_directions_without_others_read_nothing_of_them(tiny_pipeline: StableDiffusionPipeline, centred: bool) -> None:
    lean = Contrast([["nurse", "secretary"], ["pilot", "plumber"]], ["a photo of a {word}"])

    def directions(*without: Contrast) -> Tensor:
        return contrast_directions(lean, tiny_pipeline, {}, after=["keys"], centred=centred, without=without)["keys"]

    words = contrast_directions(GENDER, tiny_pipeline, {}, after=["keys"])["keys"]
    tones = contrast_directions(TONE, tiny_pipeline, {}, after=["keys"])["keys"]
    plain, apart = directions(), directions(GENDER, TONE)
    assert torch.allclose(apart.norm(dim=1), torch.ones(1), atol=1e-5)
    assert (plain @ torch.cat([words, tones]).T).abs().max() > 1e-2
    assert (apart @ torch.cat([words, tones]).T).abs().max() < 1e-4
    assert torch.equal(directions(), plain)


def test_lora_takes_groups_and_what_they_are_without(
    tiny_pipeline: StableDiffusionPipeline, open_pipeline: Open
) -> None:
    groups, named = [["nurse", "secretary"], ["pilot", "plumber"]], [["female doctor"], ["male doctor"]]
    template = ["a photo of a {word}"]
    adaptor = Lora(rank=2, unet=True, contrasts=[groups], contrast_templates=template, contrast_without=[named])
    own = open_pipeline()
    expected = contrast_directions(
        Contrast(groups, template), own, {}, after=["keys"], without=[Contrast(named, template)]
    )["keys"]
    adaptor.attach(tiny_pipeline)
    keys = next(value for name, value in adaptor.parameters().items() if "attn2.to_k.lora_A" in name)
    assert torch.allclose(keys[:1], 4 / 3**0.5 * expected, atol=1e-5)
    assert adaptor.settings()["contrasts"] == [groups]
    assert adaptor.settings()["contrast_without"] == [named]
    assert adaptor.twin(own).settings() == adaptor.settings()
    with pytest.raises(ConfigurationError, match="contrast_without: got words without contrasts"):
        Lora(contrast_without=[named])
    with pytest.raises(ConfigurationError, match="give at least two, each once"):
        Lora(rank=2, contrasts=[[["nurse"], []]], contrast_templates=template)


def test_rows_of_lora_lie_along_the_contrasts(tiny_pipeline: StableDiffusionPipeline, open_pipeline: Open) -> None:
    plain = Lora(rank=5, unet=True)
    along = Lora(rank=5, unet=True, contrasts=WORDS, contrast_templates=TEMPLATES, contrast_gain=3.0)
    plain.attach(open_pipeline())
    along.attach(tiny_pipeline)
    touched = 0
    for name, parameter in along.parameters().items():
        usual = plain.parameters()[name]
        if ".lora_A." in name and (name.startswith("text_encoder") or "attn2.to_k" in name or "attn2.to_v" in name):
            touched += 1
            assert torch.allclose(parameter[:4].norm(dim=1), torch.full((4,), 3 / 3**0.5), atol=1e-4)
            assert torch.equal(parameter[4:], usual[4:])
        else:
            assert torch.equal(parameter, usual)
    assert touched > 6
    own = open_pipeline()
    expected = contrast_directions(GENDER, own, {}, after=["keys"])["keys"]
    keys = next(value for name, value in along.parameters().items() if "attn2.to_k.lora_A" in name)
    assert torch.allclose(keys[:1], 3 / 3**0.5 * expected, atol=1e-5)
    centred = Lora(rank=5, unet=True, contrasts=WORDS, contrast_templates=TEMPLATES, contrast_centred=True)
    own = open_pipeline()
    expected = contrast_directions(GENDER, own, {}, after=["keys"], centred=True)["keys"]
    centred.attach(own)
    keys = next(value for name, value in centred.parameters().items() if "attn2.to_k.lora_A" in name)
    assert torch.allclose(keys[:1], 4 / 3**0.5 * expected, atol=1e-5)
    assert centred.settings()["contrast_centred"] is True
    assert "contrast_centred" not in along.settings()


def test_with_contrasts_lora_still_starts_as_the_identity(
    tiny_pipeline: StableDiffusionPipeline, generate: Callable[..., Tensor], open_pipeline: Open
) -> None:
    original = generate(open_pipeline())
    Lora(rank=4, contrasts=WORDS, contrast_templates=TEMPLATES).attach(tiny_pipeline)
    assert torch.equal(generate(tiny_pipeline), original)


def test_a_twin_has_the_contrasts(tiny_pipeline: StableDiffusionPipeline, open_pipeline: Open) -> None:
    adaptor = Lora(rank=4, contrasts=WORDS, contrast_templates=TEMPLATES, contrast_gain=2.0)
    adaptor.attach(tiny_pipeline)
    twin = adaptor.twin(open_pipeline())
    assert twin.settings() == adaptor.settings()
    assert adaptor.settings()["contrasts"] == WORDS
    assert adaptor.settings()["contrast_templates"] == TEMPLATES


def test_bad_contrasts_are_refused_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Lora(
            rank=1,
            contrasts=[["one"], ["a", "b", "a"], GENDER.words],
            contrast_templates=["no place", "a {word}"],
            contrast_gain=0.0,
        )
    message = str(caught.value)
    for part in (
        "words are ['one']",
        "words are ['a', 'b', 'a']",
        "contrast_templates: 'no place' lacks its placeholder {word}",
        "rank is 1, but the contrasts span 3 directions",
        "contrast_gain is 0.0",
    ):
        assert part in message
    assert "'a {word}'" not in message


def test_contrasts_without_templates_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="contrast_templates: there are contrasts but no templates"):
        Lora(contrasts=[GENDER.words])
    with pytest.raises(ConfigurationError, match="contrast_centred: got true without contrasts"):
        Lora(contrast_centred=True)


def test_words_that_the_tokenizer_confuses_are_refused(tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = Lora(rank=4, contrasts=[["Male", "male"]], contrast_templates=["a {word} doctor"])
    with pytest.raises(ConfigurationError, match="'Male' and 'male' are the same to the tokenizer"):
        adaptor.attach(tiny_pipeline)
