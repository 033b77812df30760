"""How much of what prompts lean to their text foretells: ``python benchmarks/foretold.py runs/audit --model MODEL``.

Of an audit of the unchanged model: a ridge regression of each prompt's share of a class on what the text encoder makes
of the prompt (mean over its tokens), each prompt predicted from the others. What is left over
estimates what a linear correction that reads the text alone would leave of prompts that it was not trained on. The
penalty is the one that predicts best, so the estimate is rather too low. Deviations are root mean squares over prompts,
without the noise of finitely many faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fairlit.diffusion.backbone import Backbone
from fairlit.results.audit import AuditResults
from fairlit.results.tables import markdown_table

_PENALTIES = torch.logspace(-4, 2, 25, dtype=torch.float64)  # relative to the mean square of the regressors


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, regress, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audit", type=Path, help="results.json of `fairlit audit`, or its folder")
    parser.add_argument("--model", required=True, help="that was audited: folder, file or hub id")
    options = parser.parse_args(arguments)
    found = AuditResults.read(options.audit).figures.with_faces
    if len(found) < 3:
        raise SystemExit(f"{options.audit}: faces in {len(found)} prompts; expected at least 3; audit more prompts")
    states = text_states(Backbone.load(options.model), [entry.prompt for entry in found])
    rows = [
        ["class", "prompts", "shares deviate from their mean by", "from what other prompts foretell by", "foretold"]
    ]
    for attribute, first in found[0].attributes.items():
        for label in first.frequencies:
            shares = torch.tensor([entry.attributes[attribute].frequencies[label].value for entry in found])
            faces = torch.tensor([entry.faces for entry in found])
            spread, left = (
                deviation(rest, shares, faces) for rest in (shares - shares.mean(), foretell(states, shares))
            )
            foretold = f"{1 - (left / spread) ** 2:.0%}" if spread else "-"
            rows.append([label, str(len(found)), f"{spread:.3f}", f"{left:.3f}", foretold])
    print(markdown_table(rows))


@torch.no_grad()
def text_states(backbone: Backbone, prompts: Sequence[str]) -> Tensor:
    """Return the mean of what the denoiser reads of each prompt over its tokens, float64 [N, D]."""
    return torch.stack([backbone.encode([prompt])["prompt_embeds"][0].double().mean(dim=0) for prompt in prompts])


def foretell(states: Tensor, shares: Tensor) -> Tensor:
    """Return what is left of each share when it is predicted from those of the other prompts.

    Args:
        states: [N, D], of the prompts.
        shares: [N], in [0, 1].

    Returns:
        [N], share minus prediction, at the penalty with the least sum of squares.
    """
    shares = shares.to(states)
    states = states - states.mean(dim=0)
    kernel = states @ states.T / states.square().sum(dim=1).mean()
    # Leave-one-out residuals of a linear smoother H are (y - H y) / (1 - diag H); 1 / N is the constant's part.
    count = len(shares)
    left = []
    for penalty in _PENALTIES:
        smoother = kernel @ torch.linalg.inv(kernel + penalty * torch.eye(count).to(kernel)) + 1 / count
        left.append((shares - smoother @ shares) / (1 - smoother.diagonal()))
    return min(left, key=lambda one: float(one.square().sum()))


def deviation(rest: Tensor, shares: Tensor, faces: Tensor) -> float:
    """Return the root mean square of deviations, less the variance that shares of finitely many faces have.

    Args:
        rest: [N], deviations of the shares from anything.
        shares: [N].
        faces: [N], at least 2 where they are to tell of their variance.
    """
    noise = shares * (1 - shares) / (faces - 1).clamp(min=1)
    return max(0.0, float(rest.square().mean() - noise.mean())) ** 0.5


if __name__ == "__main__":
    main()
