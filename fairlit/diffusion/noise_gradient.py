"""The gradient of a finished rollout with respect to its initial noise, one model evaluation at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.diffusion.chain import Chain, Conditioning
from fairlit.diffusion.rollout import Rollout
from fairlit.functional.sampling.x0_chain import NoiseGradient, X0Chain


def noise_gradient(
    chain: Chain,
    sampled: Rollout,
    conditioning: Conditioning,
    *,
    cotangent: Tensor,
    x0: X0Chain,
    gradient: NoiseGradient = "uniform",
    max_batch: int | None = None,
) -> Tensor:
    """Bring dL/dx_S back to dL/dz.

    With the notation of `functional.x0_chain`, the cotangent of a prediction d_t is, in ``full``,
    sum_{s>t} states[s, 1 + t] xbar_s, where xbar_S = dL/dx_S and xbar_s is the cotangent of the state x_s as the model
    was given it; else it is w_t dL/dx_S alone. The result is sum_s states[s, 0] xbar_s. Either repeats each evaluation
    of the chain once with gradient, in the memory of a single one; ``full`` is what `rollout.full_graph` gives.

    Args:
        chain: the chain that `sampled` came from.
        sampled: the rollout of N images.
        conditioning: prompts of the N images.
        cotangent: dL/dx_S [N, C, h, w].
        x0: the chain's solver in x0 predictions.
        gradient: which gradient.
        max_batch: at most so many images go through the model at once; None: all.

    Returns:
        dL/dz [N, C, h, w].
    """
    states = x0.states.tolist()
    weights = None if gradient == "full" else x0.weights(gradient).tolist()
    last = len(states) - 1
    arrived = {last: cotangent}
    for evaluation in reversed(range(last)):
        if weights is not None:
            through = weights[evaluation] * cotangent
        else:
            through = sum((states[later][1 + evaluation] * found for later, found in arrived.items()), 0.0 * cotangent)
        products = _products(chain, sampled, conditioning, evaluation=evaluation, through=through, max_batch=max_batch)
        arrived[evaluation] = float(x0.from_state[evaluation]) * through + float(x0.from_output[evaluation]) * products
    return sum((states[evaluation][0] * found for evaluation, found in arrived.items()), 0.0 * cotangent)


def _products(
    chain: Chain,
    sampled: Rollout,
    conditioning: Conditioning,
    *,
    evaluation: int,
    through: Tensor,
    max_batch: int | None,
) -> Tensor:
    """Return the vector-Jacobian products (d o_t / d x_t)^T of one evaluation for all images, [N, C, h, w]."""
    images = torch.arange(len(through), device=through.device)
    parts = []
    for chosen in images.split(max_batch or max(len(images), 1)):
        with torch.enable_grad():
            states = sampled.states[evaluation, chosen].detach().requires_grad_()
            outputs = chain.predict(states, torch.full_like(chosen, evaluation), conditioning, chosen)
        parts.append(torch.autograd.grad(outputs, states, through[chosen])[0])
    return torch.cat(parts)
