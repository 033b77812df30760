"""Pure functions on tensors: the mathematics of fairlit, without models, files or training loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.functional.alignment.assignment import (
        Assignment as Assignment,
    )
    from fairlit.functional.alignment.assignment import (
        alignment_loss as alignment_loss,
    )
    from fairlit.functional.alignment.assignment import (
        assign_targets as assign_targets,
    )
    from fairlit.functional.alignment.target_distribution import TargetDistribution as TargetDistribution
    from fairlit.functional.alignment.transport import expected_assignment as expected_assignment
    from fairlit.functional.sampling.noise import (
        chain_noise as chain_noise,
    )
    from fairlit.functional.sampling.noise import (
        keyed_generator as keyed_generator,
    )
    from fairlit.functional.sampling.noise import (
        keyed_noise as keyed_noise,
    )
    from fairlit.functional.sampling.solver import (
        solver_coefficients as solver_coefficients,
    )
    from fairlit.functional.sampling.solver import (
        step_weights as step_weights,
    )
    from fairlit.functional.statistics.bootstrap import (
        cluster_bootstrap as cluster_bootstrap,
    )
    from fairlit.functional.statistics.bootstrap import (
        cluster_bootstrap_difference as cluster_bootstrap_difference,
    )
    from fairlit.functional.statistics.bootstrap import (
        cluster_bootstrap_mean as cluster_bootstrap_mean,
    )
    from fairlit.functional.statistics.classifier_error import (
        cleam as cleam,
    )
    from fairlit.functional.statistics.classifier_error import (
        correct_frequencies as correct_frequencies,
    )
    from fairlit.functional.statistics.classifier_error import (
        corrected_bootstrap as corrected_bootstrap,
    )
    from fairlit.functional.statistics.classifier_error import (
        corrected_intervals as corrected_intervals,
    )
    from fairlit.functional.statistics.counts import (
        class_counts as class_counts,
    )
    from fairlit.functional.statistics.counts import (
        joint_classes as joint_classes,
    )
    from fairlit.functional.statistics.counts import (
        marginal_counts as marginal_counts,
    )
    from fairlit.functional.statistics.counts import (
        pair_counts as pair_counts,
    )
    from fairlit.functional.statistics.cross_fitting import (
        noise_free_bias_interval as noise_free_bias_interval,
    )
    from fairlit.functional.statistics.cross_fitting import (
        noise_free_total_variation_interval as noise_free_total_variation_interval,
    )
    from fairlit.functional.statistics.equivalence import (
        equivalence_test as equivalence_test,
    )
    from fairlit.functional.statistics.equivalence import (
        total_variation_bound as total_variation_bound,
    )
    from fairlit.functional.statistics.fairness import (
        kl_divergence as kl_divergence,
    )
    from fairlit.functional.statistics.fairness import (
        noise_floor as noise_floor,
    )
    from fairlit.functional.statistics.fairness import (
        noise_floor_tv as noise_floor_tv,
    )
    from fairlit.functional.statistics.fairness import (
        pairwise_bias as pairwise_bias,
    )
    from fairlit.functional.statistics.fairness import (
        total_variation as total_variation,
    )
    from fairlit.functional.statistics.intervals import clopper_pearson as clopper_pearson
    from fairlit.functional.statistics.intervals import goodman as goodman
    from fairlit.functional.statistics.multinomial import multinomial_test as multinomial_test
    from fairlit.functional.statistics.multiple_testing import holm as holm
    from fairlit.functional.statistics.sample_size import (
        bias_width as bias_width,
    )
    from fairlit.functional.statistics.sample_size import (
        frequency_width as frequency_width,
    )
    from fairlit.functional.statistics.sample_size import (
        images_for_bias as images_for_bias,
    )
    from fairlit.functional.statistics.sample_size import (
        images_for_frequency as images_for_frequency,
    )
    from fairlit.functional.statistics.sample_size import (
        prompts_for_bias as prompts_for_bias,
    )

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Assignment": "fairlit.functional.alignment.assignment",
        "TargetDistribution": "fairlit.functional.alignment.target_distribution",
        "alignment_loss": "fairlit.functional.alignment.assignment",
        "assign_targets": "fairlit.functional.alignment.assignment",
        "bias_width": "fairlit.functional.statistics.sample_size",
        "chain_noise": "fairlit.functional.sampling.noise",
        "class_counts": "fairlit.functional.statistics.counts",
        "cleam": "fairlit.functional.statistics.classifier_error",
        "clopper_pearson": "fairlit.functional.statistics.intervals",
        "cluster_bootstrap": "fairlit.functional.statistics.bootstrap",
        "cluster_bootstrap_difference": "fairlit.functional.statistics.bootstrap",
        "cluster_bootstrap_mean": "fairlit.functional.statistics.bootstrap",
        "correct_frequencies": "fairlit.functional.statistics.classifier_error",
        "corrected_bootstrap": "fairlit.functional.statistics.classifier_error",
        "corrected_intervals": "fairlit.functional.statistics.classifier_error",
        "equivalence_test": "fairlit.functional.statistics.equivalence",
        "expected_assignment": "fairlit.functional.alignment.transport",
        "frequency_width": "fairlit.functional.statistics.sample_size",
        "goodman": "fairlit.functional.statistics.intervals",
        "holm": "fairlit.functional.statistics.multiple_testing",
        "images_for_bias": "fairlit.functional.statistics.sample_size",
        "images_for_frequency": "fairlit.functional.statistics.sample_size",
        "joint_classes": "fairlit.functional.statistics.counts",
        "keyed_generator": "fairlit.functional.sampling.noise",
        "keyed_noise": "fairlit.functional.sampling.noise",
        "kl_divergence": "fairlit.functional.statistics.fairness",
        "marginal_counts": "fairlit.functional.statistics.counts",
        "multinomial_test": "fairlit.functional.statistics.multinomial",
        "noise_floor": "fairlit.functional.statistics.fairness",
        "noise_floor_tv": "fairlit.functional.statistics.fairness",
        "noise_free_bias_interval": "fairlit.functional.statistics.cross_fitting",
        "noise_free_total_variation_interval": "fairlit.functional.statistics.cross_fitting",
        "pair_counts": "fairlit.functional.statistics.counts",
        "pairwise_bias": "fairlit.functional.statistics.fairness",
        "prompts_for_bias": "fairlit.functional.statistics.sample_size",
        "solver_coefficients": "fairlit.functional.sampling.solver",
        "step_weights": "fairlit.functional.sampling.solver",
        "total_variation": "fairlit.functional.statistics.fairness",
        "total_variation_bound": "fairlit.functional.statistics.equivalence",
    },
)
