"""Pure functions on tensors: the mathematics of fairlit, without models, files or training loops."""

from fairlit.functional.alignment.assignment import Assignment, alignment_loss, assign_targets
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.alignment.transport import expected_assignment
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.functional.sampling.solver import solver_coefficients, step_weights
from fairlit.functional.statistics.bootstrap import (
    cluster_bootstrap,
    cluster_bootstrap_difference,
    cluster_bootstrap_mean,
)
from fairlit.functional.statistics.classifier_error import (
    cleam,
    correct_frequencies,
    corrected_bootstrap,
    corrected_intervals,
)
from fairlit.functional.statistics.counts import class_counts, joint_classes, marginal_counts, pair_counts
from fairlit.functional.statistics.cross_fitting import noise_free_bias_interval, noise_free_total_variation_interval
from fairlit.functional.statistics.equivalence import equivalence_test, total_variation_bound
from fairlit.functional.statistics.fairness import (
    kl_divergence,
    noise_floor,
    noise_floor_tv,
    pairwise_bias,
    total_variation,
)
from fairlit.functional.statistics.intervals import clopper_pearson, goodman
from fairlit.functional.statistics.multinomial import multinomial_test
from fairlit.functional.statistics.multiple_testing import holm
from fairlit.functional.statistics.sample_size import (
    bias_width,
    frequency_width,
    images_for_bias,
    images_for_frequency,
    prompts_for_bias,
)

__all__ = [
    "Assignment",
    "TargetDistribution",
    "alignment_loss",
    "assign_targets",
    "bias_width",
    "class_counts",
    "cleam",
    "clopper_pearson",
    "cluster_bootstrap",
    "cluster_bootstrap_difference",
    "cluster_bootstrap_mean",
    "correct_frequencies",
    "corrected_bootstrap",
    "corrected_intervals",
    "equivalence_test",
    "expected_assignment",
    "frequency_width",
    "goodman",
    "holm",
    "images_for_bias",
    "images_for_frequency",
    "joint_classes",
    "keyed_noise",
    "kl_divergence",
    "marginal_counts",
    "multinomial_test",
    "noise_floor",
    "noise_floor_tv",
    "noise_free_bias_interval",
    "noise_free_total_variation_interval",
    "pair_counts",
    "pairwise_bias",
    "prompts_for_bias",
    "solver_coefficients",
    "step_weights",
    "total_variation",
    "total_variation_bound",
]
