"""Fills a face bank from a folder of pictures; goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from rich.progress import Progress
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from fairlit.errors import ConfigurationError, Problems
from fairlit.faces.bank import FaceBank
from fairlit.faces.bank_config import FaceBankConfig
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector import FaceDetectorBase
from fairlit.faces.detector_files import load_detector
from fairlit.faces.embedding import FaceEmbedder, download_inception_resnet, load_embedder
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.devices import choose_device
from fairlit.io.file_status import file_mark
from fairlit.io.finiteness import require_finite
from fairlit.io.foreign_text import parsed
from fairlit.io.output_places import check_writable
from fairlit.pictures.batches import read_batches
from fairlit.pictures.files import SUFFIXES, read_image

NO_FACE = "no face found"


@dataclass(frozen=True)
class Report:
    """What became of the pictures.

    Attributes:
        faces: number of faces in the bank.
        skipped: picture (path within the folder) -> why it is not in the bank.
    """

    faces: int
    skipped: dict[str, str]


def build_face_bank(config: FaceBankConfig, progress: Progress) -> Report:
    """Embed a folder of real faces and store them as a face bank, for `models.face_bank`.

    An interrupted run resumes. Use pictures only where those who are in them may be used so.

    Args:
        config: settings. Everything in it is checked before a model is loaded.
        progress: display of the progress bar.

    Returns:
        The number of faces, and the pictures that were skipped.

    Raises:
        ConfigurationError: the settings are wrong, or no picture gives a face.
        CheckpointError: the embedder is damaged or cannot be fetched.
    """
    with Problems("face-bank") as problems:
        for name, what in (("folder", "the folder of pictures"), ("embedder", "--embedder"), ("out", "--out, a file")):
            if getattr(config, name) is None:
                problems.add(f"{name}: got nothing; give {what}")
        if config.out is not None:
            check_writable(config.out, "out", problems, folder=False)
        if not config.detect and config.detection != FaceDetection():
            problems.add("detection: got settings, but faces are not looked for; give --detect too")
        problems.at_least("batch_size", config.batch_size, 1)
        device = choose_device(config.device, problems)
        if config.folder is not None:
            with problems.collecting():
                find_pictures(Path(config.folder))
    assert config.folder is not None
    assert config.embedder is not None
    assert config.out is not None
    if config.download is not None and not Path(config.embedder).exists():
        download_inception_resnet(config.download, config.embedder)
    embedder = load_embedder(config.embedder).to(device)
    detector = load_detector(detection=config.detection).to(device) if config.detect else None
    return build_bank(
        config.folder, embedder, config.out, progress=progress, detector=detector, batch_size=config.batch_size
    )


def build_bank(
    folder: str | Path,
    embedder: FaceEmbedder,
    out: str | Path,
    *,
    progress: Progress,
    detector: FaceDetectorBase | None = None,
    batch_size: int = 64,
    part_size: int = 2048,
) -> Report:
    """Embeds every picture below a folder and writes a `FaceBank`.

    What is done is kept beside `out`, part by part, until the bank is whole: the same call goes on after an
    interruption. It begins anew if pictures, embedder or detection have changed.

    Args:
        folder: Where the pictures are, at any depth; hidden ones are left alone.
        embedder: What embeds them; it stays on its device.
        out: The bank's file.
        progress: Where to show a bar.
        detector: Finds the largest face of each picture, which is then cropped as the embedder wants it; None: the
            middle square of each picture is an aligned face.
        batch_size: Pictures embedded together.
        part_size: Pictures of a part.

    Returns:
        How many faces there are, and which pictures were skipped and why; also written beside `out`, as
        `NAME.skipped.json`.

    Raises:
        ConfigurationError: There is no picture, or no face in any.
    """
    root, target = Path(folder), Path(out)
    files = find_pictures(root)
    parts = [files[start : start + part_size] for start in range(0, len(files), part_size)]
    workplace = _open_workplace(target, _fingerprint(root, files, embedder, detector=detector, part_size=part_size))
    bar = progress.add_task("faces", total=len(files))
    for number, part in enumerate(parts):
        file = workplace / f"{number:06d}.safetensors"
        if _read_part(file, embedder.dim) is None:
            _embed_part(root, part, embedder, detector=detector, batch_size=batch_size, file=file)
        progress.update(bar, advance=len(part))
    embeddings, skipped = _collect(workplace, len(parts), embedder.dim)
    report = Report(len(embeddings), skipped)
    atomic_write_text(target.with_name(f"{target.name}.skipped.json"), json.dumps(skipped, indent=2) + "\n")
    if not report.faces:
        raise ConfigurationError(
            f"folder is {str(root)!r}, whose {len(files)} pictures gave no face ({_why(skipped)}): give other "
            "pictures, or where faces are looked for a larger detection.scale"
        )
    FaceBank(embeddings, embedder.identifier).save(target)
    shutil.rmtree(workplace)
    return report


def find_pictures(root: Path) -> list[str]:
    """Paths of all pictures below a folder, relative to it, sorted.

    Raises:
        ConfigurationError: There is no such folder, or no picture in it.
    """
    paths = (path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    if not files:
        raise ConfigurationError(
            f"folder is {str(root)!r}, which has no picture ({', '.join(SUFFIXES)}): give a folder of faces"
        )
    return files


def _fingerprint(
    root: Path, files: Sequence[str], embedder: FaceEmbedder, *, detector: FaceDetectorBase | None, part_size: int
) -> str:
    """Changes with everything on which the parts depend: sizes and times stand for the pictures' contents."""
    listing = [[file, *file_mark(root / file)[1:]] for file in files]
    names = ("settings", "thresholds")
    detection = None if detector is None else [repr(getattr(detector, name, None)) for name in names]
    content = [read_image.__name__, listing, embedder.identifier, repr(embedder.settings), detection, part_size]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _open_workplace(target: Path, fingerprint: str) -> Path:
    """The folder of parts beside the bank; parts of anything else are thrown away."""
    workplace = target.with_name(f".{target.name}.parts")
    note = workplace / "fingerprint"
    if workplace.exists() and not (note.exists() and note.read_text(errors="replace") == fingerprint):
        shutil.rmtree(workplace)
    atomic_write_text(note, fingerprint)
    return workplace


@torch.no_grad()
def _embed_part(
    root: Path,
    files: Sequence[str],
    embedder: FaceEmbedder,
    *,
    detector: FaceDetectorBase | None,
    batch_size: int,
    file: Path,
) -> None:
    """Embeds some pictures and writes their embeddings, with what was skipped in the header."""
    device = next(embedder.parameters()).device
    rows = [torch.zeros(0, embedder.dim)]
    skipped: dict[str, str] = {}
    size = None if detector else embedder.size
    for batch in read_batches(root, files, batch_size=batch_size, read=partial(_read, size=size)):
        skipped |= {name: f"cannot be read ({reason})" for name, reason in batch.refused.items()}
        if not batch.files:
            continue
        images = torch.stack(batch.pictures).to(device).float().div_(255)
        if detector is None:
            embedded = functional.normalize(embedder.features(images), dim=-1)
            rows.append(require_finite(embedded, f"face embedder: {batch.files[0]} and those after it").cpu())
            continue
        faces = detector(images).largest()
        embedded = embedder.embed(images, faces)
        rows.append(require_finite(embedded, f"face embedder: {batch.files[0]} and those after it").cpu())
        for name, found in zip(batch.files, faces.has_face.tolist(), strict=True):
            if not found:
                skipped[name] = NO_FACE
    with atomic_path(file) as temporary:
        save_file({"embeddings": torch.cat(rows).contiguous()}, temporary, {"skipped": json.dumps(skipped)})


def _read(path: Path, size: int | None) -> Tensor:
    image = Image.fromarray(read_image(path).permute(1, 2, 0).numpy())
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)  # the middle square of what is not square
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _read_part(file: Path, width: int) -> tuple[Tensor, dict[str, str]] | None:
    """Embeddings of a part, and what was skipped; None where there is none, or it is damaged."""
    try:
        with safe_open(file, framework="pt") as opened:
            rows, skipped = opened.get_tensor("embeddings"), parsed((opened.metadata() or {}).get("skipped", ""))
    except (SafetensorError, OSError):
        return None
    sound = rows.dtype == torch.float32 and rows.shape[1:] == (width,) and bool(rows.isfinite().all())
    return (rows, skipped) if sound and isinstance(skipped, dict) else None


def _collect(workplace: Path, parts: int, width: int) -> tuple[Tensor, dict[str, str]]:
    rows: list[Tensor] = []
    skipped: dict[str, str] = {}
    for number in range(parts):
        part = _read_part(workplace / f"{number:06d}.safetensors", width)
        assert part is not None  # written, or found whole, a moment ago
        rows.append(part[0])
        skipped |= part[1]
    return torch.cat(rows), skipped


def _why(skipped: dict[str, str]) -> str:
    name, reason = next(iter(skipped.items()))
    return f"{name}: {reason}"
