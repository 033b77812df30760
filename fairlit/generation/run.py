"""Makes planned images: one after the other on disk, none twice, whatever stops it."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from fairlit.diffusion import Backbone
from fairlit.diffusion.finiteness import finite_images
from fairlit.diffusion.loading import family_of_hub
from fairlit.diffusion.settings import family_here
from fairlit.diffusion.single_files import config_folder
from fairlit.errors import Problems
from fairlit.functional.sampling.noise import chain_noise
from fairlit.generation.plan import GenerationPlan, PlannedImage, is_made
from fairlit.mitigation import Chunk, ImageEditor, Sampler
from fairlit.pictures.files import read_parameters, save_png
from fairlit.pictures.manifest import MANIFEST, read_manifest, write_manifest
from fairlit.results.edits import EditRecord
from fairlit.results.manifest import ManifestEntry

_LOG = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""Told after every batch how many images more are on disk."""

Stopwatch = Callable[[int, float], None]
"""Told of how many images and how many seconds it took to sample and decode them; 0 images: to prepare the method."""


def missing_images(plan: GenerationPlan) -> list[list[PlannedImage]]:
    """The images of each prompt that are not on disk yet; prompts with all of them are left out.

    Raises:
        ConfigurationError: the folder holds images that were made otherwise, or that are not planned.
    """
    planned = plan.planned()
    with Problems("generate") as problems:
        missing = [
            [image for image in images if not is_made(image, plan.out, problems, overwrite=plan.overwrite)]
            for images in planned
        ]
        if not problems.messages and not plan.overwrite:
            _check_others(plan, problems)
    return [images for images in missing if images]


def _check_others(plan: GenerationPlan, problems: Problems) -> None:
    """Notes images that the folder's manifest would lose."""
    if others := _others(plan):
        problems.add(
            f"out: got {plan.out}, which holds {len(others)} images of other prompts or numbers, {others[0].file} of "
            f"{others[0].prompt!r} first; expected a folder without them; give another --out, ask for them too, or "
            "--overwrite to remove them"
        )


def _others(plan: GenerationPlan) -> list[ManifestEntry]:
    """Images of the folder's manifest that are not planned."""
    planned = {image.file for images in plan.planned() for image in images}
    entries = read_manifest(plan.out)[0] if (plan.out / MANIFEST).is_file() else []
    return [entry for entry in entries if entry.file not in planned and (plan.out / entry.file).is_file()]


def _remove_others(plan: GenerationPlan) -> None:
    """Removes images that are not planned, if they lie in the folder and carry parameters of fairlit."""
    root = plan.out.resolve()
    for entry in _others(plan):
        path = (root / entry.file).resolve()
        if path.is_relative_to(root) and read_parameters(path) is not None:
            path.unlink()


def load_backbone(plan: GenerationPlan, device: torch.device | str = "cpu") -> Backbone:
    """The model of a plan, without its method, ready for `generate`.

    Raises:
        ConfigurationError: the folder is incomplete.
    """
    return Backbone.load(plan.model, plan.prompt_padding, getattr(torch, plan.precision), plan.solver).to(device)


def make_images(
    plan: GenerationPlan,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    *,
    backbone: Backbone | None = None,
    stopwatch: Stopwatch | None = None,
) -> int:
    """Makes what is missing of a plan, and writes the manifest.

    The manifest, written before the first image, says what shall be there in the end. Every image is written atomically
    with its parameters, so that a run that was killed goes on where it stopped.

    Args:
        plan: checked by `GenerationPlan.check`.
        device: where the model runs.
        progress: told how many images have been made.
        backbone: the plan's model where it is loaded already, from `load_backbone`; None: it is loaded if need be.
        stopwatch: told how long it took.

    Returns:
        Number of images made; others were there already.

    Raises:
        ConfigurationError: the folder holds images that were made otherwise, or the method does not fit the model.
        CheckpointError: a file of model or method is damaged.
        NotFiniteError: the model gives NaN or infinity.
        FileNotFoundError: files were removed while others were made.
    """
    missing = missing_images(plan)
    if missing:  # the model may not work, and no file is touched before that is known
        backbone = _fitting_model(plan, device, backbone)
    replaced = [image.file for images in missing for image in images if (plan.out / image.file).exists()]
    if replaced:
        what = "images that are damaged or of other settings" if plan.overwrite else "damaged images"
        _LOG.warning("made again: %d %s in %s, %s first", len(replaced), what, plan.out, replaced[0])
    if plan.overwrite:
        _remove_others(plan)
    write_manifest(plan.out, [_entry(image) for images in plan.planned() for image in images])
    if backbone is not None and missing:
        stopwatch = stopwatch or (lambda count, seconds: None)
        fresh = plan.sampling().chain(backbone).solver.num_fresh
        by_target = itertools.groupby(missing, key=lambda images: plan.target_of(images[0].prompt))
        for target, group in by_target:
            started = time.perf_counter()
            with plan.method.prepare(backbone, plan.sampling(), target) as sampler:
                edit = plan.method.image_editor(backbone, plan.sampling(), target)
                stopwatch(0, time.perf_counter() - started)
                for images in group:
                    for part in _parts(plan, images):
                        _make(plan, backbone, sampler, fresh=fresh, edit=edit, part=part, stopwatch=stopwatch)
                        if progress is not None:
                            progress(len(part))
    expected = [plan.out / MANIFEST, *(plan.out / image.file for images in missing for image in images)]
    if lost := next((path for path in expected if not path.is_file()), None):  # the folder was removed meanwhile
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(lost))
    return sum(map(len, missing))


def _fitting_model(plan: GenerationPlan, device: torch.device | str, backbone: Backbone | None) -> Backbone:
    """Load the plan's model unless it is given, and refuse one that the method or the prompts do not fit."""
    if backbone is None and config_folder(plan.model) is None and family_here(plan.model) is None:  # on the hub
        with Problems("generate") as problems:
            plan.method.check_family(family_of_hub(plan.model), problems)
    backbone = backbone or load_backbone(plan, device)
    with Problems("generate") as problems:  # of a model from the hub, the tokenizer is known only now
        plan.method.check_family(backbone.family, problems)
        plan.check_texts(backbone.tokenizer, problems)
    return backbone


def _parts(plan: GenerationPlan, images: list[PlannedImage]) -> Iterator[list[PlannedImage]]:
    """Missing images of one prompt, those of one batch together."""
    for _, part in itertools.groupby(images, key=lambda image: image.position // _batch_size(plan)):
        yield list(part)


def _batch_size(plan: GenerationPlan) -> int:
    """All images of a prompt where the method moves them together."""
    return plan.images if plan.method.needs_full_batch else plan.batch_size


def _make(
    plan: GenerationPlan,
    backbone: Backbone,
    sampler: Sampler,
    *,
    fresh: int,
    edit: ImageEditor | None,
    part: list[PlannedImage],
    stopwatch: Stopwatch,
) -> None:
    """Samples, edits and writes images of one prompt; the solver draws noise `fresh` times.

    The batch is sampled as a whole where some of it is there already: in a smaller one, processors round otherwise.
    """
    prompt = part[0].prompt
    start = part[0].position // _batch_size(plan) * _batch_size(plan)
    positions = list(range(start, min(start + _batch_size(plan), plan.images)))
    first = part[0].noise_key[:-1]
    keys = [(*first, position) for position in positions]
    noise = chain_noise(keys, backbone.latent_shape(plan.image_size), fresh)
    weight = next(backbone.denoiser.parameters())
    started = time.perf_counter()
    chunk = Chunk(prompt.text, positions, plan.images)
    latents = sampler(chunk, noise.to(weight.device, weight.dtype))
    places = [positions.index(image.position) for image in part]
    edits: list[list[EditRecord]] = [[] for _ in part]
    finished = finite_images(backbone, latents, plan.batch_size).cpu()
    if edit is None:
        decoded = finished[places]
    else:
        pixels, own = edit(chunk, (finished * 255).round().to(torch.uint8))
        decoded, edits = pixels[places].float() / 255, [own[place] for place in places]
    stopwatch(len(positions), time.perf_counter() - started)
    for image, pixels, records in zip(part, decoded, edits, strict=True):
        note = {"edits": [record.to_json() for record in records]} if records else {}
        save_png(pixels, plan.out / image.file, image.parameters | note)


def _entry(image: PlannedImage) -> ManifestEntry:
    return ManifestEntry.from_json({"file": Path(image.file).as_posix(), **image.parameters})
