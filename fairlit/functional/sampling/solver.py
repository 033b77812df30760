"""Diffusion solvers as linear maps, and what each model evaluation weighs in the adjusted gradient.

Schedulers combine the initial noise, the model outputs and, where they draw any, fresh noise linearly, with
coefficients that depend on the schedule alone. So a whole sampling chain is one lower-triangular matrix, found by
running the scheduler on scalars: its last row holds the derivative of the final latent by each model output. Fresh
noise is as constant as the initial one, so that the gradient of a chain that draws some is the same sum.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fairlit.errors import ConfigurationError

WeightScheme = Literal["uniform", "reference", "natural"]
"""How the gradient that reaches each model evaluation is weighted (Shen et al., ICLR 2024, section 4.2)."""

_PROBE_SCALE = 50.0  # far outside any clipping range, so that a clipped prediction cannot pass for linear
_LINEARITY_TOLERANCE = 1e-5  # float32 schedules leave 1e-7; clipping and noise leave 1e-1 and more
_MAX_NOISE_LEFT = 0.5  # few steps from a leading timestep leave up to 0.3; one step of DDIM or PNDM nearly all
_MAX_NOISE_LEFT_OF_FLOW = 0.01  # DEIS and SA-Solver of diffusers 0.42.1 leave 1 / steps
_WAY_OUT = "take solver dpm-solver++, ddim or euler, which sample on the same noise schedule"


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

    With unit noise z, model outputs o_0..o_{S-1} and fresh unit noise n_0..n_{F-1}, the state before evaluation t is
    x_t = states[t, 0] z + sum_{s<t} states[t, 1 + s] o_s + sum_f fresh[t, f] n_f, and x_S is the final latent.

    Attributes:
        timesteps: [S], what the model is told at each evaluation.
        input_scale: float64 [S], factor on x_t before the model sees it (1 for variance-preserving solvers).
        states: float64 [S + 1, S + 1], lower triangular as described above.
        noise_per_output: float64 [S], d(predicted noise) / d(model output): 1 for noise prediction,
            sqrt(abar_t) for v-prediction, 1 - sigma_t for flow matching.
        fresh: float64 [S + 1, F], coefficients of the noise that the solver draws on its way, in the order of the
            draws; F is 0 for deterministic solvers.
    """

    timesteps: Tensor
    input_scale: Tensor
    states: Tensor
    noise_per_output: Tensor
    fresh: Tensor

    @property
    def num_fresh(self) -> int:
        """Number of times F that the solver draws fresh noise."""
        return self.fresh.shape[1]

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

    def noise_left(self, output_of_noise: Tensor) -> float:
        """Return the share of noise in the final latent if the model sees nothing but noise in every state.

        Args:
            output_of_noise: [S], what the model says at each evaluation of a state that is unit noise alone.
        """
        noise = torch.cat([self.states[:, :1], self.fresh], dim=1)  # of each state in z, n_0..n_{F-1}
        outputs = torch.zeros_like(noise[:-1])
        for evaluation, output in enumerate(output_of_noise.tolist()):
            state = noise[evaluation] + self.states[evaluation, 1:] @ outputs
            outputs[evaluation] = output * torch.nn.functional.normalize(state, dim=0)
        return float((noise[-1] + self.output_coefficients @ outputs).norm())

    def to(self, device: torch.device | str) -> LinearSolver:
        """The same chain with what the model is told on `device`, so that no evaluation waits for a copy."""
        return replace(self, timesteps=self.timesteps.to(device), input_scale=self.input_scale.to(device))

    def draws(self, noise: Tensor) -> tuple[Tensor, ...]:
        """Take the noise of images apart: the initial noise z, then the fresh noise n_0..n_{F-1}.

        Args:
            noise: unit noise [N, C, H, W]; [N, 1 + F, C, H, W] for a solver that draws fresh noise, see
                `functional.sampling.noise.chain_noise`.

        Returns:
            1 + F tensors [N, C, H, W].

        Raises:
            ValueError: `noise` holds another number of draws.
        """
        draws = noise.unbind(1) if noise.ndim == 5 else (noise,)
        if len(draws) != 1 + self.num_fresh:
            raise ValueError(
                f"noise: number of tensors per image is {len(draws)}; expected {1 + self.num_fresh}, the initial noise "
                "and what the solver draws; make them with chain_noise"
            )
        return draws

    def state(self, evaluation: int, noise: Tensor, outputs: list[Tensor]) -> Tensor:
        """The state x_t before evaluation `evaluation` (the final latent for `evaluation` = S).

        Args:
            evaluation: t in 0..S.
            noise: all noise of the images, see `draws`.
            outputs: o_0..o_{t-1} [N, C, H, W]; more are ignored.

        Returns:
            [N, C, H, W] in the dtype of `noise`, differentiable in `noise` and `outputs`.
        """
        row, (initial, *fresh) = self.states[evaluation].tolist(), self.draws(noise)
        state = row[0] * initial
        terms = [*zip(row[1 : evaluation + 1], outputs[:evaluation], strict=True)]
        for weight, term in (*terms, *zip(self.fresh[evaluation].tolist(), fresh, strict=True)):
            if weight != 0.0:
                state = state + weight * term
        return state


def linear_solver(scheduler: Scheduler, num_steps: int) -> LinearSolver:
    """Writes a scheduler's chain of `num_steps` steps as a `LinearSolver`.

    The scheduler itself is left as it is: a copy is run, in float64, on one scalar problem per unknown (the noise,
    each model output and each draw of fresh noise) plus three that check that it is linear. It is called as stock
    pipelines call it by default, with a generator and an eta of 0, so that DDIM and TCD draw nothing.

    Args:
        scheduler: a diffusers scheduler.
        num_steps: number of inference steps, at least 1.

    Raises:
        ConfigurationError: the scheduler is not a linear map (it clips or thresholds its predictions, or draws noise
            from elsewhere than the generator that it is given), cannot make `num_steps` steps, or stops before the
            noise is gone.
    """
    if num_steps < 1:
        raise ConfigurationError(f"num_steps: got {num_steps}; expected at least 1; give 25, say")
    name = type(scheduler).__name__
    try:
        solver, error = _probe(scheduler, num_steps)
    except ConfigurationError:
        raise
    except Exception as reason:  # what schedulers raise is of any kind: IndexError, TypeError, AttributeError
        raise ConfigurationError(
            f"scheduler: {name} cannot sample in {num_steps} steps ({type(reason).__name__}: {reason}); "
            f"choose another number of steps, or {_WAY_OUT}"
        ) from reason
    if not error < _LINEARITY_TOLERANCE:
        raise ConfigurationError(
            f"scheduler: {name} is not linear in the model output (off by {error:.2g}): it clips, thresholds, or draws "
            f"noise of its own; {_WAY_OUT}"
        )
    left = solver.noise_left(_output_of_noise(scheduler, solver.noise_per_output))
    if not left < (_MAX_NOISE_LEFT_OF_FLOW if _is_flow(scheduler) else _MAX_NOISE_LEFT):
        raise ConfigurationError(
            f"scheduler: {name} leaves {left:.0%} of the noise in its images (steps: {num_steps}); {_WAY_OUT}"
        )
    return solver


def _probe(scheduler: Scheduler, num_steps: int) -> tuple[LinearSolver, float]:
    """Run a copy of a scheduler; return it as a linear map, and how far it is from one."""
    runner = copy.deepcopy(scheduler)
    runner.set_timesteps(num_steps)
    for name in ("sigmas", "alphas_cumprod", "final_alpha_cumprod", "alpha_t", "sigma_t", "lambda_t"):
        if isinstance(schedule := getattr(runner, name, None), Tensor):
            setattr(runner, name, schedule.double())
    timesteps = runner.timesteps.clone()
    evaluations = len(timesteps)
    unknowns = 1 + 2 * evaluations  # the noise, the outputs, and at most one draw of fresh noise a step

    generator = torch.Generator().manual_seed(0)
    checks = _PROBE_SCALE * torch.randn(unknowns, 3, dtype=torch.float64, generator=generator)
    checks[:, 0] = 0.0  # a chain that turns nothing into something adds noise of its own
    problems = torch.cat([torch.eye(unknowns, dtype=torch.float64), checks], dim=1)
    problems = problems[:, None, None, None, :].as_subclass(_Exact)  # schedulers expect images: all problems as one
    sample = problems[0] * float(getattr(runner, "init_noise_sigma", 1.0))
    states, scales = [sample], []
    with _Draws(generator, problems[1 + evaluations :]) as draws:
        taken = inspect.signature(runner.step).parameters
        settings = {name: value for name, value in (("generator", generator), ("eta", 0.0)) if name in taken}
        for evaluation, timestep in enumerate(timesteps):
            if hasattr(runner, "scale_model_input"):
                scales.append(float(runner.scale_model_input(torch.ones_like(sample), timestep).flatten()[0]))
            sample = runner.step(problems[1 + evaluation], timestep, sample, **settings, return_dict=False)[0]
            states.append(sample)
    chain = torch.stack(states).as_subclass(Tensor).reshape(evaluations + 1, -1)
    matrix, checked = chain[:, :unknowns], chain[:, unknowns:]
    error = float((matrix @ checks - checked).abs().max()) / _PROBE_SCALE
    input_scale = torch.tensor(scales or [1.0] * evaluations, dtype=torch.float64)
    fresh = matrix[:, 1 + evaluations : 1 + evaluations + draws.count]
    used = int(fresh.any(dim=0).nonzero().max()) + 1 if fresh.any() else 0  # the last draw may have no weight
    solver = LinearSolver(
        timesteps,
        input_scale,
        matrix[:, : 1 + evaluations].contiguous(),
        _noise_per_output(runner, input_scale),
        fresh[:, :used].contiguous(),
    )
    return solver, error


class _Draws(TorchFunctionMode):
    """Inside the block, what `torch.randn` draws from a generator is the next of some tensors.

    Args:
        generator: the generator; draws from any other are left alone.
        tensors: tensors, one for each draw.

    Attributes:
        count: number of draws so far.
    """

    def __init__(self, generator: torch.Generator, tensors: Tensor) -> None:
        super().__init__()
        self.generator, self.tensors = generator, tensors
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn or kwargs.get("generator") is not self.generator:
            return func(*args, **kwargs)
        if self.count == len(self.tensors):
            raise ConfigurationError(f"scheduler: it draws noise more than once a step; {_WAY_OUT}")
        self.count += 1
        return self.tensors[self.count - 1].clone()  # schedulers may scale it in place


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

    With a single evaluation all schemes are ``natural``, the full gradient.

    Args:
        scheduler: a diffusers scheduler.
        num_steps: number of inference steps.
        scheme: one of the three above.

    Returns:
        float64 [S], stated for the predicted noise. ``natural`` is infinite where the state fixes the noise (flow
        models at sigma 1, zero terminal SNR); `output_weights` is finite there.

    Raises:
        ConfigurationError: unknown scheme, a nonlinear scheduler, or ``reference`` for a scheduler without betas.
    """
    if scheme not in get_args(WeightScheme):
        raise ConfigurationError(f"weights: got {scheme!r}; choose one of {', '.join(get_args(WeightScheme))}")
    solver = linear_solver(scheduler, num_steps)
    coefficients = solver.noise_coefficients
    if scheme == "natural" or solver.num_evaluations == 1:
        return coefficients
    if scheme == "uniform":
        return coefficients.sign() * _geometric_mean(coefficients.abs())
    rescaling = _reference_rescaling(scheduler, solver.timesteps)
    return torch.where(rescaling == 0, 0.0, rescaling * coefficients)  # at zero SNR 0 times infinity


def output_weights(scheduler: Scheduler, num_steps: int, scheme: WeightScheme = "uniform") -> Tensor:
    """`step_weights` turned into factors on the cotangent of the model output: w_t d(noise)/d(output), float64 [S]."""
    solver = linear_solver(scheduler, num_steps)
    if scheme == "natural" or solver.num_evaluations == 1:
        return solver.output_coefficients  # finite also where the predicted noise is fixed
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


def signal_shares(scheduler: Any, input_scale: Tensor) -> Tensor:
    """Return sqrt(abar_t) at each evaluation of a scheduler with a noise schedule of betas.

    Args:
        scheduler: scheduler whose timesteps are set.
        input_scale: float64 [S], see `LinearSolver`.

    Returns:
        float64 [S].

    Raises:
        ConfigurationError: the scheduler does not tell its noise levels.
    """
    if not torch.equal(input_scale, torch.ones_like(input_scale)):
        return input_scale  # 1 / sqrt(1 + sigma^2); KDPM2 evaluates between the levels of its `sigmas`
    if isinstance(sigmas := getattr(scheduler, "sigmas", None), Tensor):
        return (1 + sigmas[: len(scheduler.timesteps)].double() ** 2).rsqrt()
    if isinstance(shares := getattr(scheduler, "alphas_cumprod", None), Tensor):
        return shares[scheduler.timesteps.long()].double().sqrt()
    raise ConfigurationError(f"scheduler: {type(scheduler).__name__} does not tell its noise levels; {_WAY_OUT}")


def _is_flow(scheduler: Any) -> bool:
    kind = getattr(scheduler.config, "prediction_type", None)
    return kind in (None, "flow_prediction") or bool(getattr(scheduler.config, "use_flow_sigmas", False))


def _noise_per_output(scheduler: Any, input_scale: Tensor) -> Tensor:
    """Return d(predicted noise) / d(model output) at each evaluation of a scheduler whose timesteps are set."""
    evaluations = len(scheduler.timesteps)
    kind = getattr(scheduler.config, "prediction_type", None)
    if getattr(scheduler.config, "sigma_data", None) is not None:
        raise ConfigurationError(
            f"scheduler: {type(scheduler).__name__} scales its model as EDM does, unlike Stable Diffusion; {_WAY_OUT}"
        )
    if _is_flow(scheduler):
        if not isinstance(sigmas := getattr(scheduler, "sigmas", None), Tensor):
            raise ConfigurationError(
                f"scheduler: {type(scheduler).__name__} does not say what its model predicts; {_WAY_OUT}"
            )
        return 1 - sigmas[:evaluations].double()
    if kind == "epsilon":
        return torch.ones(evaluations, dtype=torch.float64)
    if kind not in ("v_prediction", "sample"):
        raise ConfigurationError(
            f"scheduler: prediction_type {kind!r} is unknown; use epsilon, v_prediction, sample or a flow scheduler"
        )
    alpha = signal_shares(scheduler, input_scale)
    return alpha if kind == "v_prediction" else -alpha / (1 - alpha**2).sqrt()


def _output_of_noise(scheduler: Any, noise_per_output: Tensor) -> Tensor:
    """Return what a model says of unit noise without a picture in it at each evaluation, float64 [S]."""
    kind = getattr(scheduler.config, "prediction_type", None)
    if _is_flow(scheduler) or kind == "epsilon":
        return torch.ones_like(noise_per_output)
    return noise_per_output if kind == "v_prediction" else torch.zeros_like(noise_per_output)


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
