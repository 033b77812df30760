"""Shows the checks of a miniature, and writes them beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fairlit.io.atomic import atomic_write_text

Row = tuple[str, float, float, bool]


def requirements(figures: dict[str, Any]) -> list[Row]:
    """What is required of a miniature: (what, required, measured, met)."""
    accuracies = [value for row in figures["accuracy"].values() for value in row.values()]
    rows = [
        ("PSNR of the autoencoder on held-out drawings, dB", 24.0, figures["vae_psnr"]),
        ("share of generated pictures in which MTCNN finds a face", 0.95, figures["face_rate"]),
        ("least accuracy of all classifiers, any attribute, drawings and passed drawings", 0.97, min(accuracies)),
        ("least obeyed attribute word, share of pictures", 0.90, min(figures["word_obeyed"].values())),
        ("gender bias of the test occupations", 0.5, figures["gender_bias"]["test"]),
        (
            "share of generated faces of whose gender all classifiers say the same",
            0.97,
            figures["agreement"]["gender"],
        ),
    ]
    rows_met = [(what, least, value, value >= least) for what, least, value in rows]
    return [*rows_met, ("size of all files, MB", 40.0, figures["size_mb"], figures["size_mb"] < 40.0)]


def readme(figures: dict[str, Any]) -> str:
    """The README.md of checkpoints/miniature."""
    lines = [
        "# The miniature",
        "",
        "Small but real models of a drawn world, biased on purpose. Built by `python scripts/build_miniature.py`;",
        "the shares below are made up (`fairlit_miniature/occupations.csv`) and say nothing about real people.",
        "Attributes of generated people are what `classifier_audit` perceives, and it errs.",
        "",
        f"Sampling: {figures['sampling']['solver']}, {figures['sampling']['steps']} steps, "
        f"guidance {figures['sampling']['guidance_scale']}. All figures: `checks.json`.",
        "",
        "| check | required | measured | met |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {what} | {least:g} | {value:g} | {'yes' if met else 'no'} |"
        for what, least, value, met in requirements(figures)
    ]
    lines += [
        "",
        "| occupation | split | P(male), world | P(male), generated | P(young), world | P(young), generated |",
    ]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, row in figures["occupations"].items():
        gender, age = row["gender"], row["age"]
        lines.append(
            f"| {name} | {row['split']} | {gender['world'][1]:.2f} | {gender['generated'][1]:.2f} "
            f"| {age['world'][0]:.2f} | {age['generated'][0]:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def write_report(figures: dict[str, Any], folder: Path) -> None:
    """Writes checks.json and README.md."""
    atomic_write_text(folder / "checks.json", json.dumps(figures, indent=1) + "\n")
    atomic_write_text(folder / "README.md", readme(figures))


def show_report(figures: dict[str, Any], console: Console | None = None) -> None:
    """Prints the checks."""
    table = Table("check", "required", "measured", "met", title="Miniature")
    for what, least, value, met in requirements(figures):
        table.add_row(what, f"{least:g}", f"{value:g}", "yes" if met else "NO")
    console = console or Console()
    console.print(table)
    console.print("accuracy:", figures["accuracy"])
    console.print("words obeyed:", figures["word_obeyed"], "people found:", figures["people_found"])
    console.print(
        "distance of frequencies to the world's:", figures["distance_to_world"], "bias:", figures["gender_bias"]
    )
