"""The gradient to the noise: against back-propagation, whole and cut."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from fairlit.diffusion import Chain, Conditioning, full_graph, noise_gradient, rollout
from fairlit.diffusion.chain import EncodedPrompts
from fairlit.functional.sampling.solver import linear_solver
from fairlit.functional.sampling.x0_chain import x0_chain

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}


def denoise(states: Tensor, timesteps: Tensor, prompts: EncodedPrompts) -> Tensor:
    """A curved denoiser in float64 whose pixels see each other."""
    turned = states.roll(1, dims=-1) * prompts["prompt_embeds"].mean(dim=(1, 2))[:, None, None, None]
    return torch.tanh(states + 0.3 * turned) + 0.001 * timesteps[:, None, None, None] * states.square()


def setting(scheduler: object) -> tuple[Chain, Tensor, Conditioning, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noise, cotangent = torch.randn(2, 3, 2, 4, 4, generator=generator, dtype=torch.float64).unbind()
    embeddings = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    chain = Chain(denoise, linear_solver(scheduler, 5), guidance_scale=2.0)  # type: ignore[arg-type]
    return chain, noise, Conditioning.of_one_prompt({"prompt_embeds": embeddings}, 3), cotangent


@pytest.mark.parametrize("max_batch", [None, 2])
def test_full_is_back_propagation(max_batch: int | None) -> None:
    scheduler = DPMSolverMultistepScheduler(**SCHEDULE)
    chain, noise, conditioning, cotangent = setting(scheduler)
    sampled = rollout(chain, noise, conditioning)
    found = noise_gradient(
        chain,
        sampled,
        conditioning,
        cotangent=cotangent,
        x0=x0_chain(scheduler, 5),
        gradient="full",
        max_batch=max_batch,
    )
    leaf = noise.clone().requires_grad_()
    expected = torch.autograd.grad(full_graph(chain, leaf, conditioning, checkpointing=False), leaf, cotangent)[0]
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12 * float(expected.abs().max()))


def test_natural_is_the_sum_of_paths_through_one_evaluation() -> None:
    """DDIM by its own recursion: each x0 prediction sees the noise by what sigma leaves of it, and nothing else."""
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False)
    chain, noise, conditioning, cotangent = setting(scheduler)
    sampled = rollout(chain, noise, conditioning)
    x0 = x0_chain(scheduler, 5)
    found = noise_gradient(chain, sampled, conditioning, cotangent=cotangent, x0=x0, gradient="natural")
    uniform = noise_gradient(chain, sampled, conditioning, cotangent=cotangent, x0=x0, gradient="uniform")

    scheduler.set_timesteps(5)
    before = scheduler.alphas_cumprod.double()[scheduler.timesteps].sqrt()
    alpha = torch.cat([before, scheduler.final_alpha_cumprod.double().sqrt()[None]])
    sigma = (1 - alpha**2).sqrt()
    leaf = noise.clone().requires_grad_()
    images = torch.arange(3)
    weight = [  # what each prediction adds to the next state, times what the steps after it leave of that
        (alpha[evaluation + 1] - sigma[evaluation + 1] * alpha[evaluation] / sigma[evaluation])
        * sigma[-1]
        / sigma[evaluation + 1]
        for evaluation in range(5)
    ]
    predictions = []
    for evaluation in range(5):
        state = sampled.states[evaluation] + sigma[evaluation] / sigma[0] * (leaf - noise)
        output = chain.predict(state, torch.full((3,), evaluation), conditioning, images)
        predictions.append((state - sigma[evaluation] * output) / alpha[evaluation])
    total = sigma[-1] / sigma[0] * leaf + sum(k * d for k, d in zip(weight, predictions, strict=True))
    expected = torch.autograd.grad(total, leaf, cotangent, retain_graph=True)[0]
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))  # float32 schedule
    flat = x0.weights("uniform")
    total = sigma[-1] / sigma[0] * leaf + sum(k * d for k, d in zip(flat, predictions, strict=True))
    expected = torch.autograd.grad(total, leaf, cotangent)[0]
    assert torch.allclose(uniform, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
