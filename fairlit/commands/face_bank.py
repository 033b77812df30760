"""``fairlit face-bank``: a bank of real faces' embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.commands.parsing import ConfigCommand
from fairlit.faces.bank_config import FaceBankConfig
from fairlit.io.wording import counted

SHOWN = 5
"""Number of skipped pictures that are named on the terminal; the file beside the bank names all."""

COMMAND = ConfigCommand(
    name="face-bank",
    config=FaceBankConfig,
    description=(
        "Embed a folder of real faces and store them as a face bank, for models.face_bank. Run again, it resumes.\n"
        "Give the same embedder as models.face_embedder. Use pictures only where those who are in them may be used so."
    ),
    examples=(
        "face-bank path/to/faces --embedder path/to/classifier --out face_bank.safetensors",
        "face-bank path/to/photos --detect --embedder path/to/classifier --out face_bank.safetensors",
        "face-bank path/to/faces --download vggface2 --embedder inception.safetensors --out face_bank.safetensors",
    ),
    positional={"folder": "?"},
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit face-bank ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: the embedder is damaged or cannot be fetched.
    """
    config = COMMAND.parse(arguments)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fairlit.faces.bank_building import build_face_bank
    from fairlit.io.foreign_text import on_one_line

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        report = build_face_bank(config, progress)
    for name, reason in list(report.skipped.items())[:SHOWN]:
        print(f"skipped     {on_one_line(f'{name}: {reason}')}")
    if len(report.skipped) > SHOWN:
        print(f"skipped     {len(report.skipped)} pictures in all, see {config.out}.skipped.json")
    print(f"face bank   {config.out}: {counted(report.faces, 'face')}")
