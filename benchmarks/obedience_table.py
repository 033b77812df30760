"""What becomes of the classes that a method deals out: ``python benchmarks/obedience_table.py runs/compare/gender``.

Attribute words and Fair Diffusion give every image of a prompt a class, so that the target's shares hold over the set.
What is seen can still miss the target: where images lose their faces, or are not perceived as what they were to show.
Prints, for each such method of a finished `fairlit compare` and each class, both shares.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from fairlit.auditing.outputs import PER_IMAGE
from fairlit.data.prompts.class_words import phrases
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import Chunk
from fairlit.mitigation.class_words import joint_labels
from fairlit.results.comparison import ComparisonResults
from fairlit.results.tables import markdown_table

DEALING = ("attribute words", "Fair Diffusion")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, count, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="folder of a finished comparison")
    folder = parser.parse_args(arguments).comparison
    results = ComparisonResults.read(folder)
    target = TargetDistribution.from_dict(results.target)
    names = phrases({}, target)
    rows = [["method", "dealt", "images", "with a face", "perceived as dealt, of these"]]
    with (folder / PER_IMAGE).open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    for method, found in results.methods.items():
        settings = found.settings
        if settings["name"] not in DEALING:
            continue
        dealt, faces, obeyed = (defaultdict[int, int](int) for _ in range(3))
        for line in (line for line in lines if line["folder"] == method):
            chunk = Chunk(line["prompt"], [int(line["number"])], results.images)
            cell = int(joint_labels(chunk, target, settings["seed"])[0])
            dealt[cell] += 1
            if line["status"] == "face":
                faces[cell] += 1
                obeyed[cell] += perceived_cell(line, target) == cell
        for cell, name in enumerate(names):
            if dealt[cell]:
                seen = f"{faces[cell] / dealt[cell]:.3f}"
                rows.append([method, name, str(dealt[cell]), seen, f"{obeyed[cell] / max(faces[cell], 1):.3f}"])
    print(markdown_table(rows))


def perceived_cell(line: dict[str, str], target: TargetDistribution) -> int:
    """Place in the flattened table of `target` of the most probable class of each attribute."""
    cell = 0
    for attribute, classes in target.classes.items():
        probabilities = [float(line[f"{attribute}:{name}"]) for name in classes]
        cell = cell * len(classes) + probabilities.index(max(probabilities))
    return cell


if __name__ == "__main__":
    main()
