"""What the paper's experiments cost in U-Net work, counted and not run: `python benchmarks/experiment_costs.py`.

Operations of one forward and one backward pass are counted on a U-Net of Stable Diffusion's size without content, the
numbers of images and steps are those of configs/paper. With `--tflops` also the hours on a GPU that sustains so many.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from diffusers import UNet2DConditionModel
from random_sd15 import TEXT_ENCODER, UNET
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

CONFIGS = Path(__file__).parents[1] / "configs" / "paper"
TOKENS = 16  # of the paper's prompts, padded to the longest of a batch
# Forwards and backwards of a step in units of 2nS: n images, S solver steps, with and without the prompt.
WAYS = {
    "published": (4.0, 1.0),  # targets, originals, sampling with gradient, recomputation
    "replay": (3.0, 1.0),  # sampling, originals, replay
    "originals remembered": (2.0, 1.0),
    "and a quarter of the steps": (1.25, 0.25),
}


def unet_operations() -> tuple[int, int]:
    """Floating-point operations of a forward pass of one latent of 64 x 64, and of its backward pass.

    Gradients go to the text embeddings alone, as adaptors in the text encoder and soft tokens need them.
    """
    with FakeTensorMode():
        unet = UNet2DConditionModel(**UNET).requires_grad_(False)
        latents = torch.zeros(1, 4, UNET["sample_size"], UNET["sample_size"])
        text = torch.zeros(1, TOKENS, TEXT_ENCODER["hidden_size"], requires_grad=True)
        with FlopCounterMode(display=False) as forward:
            output = unet(latents, torch.zeros(1), text).sample
        with FlopCounterMode(display=False) as backward:
            output.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, counts, prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tflops", type=float, help="sustained by the GPU, for hours beside operations")
    options = parser.parse_args(arguments)
    forward, backward = unet_operations()
    unit = "EFLOP" if options.tflops is None else f"hours at {options.tflops:g} TFLOP/s"
    print(f"U-Net, one latent of 64 x 64: forward {forward / 1e12:.3f} TFLOP, backward {backward / 1e12:.3f} TFLOP")
    print(f"U-Net work of whole runs, adaptor in the text encoder, in {unit}:\n")
    print(f"| experiment | images | steps | {' | '.join(WAYS)} |")
    print("|" + "---|" * (3 + len(WAYS)))
    for path in sorted(CONFIGS.glob("exp[0-9].yaml")):
        images, solver_steps, steps = _numbers(path)
        calls = 2 * images * solver_steps * steps
        work = [calls * (way[0] * forward + way[1] * backward) for way in WAYS.values()]
        scale = 1e18 if options.tflops is None else options.tflops * 1e12 * 3600
        cells = [path.stem.removeprefix("exp"), str(images), f"{steps:,}", *(f"{flops / scale:.1f}" for flops in work)]
        print(f"| {' | '.join(cells)} |")


def _numbers(path: Path) -> tuple[int, float, int]:
    """Images of a prompt, mean number of solver steps, steps of the optimiser."""
    shared, own = (yaml.safe_load(file.read_text()) for file in (CONFIGS / "sd15.yaml", path))
    sampling = shared["model"]["init_args"]["sampling"]
    mean = (sampling["min_steps"] + sampling["max_steps"]) / 2
    return own["data"]["init_args"]["images_per_prompt"], mean, own["trainer"]["max_steps"]


if __name__ == "__main__":
    main()
