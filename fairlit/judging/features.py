"""What CLIP and DINO make of images and prompts, kept on disk so that nothing is encoded twice."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fairlit.io.atomic import atomic_path
from fairlit.io.digests import module_digest, tensor_digest
from fairlit.io.file_status import file_mark
from fairlit.io.finiteness import require_finite
from fairlit.judging.image_folders import ImageFolder
from fairlit.pictures.batches import read_batches
from fairlit.results.judging import EncodersRecord

if TYPE_CHECKING:
    from fairlit.perception import ClipEncoder, DinoEncoder

_KEY, _DIGEST = "made_from", "digest"


@dataclass(frozen=True)
class Encoders:
    """Frozen encoders that images are compared by; what is None is not measured.

    Attributes:
        clip: encoder for CLIP-T and CLIP-I.
        dino: encoder for DINO.
        names: ``clip`` and ``dino`` -> what the user called them.
    """

    clip: ClipEncoder | None = None
    dino: DinoEncoder | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def by_name(self) -> dict[str, ClipEncoder | DinoEncoder]:
        """Those that are there."""
        return {name: encoder for name in ("clip", "dino") if (encoder := getattr(self, name)) is not None}

    def record(self) -> EncodersRecord:
        """Return names, and digests of the weights."""
        digests = {name: module_digest(encoder) for name, encoder in self.by_name.items()}
        return EncodersRecord(clip=self.names.get("clip"), dino=self.names.get("dino"), digests=digests)

    def text_features(self, prompts: Sequence[str]) -> Tensor | None:
        """Return CLIP's directions of prompts, float32 [P, D] on the CPU; None without CLIP."""
        if self.clip is None:
            return None
        return require_finite(self.clip.text_features(prompts).float().cpu(), "clip: features of texts")


def image_features(
    folder: ImageFolder,
    encoders: Encoders,
    cache: Path,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Tensor]:
    """Return the directions of all images of a folder.

    Args:
        folder: images to encode.
        encoders: encoders to use.
        cache: file of features; features of other encoders, or of files that have changed, are not used.
        batch_size: largest number of images encoded together; there are fewer where they have many pixels.
        progress: function that is told the number of images done since the last call.

    Returns:
        `clip` and `dino`, as far as there are encoders: float32 [N, D] of length 1 on the CPU, in the folder's order;
        NaN for images that cannot be read.

    Raises:
        NotFiniteError: an encoder gives NaN or infinity for an image that can be read.
    """
    names = [image.file for image in folder.images]
    # the record's digests are of weights alone; an image processor's numbers are buffers that no file holds
    buffers = {name: tensor_digest(dict(encoder.named_buffers())) for name, encoder in encoders.by_name.items()}
    key = json.dumps([encoders.record().digests, buffers, [file_mark(folder.root / name) for name in names]])
    features = _recall(cache, key)
    if features is None:
        features = {
            name: torch.full((len(names), encoder.dim), torch.nan) for name, encoder in encoders.by_name.items()
        }
        places = {name: place for place, name in enumerate(names)}
        for batch in read_batches(folder.root, names, batch_size=batch_size, mixed=True):
            for name, encoder in encoders.by_name.items():
                features[name][[places[file] for file in batch.files]] = _encode(batch.pictures, encoder, name)
            progress(len(batch.files) + len(batch.refused))
        with atomic_path(cache) as temporary:
            save_file(features, temporary, metadata={_KEY: key, _DIGEST: tensor_digest(features)})
    else:
        progress(len(names))
    return features


@torch.no_grad()
def _encode(pictures: Sequence[Tensor], encoder: ClipEncoder | DinoEncoder, name: str) -> Tensor:
    """Directions [n, D] of pictures of any sizes; those of one size are encoded together."""
    by_size: dict[torch.Size, list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        by_size[picture.shape].append(place)
    encoded = torch.empty(len(pictures), encoder.dim)
    device = next(encoder.parameters()).device
    for places in by_size.values():
        images = torch.stack([pictures[place] for place in places]).to(device).float().div_(255)
        encoded[places] = require_finite(encoder.image_features(images).float().cpu(), f"{name}: features of images")
    return encoded


def _recall(cache: Path, key: str) -> dict[str, Tensor] | None:
    """What a cache holds; None where there is none, it is damaged, or was made from something else."""
    try:
        with safe_open(cache, "pt") as stored:
            metadata = stored.metadata() or {}
            features = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  it is not a mapping
    except (OSError, SafetensorError):
        return None
    whole = metadata.get(_KEY) == key and metadata.get(_DIGEST) == tensor_digest(features)
    return features if whole else None
