"""Solver coefficients against golden numbers, hand derivations and the schedulers' own steps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    SASolverScheduler,
    UniPCMultistepScheduler,
)

from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.noise import chain_noise, keyed_generator, keyed_noise
from fairlit.functional.sampling.solver import linear_solver, output_weights, solver_coefficients, step_weights

SD: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "solver_weights.json").read_text())
SCHEDULERS = {
    "dpm_zero": DPMSolverMultistepScheduler(**SD, final_sigmas_type="zero"),
    "dpm_sigma_min": DPMSolverMultistepScheduler(**SD, final_sigmas_type="sigma_min"),
    "ddim": DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=False),
    "euler": EulerDiscreteScheduler(**SD),
    "unipc": UniPCMultistepScheduler(**SD),
    "heun": HeunDiscreteScheduler(**SD),
    "pndm": PNDMScheduler(**SD, skip_prk_steps=True),
}


def abar(timesteps: torch.Tensor) -> torch.Tensor:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0)[timesteps.long()]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['scheduler']}-{case['steps']}")
def test_golden_weights(case: dict[str, Any]) -> None:
    scheduler = SCHEDULERS[case["scheduler"]]
    assert linear_solver(scheduler, case["steps"]).timesteps.tolist() == case["timesteps"]
    expected = torch.tensor(case["k"], dtype=torch.float64)
    # diffusers makes its schedule in float32, whose last bits differ between processors: 1.7e-6 was seen
    torch.testing.assert_close(solver_coefficients(scheduler, case["steps"]), expected, rtol=5e-6, atol=0)
    expected = torch.tensor(case["w"], dtype=torch.float64)
    torch.testing.assert_close(step_weights(scheduler, case["steps"], "reference"), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_states_follow_the_scheduler(name: str) -> None:
    """Stock steps on random outputs go through the states that the matrix gives."""
    scheduler, steps = SCHEDULERS[name], 7
    solver = linear_solver(scheduler, steps)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 4, 3, 3, generator=generator)
    outputs = [torch.randn(1, 4, 3, 3, generator=generator) for _ in range(solver.num_evaluations)]
    scheduler.set_timesteps(steps)
    sample = noise * scheduler.init_noise_sigma
    for evaluation, timestep in enumerate(scheduler.timesteps):
        torch.testing.assert_close(solver.state(evaluation, noise, outputs), sample, rtol=1e-4, atol=1e-4)
        scaled = scheduler.scale_model_input(sample, timestep)
        torch.testing.assert_close(solver.input_scale[evaluation].float() * sample, scaled, rtol=1e-5, atol=1e-5)
        sample = scheduler.step(outputs[evaluation], timestep, sample).prev_sample
    torch.testing.assert_close(solver.state(solver.num_evaluations, noise, outputs), sample, rtol=1e-4, atol=1e-4)


def test_ddim_by_hand() -> None:
    """DDIM: x' = a'/a x + (s' - a' s / a) e, so k_t is the second factor times the product of the later first ones."""
    solver = linear_solver(SCHEDULERS["ddim"], 5)
    alpha = abar(torch.cat([solver.timesteps, torch.zeros(1)])).sqrt()
    sigma = (1 - alpha**2).sqrt()
    expected = [(sigma[t + 1] - alpha[t + 1] * sigma[t] / alpha[t]) * alpha[5] / alpha[t + 1] for t in range(5)]
    torch.testing.assert_close(solver.output_coefficients, torch.stack(expected), rtol=1e-4, atol=0)  # float32 schedule


def test_v_prediction_is_stated_for_noise() -> None:
    """v = a e - s x0 says the same as e = a v + s x, so every model gets the same weights on its noise."""
    noise_model = SCHEDULERS["ddim"]
    velocity_model = DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction")
    alpha = abar(linear_solver(noise_model, 6).timesteps).sqrt()
    # Through x_t, which both fix, an extra unit of noise enters the chain the same way whatever the model predicts.
    torch.testing.assert_close(linear_solver(velocity_model, 6).noise_per_output, alpha, rtol=1e-5, atol=0)
    last = torch.tensor([-1])
    torch.testing.assert_close(
        solver_coefficients(velocity_model, 6)[last], solver_coefficients(noise_model, 6)[last], rtol=1e-5, atol=0
    )
    ratio = output_weights(velocity_model, 6, "uniform") / alpha
    assert (ratio - ratio[0]).abs().max() < 1e-6


def test_uniform_has_one_size_and_the_signs_of_k() -> None:
    scheduler = SCHEDULERS["dpm_sigma_min"]
    k, w = solver_coefficients(scheduler, 21), step_weights(scheduler, 21, "uniform")
    assert (k > 0).any()
    assert torch.equal(w.sign(), k.sign())
    torch.testing.assert_close(w.abs(), k.abs().log().mean().exp().expand(21))


def test_flow_model_at_pure_noise_has_finite_output_weights() -> None:
    """At sigma 1 the noise is fixed by the state: k is infinite, yet what reaches the output is finite."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    assert solver_coefficients(scheduler, 4)[0].isinf()
    assert output_weights(scheduler, 4, "natural").isfinite().all()
    assert output_weights(scheduler, 4, "uniform").isfinite().all()


@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(**SD),
        DDIMScheduler(**SD, clip_sample=True),
        LCMScheduler(**SD, thresholding=True),
    ],
    ids=["clipped and random", "clipped", "thresholded"],
)
def test_nonlinear_schedulers_are_refused(scheduler: Any) -> None:
    with pytest.raises(ConfigurationError, match="not linear"):
        linear_solver(scheduler, 5)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(
    "scheduler",
    [
        LCMScheduler(**SD),
        EulerAncestralDiscreteScheduler(**SD),
        DPMSolverMultistepScheduler(**SD, algorithm_type="sde-dpmsolver++"),
        DDPMScheduler(**SD, clip_sample=False, timestep_spacing="trailing"),
    ],
    ids=["lcm", "ancestral", "sde", "ddpm"],
)
def test_chains_with_fresh_noise_are_those_of_the_scheduler(scheduler: Any, steps: int) -> None:
    """A generator an image, from which the scheduler itself draws, and outputs that depend on nothing."""
    solver, keys, shape = linear_solver(scheduler, steps), [(0, 1), (0, 2)], (4, 3, 3)
    assert solver.num_fresh or steps == 1
    other = torch.randn(2, steps, *shape, generator=torch.Generator().manual_seed(5))
    noise, outputs = chain_noise(keys, shape, solver.num_fresh), other.unbind(1)
    runner, generators = copy.deepcopy(scheduler), [keyed_generator(key) for key in keys]
    runner.set_timesteps(steps)
    sample = keyed_noise(keys, shape) * runner.init_noise_sigma
    for call, (timestep, output) in enumerate(zip(runner.timesteps, outputs, strict=True)):
        torch.testing.assert_close(solver.state(call, noise, list(outputs)), sample, rtol=1e-4, atol=1e-4)
        runner.scale_model_input(sample, timestep)
        sample = runner.step(output, timestep, sample, generator=generators).prev_sample
    torch.testing.assert_close(solver.state(steps, noise, list(outputs)), sample, rtol=1e-4, atol=1e-4)


def test_noise_without_what_the_solver_draws_is_refused() -> None:
    solver = linear_solver(LCMScheduler(**SD), 4)
    with pytest.raises(ValueError, match="tensors per image is 1; expected 4"):
        solver.state(0, torch.zeros(2, 4, 3, 3), [])


def test_the_scheduler_is_left_alone() -> None:
    scheduler = DPMSolverMultistepScheduler(**SD)
    before = scheduler.timesteps.clone()
    linear_solver(scheduler, 9)
    assert torch.equal(scheduler.timesteps, before)


def test_unknown_scheme_and_no_steps_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'flat'.*uniform"):
        step_weights(SCHEDULERS["ddim"], 5, "flat")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="num_steps: got 0"):
        linear_solver(SCHEDULERS["ddim"], 0)


def test_velocities_of_kdpm2_are_converted_at_the_levels_between() -> None:
    """Every second evaluation of KDPM2 lies between two levels of `sigmas`, at its own timestep."""
    solver = linear_solver(KDPM2DiscreteScheduler(**SD, prediction_type="v_prediction"), 6)
    levels = (1 / abar(torch.arange(1000)) - 1).sqrt().log()
    below = solver.timesteps.double().floor().long().clamp(max=998)
    share = solver.timesteps.double() - below
    log_sigma = (1 - share) * levels[below] + share * levels[below + 1]
    assert (share > 0.01).any()
    torch.testing.assert_close(solver.noise_per_output, (1 + log_sigma.exp() ** 2).rsqrt(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("scheme", ["uniform", "reference", "natural"])
@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchEulerDiscreteScheduler(),
        DDIMScheduler(
            **SD,
            clip_sample=False,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
        ),
        DPMSolverMultistepScheduler(**SD),
    ],
    ids=["flow", "zero SNR", "dpm"],
)
def test_the_only_evaluation_weighs_its_derivative(scheduler: Any, scheme: Any) -> None:
    weights = output_weights(scheduler, 1, scheme)
    torch.testing.assert_close(weights, linear_solver(scheduler, 1).output_coefficients)
    assert (weights < 0).all()


@pytest.mark.parametrize("scheme", ["uniform", "reference", "natural"])
def test_weights_at_zero_terminal_snr_are_finite(scheme: Any) -> None:
    scheduler = DDIMScheduler(
        **SD,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    weights = output_weights(scheduler, 6, scheme)
    assert weights.isfinite().all()
    assert (weights[1:] < 0).all()


@pytest.mark.parametrize("kind", [DEISMultistepScheduler, SASolverScheduler])
@pytest.mark.parametrize("steps", [4, 25])
def test_flow_chains_that_stop_early_are_refused(kind: Any, steps: int) -> None:
    """A model that predicts x_1 - x_0 exactly leaves 1 / steps of the noise: the last step is never made."""
    settings = {"tau_func": lambda timestep: 0.0} if kind is SASolverScheduler else {}  # without fresh noise
    scheduler = kind(prediction_type="flow_prediction", use_flow_sigmas=True, **settings)
    state = torch.ones(1, 1, 1, 1)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps:
        state = scheduler.step(torch.ones(1, 1, 1, 1), timestep, state).prev_sample
    assert float(state) == pytest.approx(1 / steps, abs=2e-3)
    with pytest.raises(ConfigurationError, match=rf"leaves {float(state):.0%} of the noise .*steps: {steps}.*euler"):
        linear_solver(scheduler, steps)


@pytest.mark.parametrize(
    ("scheduler", "steps", "told"),
    [
        (DDIMScheduler(**SD, clip_sample=False), 1000, "cannot sample in 1000 steps .*IndexError.*another number"),
        (DDIMScheduler(**SD, clip_sample=False), 2000, "cannot sample in 2000 steps .*1000"),
        (IPNDMScheduler(), 4, "does not say what its model predicts; take solver"),
        (EDMEulerScheduler(), 4, "EDM.*take solver"),
        (SCHEDULERS["pndm"], 1, "leaves 99% of the noise"),
        (DDPMScheduler(**SD), 5, "clips, thresholds, or draws noise of its own; take solver dpm-solver"),
    ],
    ids=["offset", "too many", "ipndm", "edm", "pndm", "ddpm"],
)
def test_what_cannot_sample_is_refused_with_a_way_out(scheduler: Any, steps: int, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        linear_solver(scheduler, steps)
