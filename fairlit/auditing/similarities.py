"""Whether the images of an audit show what their prompts ask for, and what the unchanged model showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.measure import same_noise_pairs
from fairlit.judging.features import Encoders, image_features
from fairlit.judging.image_folders import ImageFolder
from fairlit.results.figures import SimilarityFigures


def measure_similarities(
    audited: JudgedFolder,
    reference: JudgedFolder | None,
    encoders: Encoders,
    *,
    cache: Path,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda count: None,
    seed: int = 0,
) -> SimilarityFigures | None:
    """Return CLIP-T of the images, and CLIP-I and DINO to the reference images from the same noise.

    Args:
        audited: images that are judged.
        reference: the unchanged model's images; None without.
        encoders: encoders to use.
        cache: path that files of features begin with, so that nothing is encoded twice.
        batch_size: number of images encoded together.
        progress: function that is told the number of images done since the last call.
        seed: seed of the bootstrap.

    Returns:
        Similarities, with the number of images that have a reference image; None without encoders.
    """
    if not encoders.by_name:
        return None

    def features(folder: ImageFolder, name: str) -> dict[str, Tensor]:
        file = cache.with_name(f"{cache.name}_{name}.safetensors")
        return image_features(folder, encoders, file, batch_size, progress)

    own = features(audited.folder, "audited")
    pairs: list[tuple[int, int]] = []
    theirs: dict[str, Tensor] = {}
    if reference is not None:
        theirs = features(reference.folder, "reference")
        pairs = same_noise_pairs(audited.folder, audited.seen, reference.folder, other_seen=reference.seen)
    paired = dict(pairs)
    readable = [place for place, seen in enumerate(audited.seen) if seen.damaged is None]
    texts = encoders.text_features(audited.folder.prompts) if audited.folder.has_texts else None
    from fairlit.metrics import SemanticSimilarity  # with it comes torchmetrics, which takes seconds

    metric = SemanticSimilarity(seed=seed)
    for with_reference in (False, True):
        places = [place for place in readable if (place in paired) is with_reference]
        if not places:
            continue
        prompts = torch.tensor([audited.folder.images[place].prompt for place in places])
        images = {name: rows[places] for name, rows in own.items()}
        if texts is not None:
            images["clip_texts"] = texts[prompts]
        if with_reference:
            others = [paired[place] for place in places]
            images |= {f"{name}_references": rows[others] for name, rows in theirs.items()}
        metric.update(prompts, **images)
    return replace(metric.compute(), pairs=len(pairs))
