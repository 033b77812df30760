"""UCE: the cross-attention's keys and values of some concepts, edited in closed form until their images are fair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from fairlit.data.prompts.class_words import check_words, words_by_attribute
from fairlit.diffusion import Backbone
from fairlit.errors import Problems
from fairlit.faces.detection import FaceDetection, with_renamed_settings
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.class_paths import ClassSpec
from fairlit.mitigation.face_editing.judge import FaceJudge
from fairlit.mitigation.method import Method, Need, Sampler, SamplingPlan, Wording
from fairlit.mitigation.model_editing.projections import ProjectionEditor, cross_attention_projections, embed_tokens
from fairlit.mitigation.model_editing.share_measurement import ShareMeasurement
from fairlit.mitigation.model_editing.strength_search import StrengthSearch
from fairlit.mitigation.unchanged import one_prompt_sampler
from fairlit.terminal import tell

CONCEPT, WORD = "{concept}", "{word}"

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
        classifier: classifier that measures the shares, a folder, YAML file of words or class, see
            `faces.load_classifier`.
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
        seed: seed of the measurements' noise.
        detection: settings of face detection.
        detector: class of a detector of somebody's own, see `faces.load_detector`; null: MTCNN.
        min_face_size: deprecated; use detection.min_size.
        enlarge: deprecated; use detection.scale.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "UCE"
    needs: ClassVar[tuple[Need, ...]] = ("classifier", "words")
    former_arguments: ClassVar[tuple[str, ...]] = ("min_face_size", "enlarge")

    def __init__(
        self,
        classifier: ClassSpec,
        concepts: Sequence[str],
        *,
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
        seed: int = 0,
        detection: FaceDetection = FaceDetection(),
        detector: ClassSpec | None = None,
        min_face_size: float | None = None,
        enlarge: float | None = None,
    ) -> None:
        self.classifier = classifier
        self.detection = with_renamed_settings(detection, min_face_size=min_face_size, enlarge=enlarge)
        self.detector = detector
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

    @property
    def judge(self) -> FaceJudge:
        """Detector and classifier that lead the method."""
        return FaceJudge(classifier=self.classifier, detection=self.detection, detector=self.detector)

    def digests(self) -> dict[str, str]:
        """Return digests of classifier and detector."""
        return self.judge.digests()

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note words, and a classifier, that do not fit the target."""
        check_words(self.words, self.required(target), problems)
        self.judge.check(self.required(target), problems)

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the prompt and the texts that stand for concepts and classes."""
        spoken = [word for words in words_by_attribute(self.words, self.required(target)) for word in words]
        texts = [self.class_template.replace(WORD, word) for word in spoken]
        texts += [self.prompt_template.replace(CONCEPT, concept) for concept in self.concepts]
        return [Wording(text=prompt), *(Wording(text=text, needed=text) for text in texts)]

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Edit the model towards `target` and take the edit back; this is where the time goes."""
        target = self.required(target)
        with Problems(self.name) as problems:
            self.check(target, problems)
        sampler = one_prompt_sampler(backbone, plan)
        measure = self.measurement(backbone, plan, target)
        desired = torch.cat([target.marginal(attribute) for attribute in target.attributes])
        search = StrengthSearch(len(self.concepts), desired, step_size=self.step_size, tolerance=self.tolerance)
        editor = self.editor(backbone, target)
        with editor.restoring():
            for iteration in range(self.iterations):
                editor.edit(search.strengths)
                search.observe(measure(sampler))
                tell(
                    f"{self.name}: measurement {iteration + 1} of at most {self.iterations}, "
                    f"off by {search.distance:.3f}"
                )
                if search.settled:
                    break
            editor.edit(search.best)
            yield sampler

    def measurement(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution) -> ShareMeasurement:
        """Return what measures the shares of the concepts in this model's images.

        Args:
            backbone: loaded model.
            plan: how to sample.
            target: attributes and classes to measure.
        """
        detector, classifier = self.judge.load(backbone.device, target)
        return ShareMeasurement(
            backbone=backbone,
            detector=detector,
            classifier=classifier,
            target=target,
            prompts=[self.prompt_template.replace(CONCEPT, concept) for concept in self.concepts],
            images=self.images,
            seed=self.seed,
            batch_size=plan.batch_size,
            fresh=plan.chain(backbone).solver.num_fresh,
        )

    def editor(self, backbone: Backbone, target: TargetDistribution) -> ProjectionEditor:
        """Return what edits this model for these concepts and the classes of a target.

        Args:
            backbone: loaded model.
            target: attributes and classes to edit.

        Raises:
            ConfigurationError: the model has no cross-attention.
        """
        own = [self._concept_rows(backbone, concept) for concept in self.concepts]
        spoken = [word for words in words_by_attribute(self.words, target) for word in words]
        classes = [embed_tokens(backbone, self.class_template.replace(WORD, word))[-2] for word in spoken]
        kept = [embed_tokens(backbone, prompt) for prompt in self.preserved]
        return ProjectionEditor(
            projections=cross_attention_projections(backbone.unet),
            concepts=own,
            classes=torch.stack(classes),
            preserved=torch.cat(kept) if kept else own[0][:0],
            edit_scale=self.edit_scale,
            preserve_scale=self.preserve_scale,
            ridge=self.ridge,
        )

    def _concept_rows(self, backbone: Backbone, concept: str) -> Tensor:
        """The embeddings of a concept that are edited, float64 [T, D]."""
        if self.tokens == "concept":
            return embed_tokens(backbone, concept)[-2:-1]  # the last but the end of text
        before = self.prompt_template.split(CONCEPT)[0] + concept
        first = len(embed_tokens(backbone, before)) - 2
        return embed_tokens(backbone, self.prompt_template.replace(CONCEPT, concept))[first:]
