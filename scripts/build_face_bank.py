"""Embeds a folder of real faces and stores them as a face bank, for `models.face_bank`. Run again, it goes on.

    python scripts/build_face_bank.py path/to/faces --embedder path/to/classifier --out face_bank.safetensors

The pictures are aligned faces, framed as the embedder's crops are; `--detect` finds and crops faces in any pictures
with the detector that finetuning uses. Give the same embedder as `models.face_embedder`. Use pictures only where those
who are in them may be used so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fairlit.errors import FairlitError
from fairlit.faces import FaceDetector
from fairlit.faces.bank_building import Report, build_bank
from fairlit.faces.embedding import DOWNLOADS, download_inception_resnet, load_embedder

SHOWN = 5


def build(arguments: argparse.Namespace) -> Report:
    """What the command line asks for."""
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.download and not Path(arguments.embedder).exists():
        download_inception_resnet(arguments.download, arguments.embedder)
    embedder = load_embedder(arguments.embedder).to(device)
    detector = (
        FaceDetector(min_size=arguments.min_face_size, scale=arguments.enlarge).to(device) if arguments.detect else None
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        return build_bank(
            arguments.folder, embedder, arguments.out, progress, detector=detector, batch_size=arguments.batch_size
        )


def main(args: list[str] | None = None) -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures, at any depth")
    parser.add_argument(
        "--embedder", required=True, help="a classifier's folder, or a file of InceptionResnetV1's weights"
    )
    parser.add_argument("--out", type=Path, required=True, help="the bank's file")
    parser.add_argument("--download", choices=DOWNLOADS, help="fetch InceptionResnetV1's weights to --embedder first")
    parser.add_argument("--detect", action="store_true", help="find the largest face of each picture and crop it")
    parser.add_argument("--min-face-size", type=float, default=20.0, help="for --detect, as detection.min_face_size")
    parser.add_argument("--enlarge", type=float, default=1.0, help="for --detect, as detection.enlarge")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures embedded together")
    parser.add_argument("--device", help="by default a GPU if there is one")
    arguments = parser.parse_args(args)
    try:
        report = build(arguments)
    except FairlitError as error:
        parser.exit(2, f"fairlit: {error}\n")
    for name, reason in list(report.skipped.items())[:SHOWN]:
        print(f"skipped     {name}: {reason}")
    if len(report.skipped) > SHOWN:
        print(f"skipped     {len(report.skipped)} pictures in all, see {arguments.out}.skipped.json")
    print(f"face bank   {arguments.out}: {report.faces} faces")


if __name__ == "__main__":
    main()
