"""The chain in x0 predictions: against DDIM's recursion, and what it means."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)

from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.solver import linear_solver
from fairlit.functional.sampling.x0_chain import x0_chain

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_is_the_recursion_of_ddim(kind: str) -> None:
    """x' = alpha' d + sigma' (x - alpha d) / sigma, Song et al. 2021, equation 12 without fresh noise."""
    scheduler = DDIMScheduler(**SCHEDULE, prediction_type=kind, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(6)
    places = [*scheduler.timesteps.tolist(), 0]
    alpha = scheduler.alphas_cumprod.double()[places].sqrt()
    sigma = (1 - alpha**2).sqrt()
    rows = [torch.eye(7, dtype=torch.float64)[0]]
    for evaluation in range(6):
        row = sigma[evaluation + 1] / sigma[evaluation] * rows[-1]
        row[1 + evaluation] = alpha[evaluation + 1] - sigma[evaluation + 1] * alpha[evaluation] / sigma[evaluation]
        rows.append(row)
    assert torch.allclose(x0_chain(scheduler, 6).states, torch.stack(rows), atol=1e-5)  # float32 schedules


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", [DPMSolverMultistepScheduler, EulerDiscreteScheduler])
def test_is_the_same_chain_and_ends_in_a_mean_of_predictions(solver: type, kind: str) -> None:
    settings = {name: value for name, value in SCHEDULE.items() if name != "steps_offset"}
    scheduler = solver(**settings, prediction_type=kind)
    linear, x0 = linear_solver(scheduler, 7), x0_chain(scheduler, 7)
    outputs = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # noise, then outputs
    states = linear.states @ outputs
    predictions = x0.from_state * states[:-1] + x0.from_output * outputs[1:]
    assert torch.allclose(x0.states @ torch.cat([outputs[:1], predictions]), states, atol=1e-9)
    assert x0.states[-1, 0].abs() < 1e-4  # nothing of the noise itself is left
    assert x0.states[-1, 1:].sum() == pytest.approx(1.0, abs=1e-3)  # a constant prediction is what comes out
    assert torch.equal(x0.weights("natural"), x0.states[-1, 1:])
    assert x0.weights("uniform").tolist() == pytest.approx([1 / 7] * 7, rel=1e-3)


def test_refuses_flow_models() -> None:
    with pytest.raises(ConfigurationError, match="no gradient to its noise"):
        x0_chain(FlowMatchEulerDiscreteScheduler(), 3)


def test_refuses_solvers_that_draw_fresh_noise() -> None:
    with pytest.raises(ConfigurationError, match=r"LCMScheduler draws fresh noise.*take solver dpm-solver"):
        x0_chain(LCMScheduler(), 3)
