"""Which prompts are certainly far from the target: ``python benchmarks/far_prompts.py runs/demo --distance 0.15``.

For each run that `fairlit test` has judged, each of its attributes with two classes and each prompt: the exact binomial
test of the hypothesis that the share of the first class lies no further than the distance from its target, adjusted by
Holm's method over the prompts. Prints the prompts whose shares are farthest; those certainly beyond the distance have
an adjusted p-value of 0.05 or less.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from scipy.stats import binom

from fairlit.functional import holm
from fairlit.results.run import RunSummary
from fairlit.results.tables import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, test, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="folders of runs, or their summary.json")
    parser.add_argument("--distance", type=float, default=0.15, help="of a share to its target")
    parser.add_argument("--most", type=int, default=5, help="prompts that are shown of each run")
    options = parser.parse_args(arguments)
    rows = [["run", "prompt", "class", "faces", "share before", "share after", "p, adjusted"]]
    for path in options.runs:
        run = RunSummary.read(path)
        for attribute, figures in run.after.distribution.attributes.items():
            if len(figures.target) == 2:
                rows += [[str(path), *row] for row in _rows(run, attribute, options.distance)[: options.most]]
    print(markdown_table(rows))


def _rows(run: RunSummary, attribute: str, distance: float) -> list[list[str]]:
    """Return a row for each prompt with faces, those of the smallest p-values first."""
    label, wanted = next(iter(run.after.distribution.attributes[attribute].target.items()))
    before = {entry.prompt: entry for entry in run.before.distribution.per_prompt}
    found = run.after.distribution.with_faces
    shares = [entry.attributes[attribute].frequencies[label].value for entry in found]
    p_values = [beyond(round(s * e.faces), e.faces, wanted, distance) for s, e in zip(shares, found, strict=True)]
    tested = zip(holm(p_values).tolist(), found, shares, strict=True)
    return [
        [
            entry.prompt,
            label,
            str(entry.faces),
            f"{before[entry.prompt].attributes[attribute].frequencies[label].value:.3f}",
            f"{share:.3f}",
            f"{p_value:.3f}",
        ]
        for p_value, entry, share in sorted(tested, key=lambda one: (one[0], -abs(one[2] - wanted)))
    ]


def beyond(count: int, faces: int, wanted: float, distance: float) -> float:
    """Return the p-value of the hypothesis that a share lies no further than a distance from the one wanted.

    Args:
        count: faces of the class.
        faces: faces in all.
        wanted: share that is wanted.
        distance: of the true share to it, at most.
    """
    above = float(binom.sf(count - 1, faces, min(wanted + distance, 1.0)))
    below = float(binom.cdf(count, faces, max(wanted - distance, 0.0)))
    return min(1.0, 2 * min(above, below))


if __name__ == "__main__":
    main()
