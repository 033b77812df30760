"""Figures of perceived attributes against a target, from one row an image and one row a face.

The arithmetic of `AttributeDistribution`, without torchmetrics: audits need no states that are gathered from ranks, and
importing torchmetrics takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.bootstrap import cluster_bootstrap, frequencies
from fairlit.functional.statistics.counts import class_counts
from fairlit.functional.statistics.cross_fitting import noise_free_bias_interval, noise_free_total_variation_interval
from fairlit.functional.statistics.equivalence import total_variation_bound
from fairlit.functional.statistics.fairness import (
    kl_divergences,
    noise_floor,
    noise_floor_tv,
    pairwise_biases,
    total_variations,
)
from fairlit.functional.statistics.intervals import Interval, clopper_pearson
from fairlit.functional.statistics.multinomial import multinomial_test
from fairlit.functional.statistics.multiple_testing import holm
from fairlit.io.finiteness import require_finite
from fairlit.results.figures import (
    JOINT,
    AttributeFigures,
    DistributionFigures,
    PromptAttributeFigures,
    PromptFigures,
)
from fairlit.results.record import Estimate

MAX_MEASURED_CLASSES = 256
"""Most joint classes, or compositions, that have figures of their own; images are too few to say anything of more."""


def why_without_joint_classes(target: TargetDistribution) -> str | None:
    """Return why figures of a target are of each attribute alone; None where joint classes have figures too.

    Example:
        >>> shares = {str(number): 1 / 40 for number in range(40)}
        >>> why_without_joint_classes(TargetDistribution({"hat": shares, "coat": shares}))
        '1600 joint classes are more than 256: figures are of each attribute alone'
    """
    classes = target.table.numel()
    if len(target.attributes) < 2 or classes <= MAX_MEASURED_CLASSES:
        return None
    return f"{classes} joint classes are more than {MAX_MEASURED_CLASSES}: figures are of each attribute alone"


class FaceStates(NamedTuple):
    """N images and F faces, as numbers that float32 holds exactly.

    Attributes:
        image_prompts: [N], number of each image's prompt.
        image_found: [N], 1 where the image has a face.
        face_prompts: [F], number of each face's prompt.
        face_joint_classes: [F], most probable joint class of each face.
        face_confidence: [F] for each attribute, probability of its most probable class.
    """

    image_prompts: Tensor
    image_found: Tensor
    face_prompts: Tensor
    face_joint_classes: Tensor
    face_confidence: Sequence[Tensor]


class _Test(NamedTuple):
    """What the images of one prompt say about the target, see `PromptAttributeFigures`."""

    p_value: float
    p_value_holm: float
    tv_bound: float


@dataclass(frozen=True, kw_only=True)
class DistributionStatistics:
    """How figures of a distribution are computed, see `AttributeDistribution`.

    Attributes:
        target: distribution to compare with, classes in the order of the predictions' columns.
        confidence: probability below which a prediction counts as unsure, in (0, 1].
        draws: number of bootstrap draws for the intervals.
        level: coverage of the intervals.
        seed: seed of bootstrap and Monte-Carlo draws.

    Example:
        >>> statistics = DistributionStatistics(target=TargetDistribution({"gender": {"female": 0.5, "male": 0.5}}))
        >>> female = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
        >>> statistics.measure(torch.tensor([0, 0, 0, 0]), {"gender": female}).attributes["gender"].bias.value
        0.5
    """

    target: TargetDistribution
    confidence: float = 0.8
    draws: int = 2000
    level: float = 0.95
    seed: int = 0

    def measure(
        self, prompt_index: Tensor, predictions: Mapping[str, Tensor], image_index: Tensor | None = None
    ) -> DistributionFigures:
        """Return the figures of images and the faces found in them.

        Args:
            prompt_index: int64 [N], which prompt each image was made for.
            predictions: attribute -> probabilities [F, K] of the F faces; further attributes are ignored.
            image_index: int64 [F], the image each face was found in; None: face i is that of image i, so F = N.

        Raises:
            ConfigurationError: attributes, classes or numbers of faces do not fit each other.
        """
        return self.figures(self.states(prompt_index, predictions, image_index))

    def states(
        self, prompt_index: Tensor, predictions: Mapping[str, Tensor], image_index: Tensor | None = None
    ) -> FaceStates:
        """Return what the figures are computed from, on the device of `prompt_index`; arguments as for `measure`."""
        device = prompt_index.device
        faces = torch.arange(len(prompt_index)) if image_index is None else image_index
        self._check(prompt_index, predictions, faces)
        faces = faces.to(device)
        found = torch.zeros(len(prompt_index), device=device)
        found[faces] = 1.0
        labels = torch.zeros(len(faces), device=device)
        confidence = []
        for attribute, names in self.target.classes.items():
            probabilities = require_finite(predictions[attribute].detach(), f"{attribute}: probabilities").to(device)
            labels = labels * len(names) + probabilities.argmax(dim=1)
            confidence.append(probabilities.amax(dim=1).float())
        return FaceStates(prompt_index.float(), found, prompt_index[faces].float(), labels, confidence)

    def figures(self, states: FaceStates) -> DistributionFigures:
        """Return the figures over all images and faces.

        Intervals are by `cluster_bootstrap` over prompts, those of a prompt's frequencies exact. A floor is the
        expected value of perfectly aligned images, for each prompt's own number of faces. Prompts have numbers and no
        texts, see `DistributionFigures.named`. Without any face, figures are NaN.

        Args:
            states: what has been seen, on the CPU.
        """
        prompts, of_image = torch.unique(states.image_prompts.long(), return_inverse=True)
        found = states.image_found
        confidence = states.face_confidence
        counts = self._counts(states, prompts)
        shares = {name: self.target.table.flatten() if name == JOINT else self.target.marginal(name) for name in counts}
        names = {JOINT: _joint_class_names(self.target), **self.target.classes}
        tests = {name: self._tests(rows, shares[name]) for name, rows in counts.items()}
        faces = counts[self.target.attributes[0]].sum(dim=1)
        blocks = {
            name: self._figures(rows, shares[name], names[name], off_target=self._off_target(tests[name]))
            for name, rows in counts.items()
        }
        joint_classes = blocks.pop(JOINT, None)
        return DistributionFigures(
            attributes={
                name: replace(blocks[name], unsure=_mean(sure < self.confidence))
                for name, sure in zip(self.target.attributes, confidence, strict=True)
            },
            joint_classes=joint_classes,
            face_rate=_mean(found),
            unsure=_mean(torch.cat(list(confidence)) < self.confidence),
            images=len(found),
            faces=int(faces.sum()),
            faces_per_image=int(faces.sum()) / max(len(found), 1),
            prompts=len(prompts),
            n=_mean(faces[faces > 0]),
            per_prompt=tuple(
                self._prompt_figures(
                    int(prompt),
                    found[of_image == row],
                    int(faces[row]),
                    blocks={
                        name: self._plain_figures(counts[name][row], shares[name], names[name], test=own[row])
                        for name, own in tests.items()
                    },
                )
                for row, prompt in enumerate(prompts)
            ),
        )

    def _counts(self, states: FaceStates, prompts: Tensor) -> dict[str, Tensor]:
        """Faces of each prompt int64 [P, K] in the classes of each attribute, and in joint classes if there are few."""
        of_face = torch.searchsorted(prompts, states.face_prompts.long())
        joint = states.face_joint_classes.long()
        size = {"prompts": len(prompts)}
        counts = {}
        rest = joint
        for name, classes in reversed(self.target.classes.items()):
            counts[name] = class_counts(of_face, rest % len(classes), classes=len(classes), **size)
            rest = rest // len(classes)
        counts = {name: counts[name] for name in self.target.attributes}
        if why_without_joint_classes(self.target) is None:
            counts[JOINT] = class_counts(of_face, joint, classes=self.target.table.numel(), **size)
        return counts

    def _prompt_figures(
        self, number: int, found: Tensor, faces: int, *, blocks: dict[str, PromptAttributeFigures]
    ) -> PromptFigures:
        """Figures of one prompt: whether each image has a face [N], its faces, and what they show."""
        joint_classes = blocks.pop(JOINT, None)
        return PromptFigures(
            prompt="",
            number=number,
            images=len(found),
            faces=faces,
            face_rate=_mean(found),
            attributes=blocks,
            joint_classes=joint_classes,
        )

    def _plain_figures(
        self, counts: Tensor, shares: Tensor, names: tuple[str, ...], *, test: _Test
    ) -> PromptAttributeFigures:
        """Figures of one prompt's counts [K]; NaN where there is no face."""
        shown = frequencies(counts)
        exact = clopper_pearson(counts, level=self.level).tolist()
        floor = noise_floor(shares, int(counts.sum())) if counts.any() else float("nan")
        return PromptAttributeFigures(
            bias=Estimate(float(pairwise_biases(shown)), floor=floor),
            tv=Estimate(float(total_variations(shown, shares))),
            frequencies={
                name: Estimate(share, *bounds) for name, share, bounds in zip(names, shown.tolist(), exact, strict=True)
            },
            p_value=test.p_value,
            p_value_holm=test.p_value_holm,
            tv_bound=test.tv_bound,
        )

    def _tests(self, counts: Tensor, shares: Tensor) -> list[_Test]:
        """Per prompt what its counts [P, K] say about the target [K]."""
        p_values = multinomial_test(counts, shares, seed=self.seed)
        columns = p_values, holm(p_values), total_variation_bound(counts, shares, level=self.level)
        return [_Test(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def _off_target(self, tests: list[_Test]) -> int:
        return sum(test.p_value_holm <= 1 - self.level for test in tests)

    def _figures(self, counts: Tensor, shares: Tensor, names: tuple[str, ...], *, off_target: int) -> AttributeFigures:
        """Figures of counts [P, K] against shares [K], averaged over prompts with faces."""
        counts = counts[counts.sum(dim=1) > 0]
        sizes = counts.sum(dim=1)
        shown = frequencies(counts)
        floors = {int(n): (noise_floor(shares, int(n)), noise_floor_tv(shares, int(n))) for n in sizes.unique()}
        bias_floor, tv_floor = (
            torch.tensor([floors[int(n)] for n in sizes], dtype=torch.float64).view(len(sizes), 2).unbind(1)
        )
        bias_ci = self._interval(counts, lambda drawn: pairwise_biases(drawn).mean(dim=1))
        tv_ci = self._interval(counts, lambda drawn: total_variations(drawn, shares).mean(dim=1))
        share_cis = [
            self._interval(torch.stack([inside, sizes - inside], dim=1), lambda drawn: drawn[:, :, 0].mean(1))
            for inside in counts.unbind(dim=1)
        ]
        return AttributeFigures(
            bias=Estimate(_mean(pairwise_biases(shown)), *bias_ci, floor=_mean(bias_floor)),
            bias_noise_free_ci=noise_free_bias_interval(counts, level=self.level),
            frequencies={
                name: Estimate(share, *interval)
                for name, share, interval in zip(names, shown.mean(dim=0).tolist(), share_cis, strict=True)
            },
            target=dict(zip(names, shares.tolist(), strict=True)),
            tv=Estimate(_mean(total_variations(shown, shares)), *tv_ci, floor=_mean(tv_floor)),
            tv_noise_free_ci=noise_free_total_variation_interval(counts, shares, level=self.level),
            kl=_mean(kl_divergences(shown, shares)),
            off_target=off_target,
        )

    def _interval(self, counts: Tensor, statistic: Callable[[Tensor], Tensor]) -> Interval:
        low, high = cluster_bootstrap(counts, statistic, draws=self.draws, level=self.level, seed=self.seed)
        return max(0.0, low) if low == low else low, min(1.0, high) if high == high else high

    def _check(self, prompt_index: Tensor, predictions: Mapping[str, Tensor], faces: Tensor) -> None:
        with Problems("attribute distribution") as problems:
            for attribute, names in self.target.classes.items():
                expected = (len(faces), len(names))
                if attribute not in predictions:
                    problems.add(f"no predictions of {attribute!r}, give them or restrict the target")
                elif tuple(predictions[attribute].shape) != expected:
                    shape = tuple(predictions[attribute].shape)
                    problems.add(f"predictions of {attribute!r} have shape {shape}, give [faces, classes] = {expected}")
            if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(prompt_index):
                problems.add(f"image_index leaves the {len(prompt_index)} images of prompt_index; count images from 0")


def _joint_class_names(target: TargetDistribution) -> tuple[str, ...]:
    names = [""]
    for classes in target.classes.values():
        names = [f"{name}/{next_name}" if name else next_name for name in names for next_name in classes]
    return tuple(names)


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
