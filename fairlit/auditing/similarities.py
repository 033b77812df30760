"""Whether the images of an audit show what their prompts ask for, and what the original model showed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairlit.auditing.measure import same_noise_pairs
from fairlit.auditing.report import Audited
from fairlit.judging.features import Encoders, image_features
from fairlit.judging.image_folders import ImageFolder
from fairlit.metrics import SemanticSimilarity


def measure_similarities(
    audited: Audited,
    original: Audited | None,
    encoders: Encoders,
    notes: Path,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda count: None,
    seed: int = 0,
) -> dict[str, Any]:
    """CLIP-T of the images, and CLIP-I and DINO to the original model's images from the same noise.

    Args:
        audited: the images that are judged.
        original: the original model's, None without.
        encoders: what to look with; without any there is nothing to measure.
        notes: path that files of features begin with, so that nothing is encoded twice.
        batch_size: images looked at together.
        progress: told how many images more are done.
        seed: of the bootstrap.

    Returns:
        What `SemanticSimilarity.compute` gives, and `pairs`, the number of images with an original; empty without
        encoders.
    """
    if not encoders.by_name:
        return {}

    def features(folder: ImageFolder, name: str) -> dict[str, Tensor]:
        cache = notes.with_name(f"{notes.name}_{name}.safetensors")
        return image_features(folder, encoders, cache, batch_size, progress)

    own = features(audited.folder, "audited")
    pairs: list[tuple[int, int]] = []
    if original is not None:
        theirs = features(original.folder, "original")
        pairs = same_noise_pairs(audited.folder, audited.seen, original.folder, original.seen)
    paired = dict(pairs)
    readable = [place for place, seen in enumerate(audited.seen) if seen.damaged is None]
    texts = encoders.text_features(audited.folder.prompts)
    metric = SemanticSimilarity(seed=seed)
    for with_original in (False, True):
        places = [place for place in readable if (place in paired) is with_original]
        if not places:
            continue
        prompts = torch.tensor([audited.folder.images[place].prompt for place in places])
        images = {name: rows[places] for name, rows in own.items()}
        if texts is not None:
            images["clip_texts"] = texts[prompts]
        if with_original:
            others = [paired[place] for place in places]
            images |= {f"{name}_originals": rows[others] for name, rows in theirs.items()}
        metric.update(prompts, **images)
    return metric.compute() | {"pairs": len(pairs)}
