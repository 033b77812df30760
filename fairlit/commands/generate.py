"""``fairlit generate``: images for prompts, by the model alone, an adaptor or another method."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.commands.method_names import METHODS
from fairlit.commands.parsing import ConfigCommand
from fairlit.generation.config import GenerateConfig

COMMAND = ConfigCommand(
    name="generate",
    config=GenerateConfig,
    description=(
        "Generate images. The parameters of each are in its PNG file and in manifest.jsonl.\n"
        "Stopped or killed, the same command resumes; no image is made twice."
    ),
    examples=(
        'generate "a photo of a chef" --model stable-diffusion-v1-5 --images 8 --out images',
        "generate --prompts prompts.txt --model stable-diffusion-v1-5 --adaptor runs/fair/adaptor_ema --out images",
        "generate --prompts prompts.txt --model stable-diffusion-v1-5 --method attribute_words \\\n"
        "    --target '{gender: {female: 0.5, male: 0.5}}' --out images",
    ),
    positional={"prompt": "*"},
    shorthands={"method": METHODS},
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit generate ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model or adaptor is damaged.
    """
    config = COMMAND.parse(arguments)
    from fairlit.generation.generate import generate

    results = generate(config)
    print(f"manifest {results.manifest}")
