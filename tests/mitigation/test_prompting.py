"""Methods that change the text alone: attribute words, ethical intervention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from closeness import close
from torch import Tensor

from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.diffusion.text_length import open_tokenizer
from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import AttributeWords, Chunk, EthicalIntervention, FairDiffusion, NoMitigation, SamplingPlan
from fairlit.mitigation.class_words import joint_labels
from fairlit.mitigation.method import check_wordings

Run = Callable[..., Tensor]
PROMPT = "a photo of the face of a doctor"


def test_each_image_is_asked_for_by_its_class(run: Run, backbone: Backbone, target: TargetDistribution) -> None:
    """Image by image what the model makes of the prompt with the class's word in it."""
    method = AttributeWords(after="face of an?")
    latents = run(method)
    assert close(run(method, chunk=1, batch_size=1), latents)
    labels = joint_labels(Chunk.whole(PROMPT, 4), target, 0)
    assert sorted(labels.tolist()) == [0, 0, 1, 1]
    dealt = method.dealt_classes(Chunk.whole(PROMPT, 4), target)
    assert dealt == [{"gender": ("woman", "man")[label]} for label in labels]
    chain = SamplingPlan(steps=3, guidance_scale=2.0).chain(backbone)
    for image, label in enumerate(labels.tolist()):
        prompt = f"a photo of the face of a {('woman', 'man')[label]} doctor"
        noise = keyed_noise([(0, image)], backbone.latent_shape())
        with torch.no_grad():
            prompts = backbone.encode(["", prompt])
            alone = rollout(chain, noise, Conditioning.of_one_prompt(prompts, 1)).latents
        assert close(latents[image], alone[0])


def test_the_intervention_stands_behind_the_prompt(run: Run, backbone: Backbone) -> None:
    latents = run(EthicalIntervention(", a person of any {attributes}"))
    chain = SamplingPlan(steps=3, guidance_scale=2.0).chain(backbone)
    noise = keyed_noise([(0, image) for image in range(4)], backbone.latent_shape())
    with torch.no_grad():
        prompts = backbone.encode(["", f"{PROMPT}, a person of any gender"])
        expected = rollout(chain, noise, Conditioning.of_one_prompt(prompts, 4)).latents
    assert close(latents, expected)


def test_refuses_nonsense(run: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)3 problems.*seed.*placeholder \{words\}.*no regular expression"):
        AttributeWords(seed=-1, template="{prompt}", after="(")
    with pytest.raises(ConfigurationError, match="sentence: got ' '"):
        EthicalIntervention(" ")
    with pytest.raises(ConfigurationError, match="'hair' is no attribute of the target"):
        run(AttributeWords({"hair": {"red": "red-haired"}}))


LONG = PROMPT + " a" * 67  # 8 + 67 tokens fill what the text encoder reads, but for the marks of both ends


def test_words_behind_the_cut_are_refused(run: Run, tiny_pipeline_folder: Path, target: TargetDistribution) -> None:
    """Behind the cut they change nothing, to the last bit."""
    plain = run(NoMitigation(), prompt=LONG)
    tokenizer = open_tokenizer(tiny_pipeline_folder)
    assert tokenizer is not None
    for method, cut in (
        (EthicalIntervention(" a person"), 2),
        (AttributeWords(template="{prompt} {words}"), 1),
        (FairDiffusion(edit_template="{word} person" + " a" * 74), 1),
    ):
        if not isinstance(method, FairDiffusion):
            assert torch.equal(run(method, prompt=LONG), plain)
        problems = Problems("generate")
        check_wordings(method, {"a doctor": target, LONG: target}, tokenizer, problems)
        assert len(problems.messages) == 1
        assert f"{method.name!r} are {cut} tokens beyond what the text encoder reads" in problems.messages[0]


def test_words_in_front_of_the_cut_act(run: Run, tiny_pipeline_folder: Path, target: TargetDistribution) -> None:
    tokenizer = open_tokenizer(tiny_pipeline_folder)
    assert tokenizer is not None
    method = AttributeWords(after="face of an?")
    check_wordings(method, {LONG: target}, tokenizer, problems := Problems("generate"))
    assert problems.messages == []
    assert not torch.equal(run(method, prompt=LONG), run(NoMitigation(), prompt=LONG))
    assert {wording.needed for wording in method.wordings(LONG, target)} == {
        "a photo of the face of a woman",
        "a photo of the face of a man",
    }
    short = EthicalIntervention(" a person")
    check_wordings(short, {LONG.removesuffix(" a a"): target}, tokenizer, problems)
    assert problems.messages == []
