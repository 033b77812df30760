"""``fairlit edit``: finished images, brought to a target by regenerating as few faces as possible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairlit.commands.old_names import EDIT
from fairlit.commands.parsing import ConfigCommand
from fairlit.editing.config import EDITS, IMAGES, EditConfig

COMMAND = ConfigCommand(
    name="edit",
    config=EditConfig,
    description=(
        "Bring finished images to a target distribution: choose the fewest faces that have to change, regenerate\n"
        "each under a prompt that names what it is to show, and keep it if the classifier sees that. Everything else\n"
        "in the images stays bit-identical. Writes the images, edits.jsonl, results.json and before_after.png into\n"
        "another folder. Stopped or killed, the same command resumes with the first set that is not finished."
    ),
    examples=(
        "edit images --model stable-diffusion-v1-5 --classifier classifiers/lead --out edited \\\n"
        "    --target '{gender: {female: 0.5, male: 0.5}}' --template 'a photo of the face of a {words} person'",
        "edit images --config edit/landscape_groups --out edited",
        "edit images --config edit/landscape_groups --scope folder --out edited_as_one",
    ),
    positional={"folder": "?"},
    several=("prompt",),
    renamed=EDIT,
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit edit ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model is damaged.
    """
    config = COMMAND.parse(arguments)
    from fairlit.editing.edit import PICTURE, RESULTS, edit
    from fairlit.editing.summary import summary_lines
    from fairlit.io.foreign_text import on_one_line

    results = edit(config, command=COMMAND.line(arguments))
    out = Path(config.out or ".")
    for line in summary_lines(results):
        print(on_one_line(line))
    if (out / PICTURE).is_file():
        print(f"picture  {out / PICTURE}")
    print(f"images   {out / IMAGES}\nresults  {out / RESULTS}\nedits    {out / EDITS}")
