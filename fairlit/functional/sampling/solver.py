"""Diffusion solvers as linear maps, and what each model evaluation weighs in the adjusted gradient.

Every deterministic scheduler combines the initial noise and the model outputs linearly, with coefficients
that depend on the schedule alone. So a whole sampling chain is one lower-triangular matrix, found by running the
scheduler on scalars: its last row holds the derivative of the final latent by each model output.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor

from fairlit.errors import ConfigurationError

WeightScheme = Literal["uniform", "reference", "natural"]
"""How the gradient that reaches each model evaluation is weighted (Shen et al., ICLR 2024, section 4.2)."""

_PROBE_SCALE = 50.0  # far outside any clipping range, so that a clipped prediction cannot pass for linear
_LINEARITY_TOLERANCE = 1e-5  # float32 schedules leave 1e-7; clipping and noise leave 1e-1 and more


class Scheduler(Protocol):
    """What is needed of a diffusers scheduler; any class with these members will do."""

    timesteps: Tensor
    config: Any

    def set_timesteps(self, num_inference_steps: int, *args: Any, **kwargs: Any) -> None:
        """Lays out the timesteps of one run."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Advances the state by one model output."""


@dataclass(frozen=True)
class LinearSolver:
    """A sampling chain of S model evaluations as a matrix.

    With unit noise z and model outputs o_0..o_{S-1}, the state before evaluation t is
    x_t = states[t, 0] z + sum_{s<t} states[t, 1 + s] o_s, and x_S is the final latent.

    Attributes:
        timesteps: [S], what the model is told at each evaluation.
        input_scale: float64 [S], factor on x_t before the model sees it (1 for variance-preserving solvers).
        states: float64 [S + 1, S + 1], lower triangular as described above.
        noise_per_output: float64 [S], d(predicted noise) / d(model output): 1 for noise prediction,
            sqrt(abar_t) for v-prediction, 1 - sigma_t for flow matching.
    """

    timesteps: Tensor
    input_scale: Tensor
    states: Tensor
    noise_per_output: Tensor

    @property
    def num_evaluations(self) -> int:
        """Number of model evaluations S (for second-order solvers more than the steps asked for)."""
        return len(self.timesteps)

    @property
    def output_coefficients(self) -> Tensor:
        """Derivative of the final latent by each model output, float64 [S]."""
        return self.states[-1, 1:]

    @property
    def noise_coefficients(self) -> Tensor:
        """Derivative of the final latent by each predicted noise (k_t), float64 [S]; infinite where noise is fixed."""
        return self.output_coefficients / self.noise_per_output

    def to(self, device: torch.device | str) -> LinearSolver:
        """The same chain with what the model is told on `device`, so that no evaluation waits for a copy."""
        return replace(self, timesteps=self.timesteps.to(device), input_scale=self.input_scale.to(device))

    def state(self, evaluation: int, noise: Tensor, outputs: list[Tensor]) -> Tensor:
        """The state x_t before evaluation `evaluation` (the final latent for `evaluation` = S).

        Args:
            evaluation: t in 0..S.
            noise: unit noise z [N, C, H, W].
            outputs: o_0..o_{t-1}, shaped like `noise`; more are ignored.

        Returns:
            [N, C, H, W] in the dtype of `noise`, differentiable in `noise` and `outputs`.
        """
        row = self.states[evaluation].tolist()
        state = row[0] * noise
        for weight, output in zip(row[1 : evaluation + 1], outputs[:evaluation], strict=True):
            if weight != 0.0:
                state = state + weight * output
        return state


def linear_solver(scheduler: Scheduler, num_steps: int) -> LinearSolver:
    """Writes a scheduler's chain of `num_steps` steps as a `LinearSolver`.

    The scheduler itself is left as it is: a copy is run, in float64, on one scalar problem per unknown (the noise
    and each model output) plus three that check that it is linear.

    Args:
        scheduler: a diffusers scheduler.
        num_steps: number of inference steps, at least 1.

    Raises:
        ConfigurationError: the scheduler is not a linear map (it adds fresh noise, clips or thresholds its
            predictions), or `num_steps` is not positive.
    """
    if num_steps < 1:
        raise ConfigurationError(f"num_steps: got {num_steps}; a sampling chain needs at least one step")
    runner = copy.deepcopy(scheduler)
    runner.set_timesteps(num_steps)
    for name in ("sigmas", "alphas_cumprod", "final_alpha_cumprod", "alpha_t", "sigma_t", "lambda_t"):
        if isinstance(schedule := getattr(runner, name, None), Tensor):
            setattr(runner, name, schedule.double())
    timesteps = runner.timesteps.clone()
    evaluations = len(timesteps)

    generator = torch.Generator().manual_seed(0)
    checks = _PROBE_SCALE * torch.randn(evaluations + 1, 3, dtype=torch.float64, generator=generator)
    checks[:, 0] = 0.0  # a chain that turns nothing into something adds noise of its own
    problems = torch.cat([torch.eye(evaluations + 1, dtype=torch.float64), checks], dim=1)
    problems = problems[:, None, None, None, :].as_subclass(_Exact)  # schedulers expect images: all problems as one
    sample = problems[0] * float(getattr(runner, "init_noise_sigma", 1.0))
    states, input_scale = [sample], []
    for evaluation, timestep in enumerate(timesteps):
        if hasattr(runner, "scale_model_input"):
            input_scale.append(float(runner.scale_model_input(torch.ones_like(sample), timestep).flatten()[0]))
        sample = runner.step(problems[1 + evaluation], timestep, sample, return_dict=False)[0]
        states.append(sample)
    chain = torch.stack(states).as_subclass(Tensor).reshape(evaluations + 1, -1)
    matrix, checked = chain[:, : evaluations + 1], chain[:, evaluations + 1 :]
    error = (matrix @ checks - checked).abs().max() / _PROBE_SCALE
    if not error < _LINEARITY_TOLERANCE:
        raise ConfigurationError(
            f"scheduler: {type(scheduler).__name__} is not linear in the model output (off by {float(error):.2g}); "
            "take a deterministic one without clip_sample or thresholding, e.g. DPMSolverMultistepScheduler, "
            "DDIMScheduler(clip_sample=False) or EulerDiscreteScheduler"
        )
    return LinearSolver(
        timesteps,
        torch.tensor(input_scale or [1.0] * evaluations, dtype=torch.float64),
        matrix.contiguous(),
        _noise_per_output(runner),
    )


def solver_coefficients(scheduler: Scheduler, num_steps: int) -> Tensor:
    """Derivative of the final latent by each predicted noise, k_t = d x_S / d e_t.

    Args:
        scheduler: a diffusers scheduler; for v-prediction and flow models the coefficient is converted to the
            predicted noise.
        num_steps: number of inference steps.

    Returns:
        float64 [S] in sampling order (Shen et al., ICLR 2024, section 4.2, for a general linear solver).

    Raises:
        ConfigurationError: see `linear_solver`.
    """
    return linear_solver(scheduler, num_steps).noise_coefficients


def step_weights(scheduler: Scheduler, num_steps: int, scheme: WeightScheme = "uniform") -> Tensor:
    """Weights w_t of the adjusted gradient sum_t w_t (d e_t / d theta)^T g.

    - ``natural``: w_t = k_t, the solver's own coefficient.
    - ``reference``: w_t = c_t k_t, c_t = sqrt(abar_t) sqrt(1 - abar_t) / (1 - alpha_t) over its geometric mean: what
      the code published with Shen et al. computes.
    - ``uniform``: the sign of k_t times the geometric mean of all abs(k_t): the paper's A_t = 1.

    Args:
        scheduler: a diffusers scheduler.
        num_steps: number of inference steps.
        scheme: one of the three above.

    Returns:
        float64 [S], stated for the predicted noise.

    Raises:
        ConfigurationError: unknown scheme, a nonlinear scheduler, or ``reference`` for a scheduler without betas.
    """
    if scheme not in get_args(WeightScheme):
        raise ConfigurationError(f"weights: got {scheme!r}; choose one of {', '.join(get_args(WeightScheme))}")
    solver = linear_solver(scheduler, num_steps)
    coefficients = solver.noise_coefficients
    if scheme == "natural":
        return coefficients
    if scheme == "uniform":
        return coefficients.sign() * _geometric_mean(coefficients.abs())
    rescaling = _reference_rescaling(scheduler, solver.timesteps)
    return rescaling * coefficients


def output_weights(scheduler: Scheduler, num_steps: int, scheme: WeightScheme = "uniform") -> Tensor:
    """`step_weights` turned into factors on the cotangent of the model output: w_t d(noise)/d(output), float64 [S]."""
    solver = linear_solver(scheduler, num_steps)
    if scheme == "natural":
        return solver.output_coefficients  # finite also where the predicted noise is fixed (flow models at sigma 1)
    return step_weights(scheduler, num_steps, scheme) * solver.noise_per_output


class _Exact(Tensor):
    """A float64 tensor that stays float64: schedulers cast samples to float32, which would cost nine digits."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        narrows = func is Tensor.to and any(value is torch.float32 for value in (*args[1:], *kwargs.values()))
        if narrows or func is Tensor.float:
            return args[0]
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


def signal_shares(scheduler: Any) -> Tensor:
    """sqrt(abar_t) at each evaluation of a variance-preserving scheduler whose timesteps are set, float64 [S]."""
    if isinstance(sigmas := getattr(scheduler, "sigmas", None), Tensor):
        return (1 + sigmas[: len(scheduler.timesteps)].double() ** 2).rsqrt()
    return scheduler.alphas_cumprod[scheduler.timesteps.long()].double().sqrt()


def _noise_per_output(scheduler: Any) -> Tensor:
    """d(predicted noise) / d(model output) at each evaluation of a scheduler whose timesteps are set, float64 [S]."""
    evaluations = len(scheduler.timesteps)
    kind = getattr(scheduler.config, "prediction_type", None)
    flow = kind == "flow_prediction" or getattr(scheduler.config, "use_flow_sigmas", False) or kind is None
    if kind == "epsilon" and not flow:
        return torch.ones(evaluations, dtype=torch.float64)
    if flow and isinstance(sigmas := getattr(scheduler, "sigmas", None), Tensor):
        return 1 - sigmas[:evaluations].double()
    alpha = signal_shares(scheduler)
    if kind == "v_prediction":
        return alpha
    if kind == "sample":
        return -alpha / (1 - alpha**2).sqrt()
    raise ConfigurationError(
        f"scheduler: prediction_type {kind!r} is unknown; use epsilon, v_prediction, sample or a flow scheduler"
    )


def _geometric_mean(values: Tensor) -> Tensor:
    positive = values[(values > 0) & values.isfinite()]
    return positive.log().mean().exp()


def _reference_rescaling(scheduler: Any, timesteps: Tensor) -> Tensor:
    """c_t of the published code, divided by its geometric mean, float64 [S]."""
    if not isinstance(alphas := getattr(scheduler, "alphas", None), Tensor):
        raise ConfigurationError(
            f"weights: 'reference' needs a scheduler with betas, {type(scheduler).__name__} has none; take 'uniform'"
        )
    at = timesteps.long()
    alpha, abar = alphas.double()[at], alphas.double().cumprod(dim=0)[at]
    rescaling = abar.sqrt() * (1 - abar).sqrt() / (1 - alpha)
    return rescaling / _geometric_mean(rescaling)
