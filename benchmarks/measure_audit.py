"""Audits many drawn faces and prints time and peak memory: ``python benchmarks/measure_audit.py --images 8000``.

The drawings of the miniature's world, over and over, in the published layout; the miniature's auditing classifier.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image

from fairlit.cli import main as fairlit
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.world import balanced_scene

TARGET = "{gender: {female: 0.5, male: 0.5}, skin_tone: {light: 0.25, tan: 0.25, brown: 0.25, dark: 0.25}}"
CLASSIFIER = "checkpoints/miniature/classifier_audit"


def write_images(folder: Path, images: int, prompts: int, distinct: int, size: int) -> None:
    """Drawn faces as PNG files, `prompt_N/img_M.png`."""
    sources = []
    for number in range(distinct):
        path = folder / f".{number}.png"
        picture = Image.fromarray(draw_scene(balanced_scene(11, number)).pixels)
        picture.resize((size, size), Image.Resampling.BICUBIC).save(path)
        sources.append(path)
    for number in range(images):
        target = folder / f"prompt_{number % prompts}" / f"img_{number // prompts}.png"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(sources[number % distinct], target)


def main() -> None:
    """Draws, audits, reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--prompts", type=int, default=80)
    parser.add_argument("--distinct", type=int, default=199, help="different drawings")
    parser.add_argument("--size", type=int, default=64, help="side in pixels")
    parser.add_argument("--enlarge", type=float, default=1.0, help="before the detector looks")
    parser.add_argument("--out", type=Path, help="keep report and images here")
    given = parser.parse_args()
    root = given.out or Path(tempfile.mkdtemp())
    (root / "images").mkdir(parents=True, exist_ok=True)
    write_images(root / "images", given.images, given.prompts, given.distinct, given.size)
    started, used = time.monotonic(), time.process_time()
    arguments = ["--target", TARGET, "--classifier", CLASSIFIER, "--detector.enlarge", str(given.enlarge)]
    fairlit(["audit", str(root / "images"), "--out", str(root / "audit"), "--batch_size", "32", *arguments])
    wall, cpu = time.monotonic() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{given.images} images: {wall:.0f} s ({cpu:.0f} s of processor time), {peak:.2f} GiB at most")
    if given.out is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
