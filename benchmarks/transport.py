"""Print how many seconds of CPU `expected_assignment` takes: `python benchmarks/transport.py`.

Faces get random probabilities for gender, four races and age, so 16 joint classes, with 100 draws as in finetuning.
Each figure is the median of some runs after one that is not counted. To measure another version, put its folder into
PYTHONPATH.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from fairlit.functional import TargetDistribution
from fairlit.functional.alignment.transport import expected_assignment

SHARES = {
    "gender": {"female": 0.5, "male": 0.5},
    "race": {"WMELH": 0.25, "Black": 0.25, "Indian": 0.25, "Asian": 0.25},
    "age": {"young": 0.75, "old": 0.25},
}


def seconds(faces: int, runs: int) -> float:
    """Return the median of the CPU seconds that one call takes."""
    generator = torch.Generator().manual_seed(faces)
    probabilities = {
        attribute: (2 * torch.randn(faces, len(classes), generator=generator)).softmax(dim=1)
        for attribute, classes in SHARES.items()
    }
    target = TargetDistribution(SHARES)
    times = []
    for _ in range(runs + 1):
        start = time.process_time()
        expected_assignment(probabilities, target, draws=100)
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Read the command line and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=[12, 40, 200], help="numbers of faces")
    parser.add_argument("--runs", type=int, default=9, help="number of runs per figure")
    arguments = parser.parse_args()
    print("| faces | CPU seconds |\n| ---: | ---: |")
    for faces in arguments.faces:
        print(f"| {faces} | {seconds(faces, arguments.runs):.4f} |")


if __name__ == "__main__":
    main()
