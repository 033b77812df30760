"""Pure functions on tensors: the mathematics of fairlit, without models, files or training loops."""

from fairlit.functional.alignment import Assignment, alignment_loss, assign_targets
from fairlit.functional.fairness import kl_divergence, noise_floor, noise_floor_tv, pairwise_bias, total_variation
from fairlit.functional.intervals import hierarchical_bootstrap, hierarchical_bootstrap_mean
from fairlit.functional.noise import keyed_noise
from fairlit.functional.solver import solver_coefficients, step_weights
from fairlit.functional.target_distribution import TargetDistribution
from fairlit.functional.transport import expected_assignment

__all__ = [
    "Assignment",
    "TargetDistribution",
    "alignment_loss",
    "assign_targets",
    "expected_assignment",
    "hierarchical_bootstrap",
    "hierarchical_bootstrap_mean",
    "keyed_noise",
    "kl_divergence",
    "noise_floor",
    "noise_floor_tv",
    "pairwise_bias",
    "solver_coefficients",
    "step_weights",
    "total_variation",
]
