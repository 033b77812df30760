"""Fills a face bank from a folder of pictures; goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from fairlit.faces.bank import FaceBank, read_made_with
from fairlit.faces.bank_config import FaceBankConfig
from fairlit.faces.classifier_files import classifier_digest
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector import FaceDetectorBase
from fairlit.faces.detector_files import load_detector
from fairlit.faces.embedding import FaceEmbedder, download_inception_resnet, load_embedder
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.devices import choose_device
from fairlit.io.digests import file_digest, text_digest
from fairlit.io.file_status import file_mark
from fairlit.io.finiteness import require_finite
from fairlit.io.foreign_text import parsed
from fairlit.io.output_places import check_writable
from fairlit.pictures.batches import read_batches
from fairlit.pictures.files import SUFFIXES, read_image

_LOG = logging.getLogger(__name__)

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

    An interrupted run resumes, and a bank of the very same pictures and settings is left as it is. Use pictures only
    where those who are in them may be used so.

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
        is_there = not problems.messages and not config.overwrite and _is_there(config, problems)
    assert config.folder is not None
    assert config.embedder is not None
    assert config.out is not None
    if is_there:
        _LOG.info("found    %s: made of the same pictures with the same settings before", config.out)
        return Report(len(FaceBank.load(config.out)), _read_skipped(Path(config.out)))
    if config.download is not None and not Path(config.embedder).exists():
        download_inception_resnet(config.download, config.embedder)
    embedder = load_embedder(config.embedder).to(device)
    detector = load_detector(detection=config.detection).to(device) if config.detect else None
    return build_bank(
        config.folder,
        embedder,
        config.out,
        progress=progress,
        detector=detector,
        batch_size=config.batch_size,
        made_with=_made_with(config),
    )


def _made_with(config: FaceBankConfig) -> dict[str, str]:
    """Names for all that a bank depends on; its embedder is there."""
    embedder, root = Path(str(config.embedder)), Path(str(config.folder))
    detection = json.dumps(vars(replace(config.detection, batch_size=1))) if config.detect else ""
    return {
        "pictures": text_digest(json.dumps(_listing(root, find_pictures(root)))),
        "embedder": file_digest(embedder) if embedder.is_file() else classifier_digest(embedder),
        "detection": text_digest(detection),
    }


def _is_there(config: FaceBankConfig, problems: Problems) -> bool:
    """Whether the bank that would be made lies at its place; notes whatever else does."""
    out, embedder = Path(str(config.out)), Path(str(config.embedder))
    if not out.exists():
        return False
    made_with = read_made_with(out)
    if made_with is None:
        what = "a file that is not known to be a face bank of these pictures and settings"
    elif not embedder.exists():
        what = "a face bank of another embedder"
    else:
        now = _made_with(config)
        differing = [name for name in now if made_with.get(name) != now[name]]
        if not differing:
            return True
        what = f"a face bank of other {' and '.join(differing)}"
    problems.add(f"out: got {out}, {what}; expected a new file; give another --out, or --overwrite to replace it")
    return False


def build_bank(
    folder: str | Path,
    embedder: FaceEmbedder,
    out: str | Path,
    *,
    progress: Progress,
    detector: FaceDetectorBase | None = None,
    batch_size: int = 64,
    part_size: int = 2048,
    made_with: Mapping[str, str] | None = None,
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
        made_with: What the bank is made with, written into it, see `FaceBank.save`.

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
    atomic_write_text(_skipped_file(target), json.dumps(skipped, indent=2) + "\n")
    if not report.faces:
        raise ConfigurationError(
            f"folder is {str(root)!r}, whose {len(files)} pictures gave no face ({_why(skipped)}): give other "
            "pictures, or where faces are looked for a larger detection.scale"
        )
    FaceBank(embeddings, embedder.identifier).save(target, made_with)
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
    names = ("settings", "thresholds")
    detection = None if detector is None else [repr(getattr(detector, name, None)) for name in names]
    listing = _listing(root, files)
    content = [read_image.__name__, listing, embedder.identifier, repr(embedder.settings), detection, part_size]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _listing(root: Path, files: Sequence[str]) -> list[list[str | int]]:
    """Names, sizes and times of pictures, which stand for what they show."""
    return [[file, *file_mark(root / file)[1:]] for file in files]


def _skipped_file(bank: Path) -> Path:
    return bank.with_name(f"{bank.name}.skipped.json")


def _read_skipped(bank: Path) -> dict[str, str]:
    """The pictures that are not in a bank; none where the file beside it is lost."""
    try:
        skipped = parsed(_skipped_file(bank).read_bytes())
    except OSError:
        return {}
    return skipped if isinstance(skipped, dict) else {}


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
