"""Methods that change the text alone: attribute words, ethical intervention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from closeness import close
from torch import Tensor

from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import AttributeWords, Chunk, EthicalIntervention, SamplingPlan
from fairlit.mitigation.class_words import joint_labels

Run = Callable[..., Tensor]
PROMPT = "a photo of the face of a doctor"


def test_each_image_is_asked_for_by_its_class(run: Run, backbone: Backbone, target: TargetDistribution) -> None:
    """Image by image what the model makes of the prompt with the class's word in it."""
    method = AttributeWords(after="face of an?")
    latents = run(method)
    assert close(run(method, chunk=1, batch_size=1), latents)
    labels = joint_labels(Chunk.whole(PROMPT, 4), target, 0)
    assert sorted(labels.tolist()) == [0, 0, 1, 1]
    chain = SamplingPlan(steps=3, guidance_scale=2.0).chain(backbone)
    for image, label in enumerate(labels.tolist()):
        prompt = f"a photo of the face of a {('woman', 'man')[label]} doctor"
        noise = keyed_noise([(0, image)], backbone.latent_shape())
        with torch.no_grad():
            embeddings = backbone.encode(["", prompt])
            alone = rollout(chain, noise, Conditioning.of_one_prompt(embeddings, 1)).latents
        assert close(latents[image], alone[0])


def test_the_intervention_stands_behind_the_prompt(run: Run, backbone: Backbone) -> None:
    latents = run(EthicalIntervention(", a person of any {attributes}"))
    chain = SamplingPlan(steps=3, guidance_scale=2.0).chain(backbone)
    noise = keyed_noise([(0, image) for image in range(4)], backbone.latent_shape())
    with torch.no_grad():
        embeddings = backbone.encode(["", f"{PROMPT}, a person of any gender"])
        expected = rollout(chain, noise, Conditioning.of_one_prompt(embeddings, 4)).latents
    assert close(latents, expected)


def test_refuses_nonsense(run: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)3 problems.*seed.*placeholder \{words\}.*no regular expression"):
        AttributeWords(seed=-1, template="{prompt}", after="(")
    with pytest.raises(ConfigurationError, match="sentence: got ' '"):
        EthicalIntervention(" ")
    with pytest.raises(ConfigurationError, match="'hair' is no attribute of the target"):
        run(AttributeWords({"hair": {"red": "red-haired"}}))
