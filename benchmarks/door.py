"""Print what opening the door costs: CPU seconds and peak memory of short commands, medians of several runs.

Run it in an idle machine's checkout, with another checkout to compare with:

    python benchmarks/door.py --against ../fairlit-before --runs 5

Both checkouts are run by this Python, each with its own folder first on the path. Ten images are generated once with
the example model, before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "checkpoints" / "miniature"
PROMPTS = ("a photo of the face of a farmer", "a photo of the face of a nurse")
TARGET = "{gender: {female: 0.5, male: 0.5}}"


@dataclass(frozen=True)
class Cost:
    """What a process has cost: CPU seconds of user and system, and peak memory in MB."""

    seconds: float
    memory: float


def lines(images: Path, scratch: Path) -> dict[str, list[str]]:
    """Return the measured command lines, as arguments of Python, by their titles in the table."""
    fairlit = ["-m", "fairlit.cli"]
    report = str(scratch / "report-{run}")
    classifier = str(MODELS / "classifier_audit")
    return {
        "`fairlit --help`": [*fairlit, "--help"],
        "`fairlit audit --help`": [*fairlit, "audit", "--help"],
        "a wrong argument": [*fairlit, "audit", str(images), "--tolerence", "0.1"],
        "`fairlit audit`, ten images": [
            *(*fairlit, "audit", str(images), "--classifier", classifier, "--target", TARGET, "--out", report)
        ],
        "`import fairlit.functional`": ["-c", "import fairlit.functional"],
        "the same, and every name of it": [
            "-c",
            "import fairlit.functional as f; [getattr(f, name) for name in f.__all__]",
        ],
    }


def measure(arguments: list[str], checkout: Path, folder: Path, run: int) -> Cost:
    """Return what one process costs.

    Args:
        arguments: arguments of Python; ``{run}`` in them stands for the number of the run.
        checkout: checkout whose fairlit is imported.
        folder: working folder, which holds no fairlit.
        run: number of the run.
    """
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *(argument.replace("{run}", str(run)) for argument in arguments)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, _, usage = os.wait4(process.pid, 0)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median_cost(arguments: list[str], checkout: Path, folder: Path, runs: int) -> Cost:
    """Return the medians over several processes, after one that warms the disk cache."""
    costs = [measure(arguments, checkout, folder, run) for run in range(runs + 1)][1:]
    return Cost(statistics.median(cost.seconds for cost in costs), statistics.median(cost.memory for cost in costs))


def generate_images(folder: Path) -> Path:
    """Return a folder with ten images of the example model."""
    images = folder / "images"
    settings = ["--model", str(MODELS / "pipeline"), "--images", "5", "--steps", "5", "--out", str(images)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "fairlit.cli", "generate", *PROMPTS, *settings]
    subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    return images


def table(here: dict[str, Cost], there: dict[str, Cost]) -> str:
    """Return a Markdown table of costs, beside those of another checkout where there are any."""
    rows = ["| | CPU s | MB |", "|---|---|---|"]
    if there:
        rows = ["| | CPU s before | CPU s | share | MB before | MB | share |", "|---|---|---|---|---|---|---|"]
    for title, cost in here.items():
        if there:
            old = there[title]
            seconds = f"{old.seconds:.2f} | {cost.seconds:.2f} | {cost.seconds / old.seconds:.3f}"
            memory = f"{old.memory:.0f} | {cost.memory:.0f} | {cost.memory / old.memory:.3f}"
            rows.append(f"| {title} | {seconds} | {memory} |")
        else:
            rows.append(f"| {title} | {cost.seconds:.2f} | {cost.memory:.0f} |")
    return "\n".join(rows)


def main(args: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of fairlit")
    parser.add_argument("--runs", type=int, default=5, help="processes for each median")
    parser.add_argument("--only", help="measure the lines whose title holds this text")
    given = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        if given.only is None or "audit" in given.only or "ten" in given.only:
            images = generate_images(folder)
        here, there = {}, {}
        for title, arguments in lines(images, folder).items():
            if given.only is not None and given.only not in title:
                continue
            here[title] = median_cost(arguments, ROOT, folder, given.runs)
            if given.against is not None:
                old = [argument.replace("report-", "before-") for argument in arguments]
                there[title] = median_cost(old, given.against.resolve(), folder, given.runs)
    print(table(here, there))


if __name__ == "__main__":
    main()
