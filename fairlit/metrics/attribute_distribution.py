"""Perceived attributes of generated faces against a target, per prompt and on average."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.bootstrap import cluster_bootstrap, frequencies
from fairlit.functional.statistics.counts import marginal_counts
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
from fairlit.metrics.states import RecordMetric, joined
from fairlit.results.figures import AttributeFigures, DistributionFigures, PromptAttributeFigures, PromptFigures
from fairlit.results.record import Estimate


class _Test(NamedTuple):
    """What the images of one prompt say about the target, see `PromptAttributeFigures`."""

    p_value: float
    p_value_holm: float
    tv_bound: float


class AttributeDistribution(RecordMetric):
    """Frequencies of arg-max classes, with bias, distances to the target, intervals and noise floors.

    As in Shen et al. (ICLR 2024, arXiv 2311.07604, section 5), figures are computed per prompt and averaged over
    the prompts in which a face was found. Classes are what a classifier perceives, and classifiers err.

    Args:
        target: Distribution to compare with, classes in the order of the predictions' columns.
        confidence: Predictions whose largest probability is below count as unsure, in (0, 1].
        draws: Bootstrap draws for the intervals.
        level: Coverage of the intervals.
        seed: Of the bootstrap.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
        >>> metric = AttributeDistribution(target)
        >>> female = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
        >>> metric.update(torch.tensor([0, 0, 0, 0]), {"gender": female})
        >>> result = metric.compute()
        >>> gender = result.attributes["gender"]
        >>> gender.frequencies["female"].value, gender.bias.value, gender.unsure
        (0.75, 0.5, 0.25)
    """

    is_differentiable = False
    full_state_update = False
    # States are flat and of the metric's floating-point type, because that is what torchmetrics gathers from a
    # rank that has seen nothing; all numbers kept here are exact in float32.
    image_prompts: list[Tensor]
    image_found: list[Tensor]
    face_prompts: list[Tensor]
    face_joint_classes: list[Tensor]

    def __init__(
        self,
        target: TargetDistribution,
        *,
        confidence: float = 0.8,
        draws: int = 2000,
        level: float = 0.95,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.confidence = confidence
        self.draws = draws
        self.level = level
        self.seed = seed
        for state in ("image_prompts", "image_found", "face_prompts", "face_joint_classes"):
            self.add_state(state, [], dist_reduce_fx="cat")
        for index in range(len(target.attributes)):
            self.add_state(f"face_confidence_{index}", [], dist_reduce_fx="cat")

    def update(
        self, prompt_index: Tensor, predictions: Mapping[str, Tensor], image_index: Tensor | None = None
    ) -> None:
        """Add the images of a batch and the faces found in them.

        Args:
            prompt_index: int64 [N], which prompt each image was made for.
            predictions: Attribute -> probabilities [F, K] of the F faces. Attributes that the target does not
                mention are ignored.
            image_index: int64 [F], the image each face was found in; images that no face refers to count as
                without a face. None: face i is that of image i, so F = N.

        Raises:
            ConfigurationError: Attributes, classes or numbers of faces do not fit each other.
        """
        prompt_index = prompt_index.to(self.device)
        faces = torch.arange(len(prompt_index)) if image_index is None else image_index
        self._check(prompt_index, predictions, faces)
        faces = faces.to(self.device)
        found = torch.zeros(len(prompt_index), device=self.device)
        found[faces] = 1.0
        classes = torch.zeros(len(faces), device=self.device)
        for index, (attribute, names) in enumerate(self.target.classes.items()):
            probabilities = predictions[attribute].detach().to(self.device)
            classes = classes * len(names) + probabilities.argmax(dim=1)
            getattr(self, f"face_confidence_{index}").append(probabilities.amax(dim=1).float())
        self.image_prompts.append(prompt_index.float())
        self.image_found.append(found)
        self.face_prompts.append(prompt_index[faces].float())
        self.face_joint_classes.append(classes)

    def compute(self) -> DistributionFigures:
        """Return the figures over everything seen.

        Intervals are by `cluster_bootstrap` over prompts, those of a prompt's frequencies exact. A floor is the
        expected value of perfectly aligned images, for each prompt's own number of faces. Prompts have numbers and no
        texts, see `DistributionFigures.named`. Without any face, figures are NaN.
        """
        prompts, of_image = torch.unique(joined(self.image_prompts).long(), return_inverse=True)
        found = joined(self.image_found)
        joint = self._joint_counts(prompts)
        shape = joint.shape[1:]
        confidence = [joined(getattr(self, f"face_confidence_{i}")) for i in range(len(shape))]
        shares, names = self.target.table.flatten(), _joint_class_names(self.target)
        counts = {
            attribute: marginal_counts(joint, axis) for axis, attribute in enumerate(self.target.attributes, start=1)
        }
        tests = {name: self._tests(counts[name], self.target.marginal(name)) for name in self.target.attributes}
        tests_of_joint = self._tests(joint.flatten(1), shares)
        faces = joint.flatten(1).sum(dim=1)
        return DistributionFigures(
            attributes={
                name: self._figures(
                    counts[name],
                    self.target.marginal(name),
                    classes,
                    off_target=self._off_target(tests[name]),
                    unsure=_mean(sure < self.confidence),
                )
                for (name, classes), sure in zip(self.target.classes.items(), confidence, strict=True)
            },
            joint_classes=self._figures(joint.flatten(1), shares, names, off_target=self._off_target(tests_of_joint)),
            face_rate=_mean(found),
            unsure=_mean(torch.cat(confidence) < self.confidence),
            images=len(found),
            faces=int(faces.sum()),
            faces_per_image=int(faces.sum()) / max(len(found), 1),
            prompts=len(prompts),
            n=_mean(faces[faces > 0]),
            per_prompt=tuple(
                self._prompt_figures(
                    int(prompt),
                    found[of_image == row],
                    joint[row],
                    tests={name: own[row] for name, own in tests.items()},
                    test_of_joint=tests_of_joint[row],
                )
                for row, prompt in enumerate(prompts)
            ),
        )

    def _joint_counts(self, prompts: Tensor) -> Tensor:
        """Faces of each prompt in each joint class, int64 [P, K1, ..., KA]."""
        shape = self.target.table.shape
        of_face = torch.searchsorted(prompts, joined(self.face_prompts).long())
        places = of_face * shape.numel() + joined(self.face_joint_classes).long()
        return torch.bincount(places, minlength=len(prompts) * shape.numel()).view(len(prompts), *shape)

    def _prompt_figures(
        self, number: int, found: Tensor, joint: Tensor, *, tests: Mapping[str, _Test], test_of_joint: _Test
    ) -> PromptFigures:
        """Figures of one prompt: whether each image has a face [N], counts [K1, ..., KA], and its tests."""
        return PromptFigures(
            prompt="",
            number=number,
            images=len(found),
            faces=int(joint.sum()),
            face_rate=_mean(found),
            attributes={
                name: self._plain_figures(
                    marginal_counts(joint[None], axis)[0], self.target.marginal(name), classes, test=tests[name]
                )
                for axis, (name, classes) in enumerate(self.target.classes.items(), start=1)
            },
            joint_classes=self._plain_figures(
                joint.flatten(), self.target.table.flatten(), _joint_class_names(self.target), test=test_of_joint
            ),
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

    def _figures(
        self, counts: Tensor, shares: Tensor, names: tuple[str, ...], *, off_target: int, unsure: float | None = None
    ) -> AttributeFigures:
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
            unsure=unsure,
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
                problems.add(f"image_index leaves the {len(prompt_index)} images of prompt_index")


def _joint_class_names(target: TargetDistribution) -> tuple[str, ...]:
    names = [""]
    for classes in target.classes.values():
        names = [f"{name}/{next_name}" if name else next_name for name in names for next_name in classes]
    return tuple(names)


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
