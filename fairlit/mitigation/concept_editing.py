"""UCE: the cross-attention's keys and values of some concepts, edited in closed form until their images are fair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces import FaceClassifier, FaceDetector
from fairlit.faces.observation import observe
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.model_editing.concept_editing import debiasing_step, edit_projection
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation.class_words import check_words, words_by_attribute
from fairlit.mitigation.face_editing.judge import FaceJudge
from fairlit.mitigation.method import Chunk, Method, Need, Sampler, SamplingPlan
from fairlit.mitigation.unchanged import one_prompt_sampler
from fairlit.terminal import tell

CONCEPT, WORD = "{concept}", "{word}"
MEASUREMENT = 0x554345  # sets the noise of measurements apart from that of the images that are asked for

EditedTokens = Literal["concept", "prompt"]
"""Which token embeddings of a concept are edited, see `UnifiedConceptEditing`."""


class UnifiedConceptEditing(Method):
    """Edits the model for a list of concepts (Gandikota et al., WACV 2024, arXiv 2308.14761).

    Every cross-attention key and value projection W gets the closed form of `functional.model_editing.concept_editing`:
    a concept c shall have the value W (c + sum_k s_k a_k), where a_k is the embedding of the word for class k, and
    preserved prompts shall keep theirs. The strengths s_k of each concept begin at 0. In each iteration images of all
    concepts are made with the edited model and classified, and s_k moves by step_size times what share k lacks, by half
    as much from each time on that it went too far; concepts within the tolerance stay. The strengths of the best
    measurement are kept. Of a target whose attributes depend on each other, only the shares of each attribute are aimed
    at. Prompts without one of the concepts are sampled with the edited model as well: nothing tells them apart.

    Args:
        classifier: measures the shares, a folder or YAML file, see `faces.load_classifier`.
        concepts: what is to be debiased, such as ``carpenter``; all are edited together.
        words: attribute -> class -> the word whose embedding stands for it; a class without one goes by its name.
        preserved: prompts whose keys and values are to stay, at every token.
        prompt_template: what images are measured for, with ``{concept}``.
        class_template: text whose last word stands for a class, with ``{word}``.
        tokens: edit every token of the prompt from the concept's last one to the end (``prompt``), since what comes
            later in a prompt has read the concept and speaks of it too, or the last token of the concept on its own
            (``concept``), as the authors' code for Stable Diffusion does.
        iterations: measurements at most; all but the first follow an edit.
        step_size: change of a strength for a share that is wrong by 1.
        images: of each concept in each measurement, with the same noise every time.
        tolerance: distance of a share from its target that is near enough.
        edit_scale: weight of the concepts in the closed form.
        preserve_scale: weight of the preserved prompts' tokens.
        ridge: weight of the old projection.
        min_face_size: smallest face side looked for, in pixels of the enlarged image.
        enlarge: factor by which images are enlarged before faces are looked for.
        seed: of the measurements' noise.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "UCE"
    needs: ClassVar[tuple[Need, ...]] = ("classifier", "words")

    def __init__(
        self,
        classifier: str,
        concepts: Sequence[str],
        words: dict[str, dict[str, str]] | None = None,
        preserved: Sequence[str] = (),
        prompt_template: str = "a photo of the face of a {concept}, a person",
        class_template: str = "{word}",
        tokens: EditedTokens = "prompt",
        iterations: int = 30,
        step_size: float = 1.0,
        images: int = 16,
        tolerance: float = 0.05,
        edit_scale: float = 1.0,
        preserve_scale: float = 1.0,
        ridge: float = 0.5,
        min_face_size: float = 20.0,
        enlarge: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.judge = FaceJudge(classifier, min_face_size, enlarge)
        self.concepts = list(concepts)
        self.words = words or {}
        self.preserved = list(preserved)
        self.prompt_template = prompt_template
        self.class_template = class_template
        self.tokens = tokens
        self.iterations = iterations
        self.step_size = step_size
        self.images = images
        self.tolerance = tolerance
        self.edit_scale = edit_scale
        self.preserve_scale = preserve_scale
        self.ridge = ridge
        self.seed = seed
        with Problems(self.name) as problems:
            self._check_settings(problems)

    def _check_settings(self, problems: Problems) -> None:
        self.judge.check_settings(problems)
        if not self.concepts or not all(concept.strip() for concept in self.concepts):
            problems.add(f"concepts: got {self.concepts}; name at least one, such as 'carpenter', and none empty")
        if len(set(self.concepts)) < len(self.concepts):
            problems.add("concepts: one stands twice; name each once")
        for name, template, placeholder in (
            ("prompt_template", self.prompt_template, CONCEPT),
            ("class_template", self.class_template, WORD),
        ):
            if placeholder not in template:
                problems.add(f"{name}: {template!r} lacks its placeholder {placeholder}; put it in")
        if self.tokens not in get_args(EditedTokens):
            problems.add(f"tokens: got {self.tokens!r}; choose one of {', '.join(get_args(EditedTokens))}")
        for name in ("iterations", "images"):
            problems.at_least(name, getattr(self, name), 1)
        for name in ("step_size", "ridge"):
            if not getattr(self, name) > 0:
                problems.add(f"{name}: got {getattr(self, name)}; give more than 0")
        for name in ("tolerance", "edit_scale", "preserve_scale", "seed"):
            problems.at_least(name, getattr(self, name), 0)

    def check(self, target: TargetDistribution, problems: Problems) -> None:
        """Notes words, and a classifier, that do not fit the target."""
        check_words(self.words, target, problems)
        self.judge.check(target, problems)

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> Iterator[Sampler]:
        """Edits the model towards `target` and takes the edit back; this is where the time goes."""
        with Problems(self.name) as problems:
            self.check(target, problems)
        sampler = one_prompt_sampler(backbone, plan)
        detector, classifier = self.judge.load(backbone.device)
        desired = torch.cat([target.marginal(attribute) for attribute in target.attributes])
        editor = self.editor(backbone, target)
        with editor.restoring():
            strengths = torch.zeros(len(self.concepts), len(desired), dtype=torch.float64)
            factors, before = torch.ones_like(strengths), torch.zeros_like(strengths)
            best, least = strengths, float("inf")
            for iteration in range(self.iterations):
                editor.edit(strengths)
                shares = self.measure(backbone, plan, sampler, target, detector, classifier)
                distance = _distance(shares, desired)
                tell(f"{self.name}: measurement {iteration + 1} of at most {self.iterations}, off by {distance:.3f}")
                if distance < least:
                    best, least = strengths, distance
                step = debiasing_step(shares, desired, self.step_size, self.tolerance)
                if not step.any():
                    break
                factors = torch.where(step * before < 0, factors / 2, factors)  # it went too far
                before = torch.where(step == 0, before, step)
                strengths = strengths + factors * step
            editor.edit(best)
            yield sampler

    def editor(self, backbone: Backbone, target: TargetDistribution) -> ProjectionEditor:
        """What edits this model for these concepts and the classes of `target`.

        Raises:
            ConfigurationError: the model has no cross-attention.
        """
        own = [self._concept_rows(backbone, concept) for concept in self.concepts]
        spoken = [word for words in words_by_attribute(self.words, target) for word in words]
        classes = [embed_tokens(backbone, self.class_template.replace(WORD, word))[-2] for word in spoken]
        kept = [embed_tokens(backbone, prompt) for prompt in self.preserved]
        return ProjectionEditor(
            cross_attention_projections(backbone.unet),
            own,
            torch.stack(classes),
            torch.cat(kept) if kept else own[0][:0],
            {"edit_scale": self.edit_scale, "preserve_scale": self.preserve_scale, "ridge": self.ridge},
        )

    def _concept_rows(self, backbone: Backbone, concept: str) -> Tensor:
        """The embeddings of a concept that are edited, float64 [T, D]."""
        if self.tokens == "concept":
            return embed_tokens(backbone, concept)[-2:-1]  # the last but the end of text
        before = self.prompt_template.split(CONCEPT)[0] + concept
        first = len(embed_tokens(backbone, before)) - 2
        return embed_tokens(backbone, self.prompt_template.replace(CONCEPT, concept))[first:]

    @torch.no_grad()
    def measure(
        self,
        backbone: Backbone,
        plan: SamplingPlan,
        sampler: Sampler,
        target: TargetDistribution,
        detector: FaceDetector,
        classifier: FaceClassifier,
    ) -> Tensor:
        """Perceived shares among the faces of each concept, for the model as it is now.

        Returns:
            float64 [C, number of classes of all attributes], in the order of the target; NaN where no image of a
            concept has a face.
        """
        rows = []
        like = next(backbone.unet.parameters())
        order = {
            name: [classifier.classes[name].index(entry) for entry in names] for name, names in target.classes.items()
        }
        for number, concept in enumerate(self.concepts):
            chunk = Chunk.whole(self.prompt_template.replace(CONCEPT, concept), self.images)
            keys = [(self.seed, MEASUREMENT, number, image) for image in range(self.images)]
            latents = sampler(chunk, keyed_noise(keys, backbone.latent_shape()).to(like))
            counts = torch.zeros(sum(map(len, order.values())), dtype=torch.float64)
            for part in latents.split(plan.batch_size):
                seen = observe(backbone.decode(part).float(), detector, classifier)
                found = [_counts(seen.probabilities[name])[columns] for name, columns in order.items()]
                counts += torch.cat(found)
            rows.append(counts * len(order) / counts.sum())
        return torch.stack(rows)


@dataclass
class ProjectionEditor:
    """Linear maps, the inputs that are edited in all of them, and the maps' weights as they were.

    Attributes:
        projections: K linear maps from D inputs.
        concepts: embeddings [T_c, D] of each of C concepts.
        classes: embeddings of classes [K, D].
        preserved: embeddings that keep their values [P, D].
        scales: see `functional.model_editing.concept_editing.edit_projection`.
        originals: the weights as they were.
    """

    projections: list[nn.Linear]
    concepts: list[Tensor]
    classes: Tensor
    preserved: Tensor
    scales: dict[str, float]

    originals: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.originals = [projection.weight.detach().clone() for projection in self.projections]

    @torch.no_grad()
    def edit(self, strengths: Tensor) -> None:
        """Edits the original weights, whatever has been edited before.

        Args:
            strengths: of each class's direction in each concept, float64 [C, K].
        """
        rows = torch.cat(self.concepts)
        places = torch.tensor([len(concept) for concept in self.concepts])
        shifts = (strengths.to(rows) @ self.classes).repeat_interleave(places.to(rows.device), dim=0)
        for projection, original in zip(self.projections, self.originals, strict=True):
            projection.weight.copy_(edit_projection(original, rows, shifts, self.preserved, **self.scales))

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Gives the maps their weights back after the block, bit for bit."""
        try:
            yield
        finally:
            with torch.no_grad():
                for projection, original in zip(self.projections, self.originals, strict=True):
                    projection.weight.copy_(original)


def cross_attention_projections(unet: nn.Module) -> list[nn.Linear]:
    """The key and value projections of all cross-attention layers of a denoiser.

    Raises:
        ConfigurationError: there are none.
    """
    layers = [module for module in unet.modules() if isinstance(module, Attention) and module.is_cross_attention]
    if not layers:
        raise ConfigurationError("model: its denoiser has no cross-attention to edit; UCE needs a Stable Diffusion")
    return [projection for layer in layers for projection in (layer.to_k, layer.to_v)]


@torch.no_grad()
def embed_tokens(backbone: Backbone, text: str) -> Tensor:
    """Embeddings of a text's tokens with the marks of beginning and end but without padding, float64 [T, D]."""
    limit = backbone.tokenizer.model_max_length
    count = len(backbone.tokenizer(text, truncation=True, max_length=limit).input_ids)
    return backbone.encode([text])[0, :count].double()


def _counts(probabilities: Tensor) -> Tensor:
    """How many rows of [F, K] are highest in each column, float64 [K] on the CPU."""
    return torch.bincount(probabilities.argmax(dim=-1).cpu(), minlength=probabilities.shape[-1]).double()


def _distance(shares: Tensor, desired: Tensor) -> float:
    """Mean over concepts of the largest distance of a share from its target; 1 for a concept without faces."""
    return float(torch.nan_to_num((shares - desired).abs(), nan=1.0).amax(dim=-1).mean())
