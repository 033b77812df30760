"""Fair Diffusion: semantic guidance towards one class and away from the others, drawn for each image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fairlit.data.prompts.class_words import check_words, words_by_attribute
from fairlit.diffusion import Backbone, Chain, check_guidance_scale
from fairlit.diffusion.chain import EncodedPrompts
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.guidance import classifier_free_guidance, semantic_edit, semantic_momentum
from fairlit.mitigation.class_words import dealt_classes, joint_labels
from fairlit.mitigation.method import Chunk, Method, Need, Sampler, SamplingPlan, Wording

WORD = "{word}"


class FairDiffusion(Method):
    """Guides each image towards the class that it is to show (Friedrich et al. 2023, arXiv 2302.10893).

    An edit prompt stands for every class of every attribute, such as "female person". The guidance of each image goes
    towards the edits of its own classes and away from the others, by SEGA (Brack et al. 2023). The classes are drawn
    such that the target's shares hold over the images of a prompt. The defaults are the paper's, for 50 solver steps.

    Args:
        words: attribute -> class -> what an edit prompt calls it; a class without a word goes by its name.
        edit_template: edit prompt with ``{word}`` in the place of the word.
        guidance_scale: of classifier-free guidance, in place of the plan's; null: the plan's.
        warmup: solver steps before the edits act; what comes first fixes the composition.
        scale: strength of the edits.
        threshold: share of the latent's elements that an edit leaves alone.
        momentum: share of former steps' edits that is added to each.
        momentum_beta: how slowly that memory changes.
        reverse: also guide away from the classes that an image is not to show, with a joint weight of 1 for each
            attribute.
        seed: of the choice of the images that show a class.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "Fair Diffusion"
    needs: ClassVar[tuple[Need, ...]] = ("words",)

    def __init__(
        self,
        words: dict[str, dict[str, str]] | None = None,
        edit_template: str = "{word} person",
        guidance_scale: float | None = 7.0,
        *,
        warmup: int = 5,
        scale: float = 4.0,
        threshold: float = 0.95,
        momentum: float = 0.5,
        momentum_beta: float = 0.6,
        reverse: bool = True,
        seed: int = 0,
    ) -> None:
        self.words = words or {}
        self.edit_template = edit_template
        self.guidance_scale = guidance_scale
        self.warmup, self.scale, self.threshold = warmup, scale, threshold
        self.momentum, self.momentum_beta = momentum, momentum_beta
        self.reverse = reverse
        self.seed = seed
        with Problems(self.name) as problems:
            if WORD not in edit_template:
                problems.add(f"edit_template: {edit_template!r} lacks its placeholder {WORD}; put it in")
            if guidance_scale is not None:
                check_guidance_scale(guidance_scale, problems)
            problems.at_least("seed", seed, 0)
            self.guidance.check(problems)

    @property
    def guidance(self) -> SemanticGuidance:
        """The settings of SEGA among those of the method."""
        return SemanticGuidance(self.warmup, self.scale, self.threshold, self.momentum, self.momentum_beta)

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note words that do not fit the target."""
        check_words(self.words, self.required(target), problems)

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the prompt and the edit prompts."""
        return [Wording(text=prompt), *(Wording(text=edit, needed=edit) for edit in self._edits(self.required(target)))]

    def _edits(self, target: TargetDistribution) -> list[str]:
        spoken = itertools.chain(*words_by_attribute(self.words, target))
        return [self.edit_template.replace(WORD, word) for word in spoken]

    def dealt_classes(self, chunk: Chunk, target: TargetDistribution | None) -> list[dict[str, str]]:
        """Return the classes that each image is guided towards.

        Args:
            chunk: images of one prompt.
            target: distribution whose shares hold over them.
        """
        return dealt_classes(chunk, self.required(target), self.seed)

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Writes an edit prompt for every class of the target."""
        target = self.required(target)
        with Problems(self.name) as problems:
            self.check(target, problems)
        chain = plan.chain(backbone, self.guidance_scale)
        edits = self._edits(target)
        weights = edit_weights(target, self.reverse)
        at_once = max(2 * plan.batch_size // (2 + len(edits)), 1)  # of the size of a guided batch of that many images

        @torch.no_grad()
        def sample(chunk: Chunk, noise: Tensor) -> Tensor:
            prompts = backbone.encode(["", chunk.prompt, *edits])
            own = weights[joint_labels(chunk, target, self.seed)].T.to(noise)
            parts = zip(noise.split(at_once), own.split(at_once, dim=1), strict=True)
            return torch.cat(
                [guided_rollout(chain, part, prompts, weights=w, guidance=self.guidance) for part, w in parts]
            )

        yield sample


@dataclass(frozen=True)
class SemanticGuidance:
    """The settings of SEGA; see `FairDiffusion`."""

    warmup: int
    scale: float
    threshold: float
    momentum: float
    momentum_beta: float

    def check(self, problems: Problems) -> None:
        """Notes settings out of range."""
        if self.warmup < 0:
            problems.add(f"warmup: got {self.warmup}; give a number of steps, 0 or more")
        problems.at_least("scale", self.scale, 0)
        if not 0 <= self.threshold <= 1:
            problems.add(f"threshold: got {self.threshold}; give a share from 0 to 1")
        problems.at_least("momentum", self.momentum, 0)
        if not 0 <= self.momentum_beta < 1:
            problems.add(f"momentum_beta: got {self.momentum_beta}; give 0 <= beta < 1")


def edit_weights(target: TargetDistribution, reverse: bool) -> Tensor:
    """The weight of each edit for an image of each joint class.

    Args:
        target: says which classes there are.
        reverse: whether the classes that an image is not to show weigh -1 together, for each attribute; else 0.

    Returns:
        float64 [number of joint classes, number of classes of all attributes], in the order of the target.
    """
    blocks = []
    labels = torch.unravel_index(torch.arange(target.table.numel()), target.table.shape)
    for label, names in zip(labels, target.classes.values(), strict=True):
        towards = torch.nn.functional.one_hot(label, len(names)).double()
        blocks.append(towards - (1 - towards) / (len(names) - 1) if reverse else towards)
    return torch.cat(blocks, dim=1)


@torch.no_grad()
def guided_rollout(
    chain: Chain, noise: Tensor, prompts: EncodedPrompts, *, weights: Tensor, guidance: SemanticGuidance
) -> Tensor:
    """Samples n images of one prompt with semantic guidance.

    SEGA is stated for predicted noise. For other models differences of outputs are turned into differences of noise
    and back, so that the momentum of steps of different noise levels adds up in one unit.

    Args:
        chain: the model, its solver and the scale of classifier-free guidance.
        noise: unit noise [n, C, h, w], or all that the solver draws, see `LinearSolver.draws`.
        prompts: tensors [2 + E, ...] of the empty prompt, the prompt and the edit prompts.
        weights: weights of the edits for each image [E, n], see `functional.sampling.guidance.semantic_edit`.
        guidance: settings.

    Returns:
        Final latents [n, C, h, w].
    """
    solver, count = chain.solver, len(noise)
    texts = 2 + len(weights)
    spread = {name: tensor.repeat_interleave(count, dim=0) for name, tensor in prompts.items()}
    outputs: list[Tensor] = []
    velocity = torch.zeros_like(solver.draws(noise)[0])
    for call in range(solver.num_evaluations):
        states = float(solver.input_scale[call]) * solver.state(call, noise, outputs)
        timesteps = solver.timesteps[call].to(noise.device).expand(texts * count)
        predicted = chain.denoise(states.repeat(texts, 1, 1, 1), timesteps, spread).to(noise)
        unconditional, conditional, *edits = predicted.chunk(texts)
        output = classifier_free_guidance(unconditional, conditional, chain.guidance_scale)
        in_noise = float(solver.noise_per_output[call])
        if in_noise != 0.0:  # else the noise is fixed, and edits have nothing to say about it
            edit = semantic_edit(
                in_noise * unconditional,
                in_noise * torch.stack(edits),
                weights,
                scale=guidance.scale,
                threshold=guidance.threshold,
            )
            added, velocity = semantic_momentum(edit, velocity, guidance.momentum, momentum_beta=guidance.momentum_beta)
            if call >= guidance.warmup:
                output = output + added / in_noise
        outputs.append(output)
    return solver.state(solver.num_evaluations, noise, outputs)
