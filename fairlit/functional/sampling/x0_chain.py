"""A sampling chain written in what each model evaluation predicts of the x0, for gradients to its noise.

With unit noise z and x0 predictions d_t = A_t x_t + B_t o_t, every state is
x_t = states[t, 0] z + sum_{s<t} states[t, 1 + s] d_s, and so is the final latent x_S. It is the chain of
`functional.sampling.solver`, written otherwise: the same images, and the same derivative dx_S/dz, which is a sum over
all paths from z through any number of evaluations. What differs is what a path through one evaluation is. Written in
the model's outputs, such paths are large and cancel each other, since a predicted noise is about z itself. Written in
x0 predictions, what the noise leaves in x_t fades as sigma_t / sigma_0, and paths through one evaluation say how each
prediction depends on that. The gradient of these paths alone is to noise what the adjusted gradient of Shen et al.
(ICLR 2024, section 4.2) is to parameters: no evaluation's result goes through another one, so all vector-Jacobian
products share one cotangent.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.solver import linear_solver, signal_shares

NoiseGradient = Literal["uniform", "natural", "full"]
"""Which paths count and how they are weighted, see `X0Chain.weights`."""


@dataclass(frozen=True)
class X0Chain:
    """A chain of S evaluations in x0 predictions.

    Attributes:
        states: float64 [S + 1, S + 1], lower triangular; row t holds the coefficients of x_t, row S those of x_S.
        from_state: A_t, float64 [S].
        from_output: B_t, float64 [S].
    """

    states: Tensor
    from_state: Tensor
    from_output: Tensor

    def weights(self, gradient: NoiseGradient) -> Tensor:
        """What each x0 prediction weighs in a gradient of paths through one evaluation, float64 [S].

        - ``natural``: k_t = d x_S / d d_t, the truncated derivative as it is. Solvers that end in a first-order step to
          sigma = 0, such as DPM-Solver++ 2M, return the last prediction itself: k_t is 1 there and 0 elsewhere.
        - ``uniform``: all equal with the same sum, in the spirit of Shen et al.'s A_t = 1: every prediction counts as
          an estimate of the final latent.
        """
        own = self.states[-1, 1:]
        return own if gradient == "natural" else torch.full_like(own, float(own.mean()))


def x0_chain(scheduler: Any, num_steps: int) -> X0Chain:
    """Writes a scheduler's chain in x0 predictions.

    Args:
        scheduler: a diffusers scheduler of a variance-preserving model that predicts noise, velocity or the sample.
        num_steps: number of inference steps.

    Raises:
        ConfigurationError: another kind of model, a solver that draws fresh noise, or see
            `functional.sampling.solver.linear_solver`.
    """
    solver = linear_solver(scheduler, num_steps)
    if solver.num_fresh:
        raise ConfigurationError(
            f"scheduler: {type(scheduler).__name__} draws fresh noise, which a gradient to the initial noise leaves "
            "out; take solver dpm-solver++, ddim or euler"
        )
    kind = getattr(scheduler.config, "prediction_type", None)
    if kind not in ("epsilon", "v_prediction", "sample") or getattr(scheduler.config, "use_flow_sigmas", False):
        raise ConfigurationError(
            f"scheduler: prediction_type {kind!r} has no gradient to its noise; use epsilon, v_prediction or sample"
        )
    runner = copy.deepcopy(scheduler)
    runner.set_timesteps(num_steps)
    alpha = signal_shares(runner, solver.input_scale)
    sigma = (1 - alpha**2).sqrt()
    from_input, from_output = {
        "epsilon": (1 / alpha, -sigma / alpha),
        "v_prediction": (alpha, -sigma),
        "sample": (torch.zeros_like(alpha), torch.ones_like(alpha)),
    }[kind]
    from_state = from_input * solver.input_scale
    change = torch.zeros_like(solver.states)  # (z, outputs) -> (z, x0 predictions)
    change[0, 0] = 1.0
    change[1:] = from_state[:, None] * solver.states[:-1]
    change[1:, 1:] += torch.diag(from_output)
    states = torch.linalg.solve_triangular(change, solver.states, upper=False, left=False)
    return X0Chain(states, from_state, from_output)
