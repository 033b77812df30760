"""``fairlit export``: an adaptor in the files of other tools, or merged into its base model."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.adaptors.export_config import ExportConfig
from fairlit.commands.old_names import EXPORT
from fairlit.commands.parsing import ConfigCommand

COMMAND = ConfigCommand(
    name="export",
    config=ExportConfig,
    description="Write an adaptor for other tools, or merge it into its base model; published weights are read too.",
    examples=(
        "export runs/demo/adaptor_ema --to kohya --out exports/kohya",
        "export runs/demo/adaptor_ema --merge --out exports/merged",
        "export --published text_encoder_lora_EMA.pth --to kohya --base stable-diffusion-v1-5 --out exports/shen",
    ),
    positional={"adaptor": "?"},
    several=("published",),
    renamed=EXPORT,
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit export ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: the adaptor is damaged, or belongs to another model.
    """
    config = COMMAND.parse(arguments)
    from fairlit.adaptors.exporting import export
    from fairlit.io.foreign_text import shortened

    results = export(config)
    print(f"read     {results.source}: {results.contents}")
    if config.merge:
        print(f"merged   into {results.base}, in float32; read back, every layer is the sum")
    elif results.checked:
        print(f"checked  against {results.base}: the stock reader gives back every update")
    else:
        print(f"         not checked: {shortened(results.base_model)} is not on this machine; give --base")
    for file in results.files:
        print(f"wrote    {file}")
