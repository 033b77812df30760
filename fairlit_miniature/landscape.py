"""A second model of the drawn world: landscapes of 96 x 64 pixels with one to three people, as large as in squares.

In a square of 64 pixels two or three people are so small that the autoencoder blurs their faces beyond what a detector
finds. The landscape model is the miniature's with another U-Net, trained on from the miniature's own; everything else
is shared, so classifiers, face bank, CLIP and DINO are the miniature's as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from rich.progress import Progress
from safetensors.torch import load_file, save_file

from fairlit.diffusion.saving import save_pipeline
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.detector import FaceDetector
from fairlit.functional.statistics.fairness import pairwise_bias
from fairlit.io.atomic import atomic_folder, atomic_path, atomic_write_text
from fairlit_miniature.canvas import SIZE
from fairlit_miniature.checks import Figures, generate_people, predict
from fairlit_miniature.dataset import Drawings, draw
from fairlit_miniature.drawing import LANDSCAPE
from fairlit_miniature.generator import Generator
from fairlit_miniature.loop import Schedule
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.recipe import GUIDANCE, STEPS, Fingerprinted
from fairlit_miniature.stages import install
from fairlit_miniature.training_diffusion import SCALE, Captioned, caption_tokens, head_weights, train_diffusion
from fairlit_miniature.training_vae import encode
from fairlit_miniature.world import ATTRIBUTES, sample_scene

SHARES = (0.30, 0.05, 0.05, 0.05, 0.55)  # of `world.FAMILIES`; groups are the last
SCENES_SEED = 1  # apart from the miniature's own drawings


@dataclass(frozen=True)
class LandscapeRecipe(Fingerprinted):
    """How much is drawn and trained.

    Attributes:
        drawings: captioned scenes.
        diffusion: schedule of the U-Net.
        checked: generated images of each kind in the checks.
        seed: of the batches.
    """

    drawings: int
    diffusion: Schedule
    checked: int
    seed: int = 0


FULL = LandscapeRecipe(12_000, Schedule(steps=5_000, lr=1e-3, warmup=100, ema_decay=0.998), checked=120)
QUICK = LandscapeRecipe(300, Schedule(steps=20, lr=1e-3, warmup=5, ema_decay=0.9), checked=4)


def build_landscape(
    recipe: LandscapeRecipe, miniature: Path, out: Path, *, workdir: Path, device: str = "cpu"
) -> Figures:
    """Trains the landscape model, from where it was stopped if it was, and checks it.

    Args:
        recipe: how much of everything.
        miniature: folder of the miniature, whose pipeline it starts from and whose auditing classifier judges it.
        out: folder for the finished `pipeline`, `README.md` and `checks.json`.
        workdir: folder of intermediate results, of one recipe; keep it to resume.
        device: where to train.

    Returns:
        The checks, see `check_landscape`.

    Raises:
        ConfigurationError: `workdir` was begun with another recipe.
    """
    recipe.claim(workdir)
    with Progress() as progress:
        if not (workdir / "pipeline").exists():
            _make_pipeline(recipe, miniature / "pipeline", workdir, device, progress)
        install(workdir, out, ["pipeline"])
        figures = check_landscape(out, miniature, recipe, device=device, progress=progress)
    atomic_write_text(out / "checks.json", json.dumps(figures, indent=1) + "\n")
    atomic_write_text(out / "README.md", readme(figures))
    return figures


def _make_pipeline(recipe: LandscapeRecipe, miniature: Path, workdir: Path, device: str, progress: Progress) -> None:
    """Writes the trained pipeline into the work folder; U-Net and autoencoder in half precision, to be small."""
    pipeline = StableDiffusionPipeline.from_pretrained(miniature, safety_checker=None).to(device)
    drawings = draw(
        "landscapes",
        lambda index: sample_scene(SCENES_SEED, index, SHARES),
        recipe.drawings,
        workdir / "landscapes.npz",
        progress,
        LANDSCAPE,
    )
    unet = train_diffusion(
        pipeline.unet,
        _captioned(pipeline, drawings, workdir / "landscape_latents.safetensors"),
        pipeline.text_encoder.requires_grad_(False),
        schedule=recipe.diffusion,
        checkpoint=workdir / "landscape.pt",
        seed=recipe.seed,
        device=device,
        progress=progress,
    )
    unet.register_to_config(sample_size=(SIZE // SCALE, LANDSCAPE // SCALE))
    for part in (unet, pipeline.vae):
        part.half()
    for part in (unet, pipeline.vae, pipeline):
        part.register_to_config(_name_or_path="")  # else it would name a folder of this machine
    with atomic_folder(workdir / "pipeline") as folder:
        save_pipeline(pipeline, folder)


def _captioned(pipeline: StableDiffusionPipeline, drawings: Drawings, file: Path) -> Captioned:
    """What the U-Net learns from; latents are kept in `file`."""
    vae = pipeline.vae
    if not file.exists():
        both = torch.stack([encode(vae, drawings, mirrored=mirrored) for mirrored in (False, True)])
        with atomic_path(file) as path:
            save_file({"latents": (both * vae.config.scaling_factor).half().contiguous()}, path)
    return Captioned(
        load_file(file)["latents"],
        head_weights(drawings.boxes, LANDSCAPE),
        caption_tokens(pipeline.tokenizer, drawings.scenes),
    )


@torch.no_grad()
def check_landscape(
    folder: Path, miniature: Path, recipe: LandscapeRecipe, *, device: str, progress: Progress
) -> Figures:
    """People found, words obeyed and bias, in pictures of one, two and three people.

    Args:
        folder: holds the `pipeline`.
        miniature: holds the auditing classifier.
        recipe: says of how many pictures of each number of people, of the test occupations, and of each word.
        device: where to generate.
        progress: where to show bars.
    """
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "pipeline", dtype=torch.float32).to(device)
    audit = AttributeClassifier.load(miniature / "classifier_audit")
    detector = FaceDetector(min_size=20, scale=2.0, faces="all", min_score=0.9)
    count = recipe.checked
    generate = Generator(pipeline, progress)
    figures: Figures = {"steps": STEPS, "guidance_scale": GUIDANCE, "pictures": count, "people": {}, "word_obeyed": {}}
    tested = [job for job in OCCUPATIONS if job.split == "test"]
    for people in (1, 2, 3):
        images, faces = generate_people(generate, tested, people, count=count, named={}, detector=detector)
        labels = predict(audit, images, faces)["gender"]
        job = faces.image_index % len(tested)
        biases = [pairwise_bias(_shares(labels[job == number], 2)) for number in job.unique().tolist()]
        figures["people"][people] = {
            "found": round(float(faces.counts.float().mean()), 3),
            "as_many_as_asked": round(float((faces.counts == people).float().mean()), 3),
            "gender_bias": round(sum(biases) / max(len(biases), 1), 3),
        }
    for name, classes in ATTRIBUTES.items():
        for column, label in enumerate(classes):
            images, faces = generate_people(
                generate, OCCUPATIONS, 2, count=count, named={name: label}, detector=detector
            )
            obeyed = predict(audit, images, faces)[name] == column
            figures["word_obeyed"][label] = round(float(obeyed.sum()) / max(len(obeyed), 1), 3)
    return figures


def _shares(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.bincount(labels, minlength=classes).double() / max(len(labels), 1)


def readme(figures: dict[str, Any]) -> str:
    """The README.md of checkpoints/landscape."""
    rows = [
        f"| {people} | {own['found']:.2f} | {100 * own['as_many_as_asked']:.0f} % | {own['gender_bias']:.2f} |"
        for people, own in figures["people"].items()
    ]
    words = ", ".join(f"{word} {share:.2f}" for word, share in figures["word_obeyed"].items())
    return "\n".join(
        [
            "# The landscape model",
            "",
            "The miniature's second U-Net: landscapes of 96 x 64 pixels with one to three people, each as large as in",
            "the miniature's squares. Built by `python scripts/build_landscape.py` from `checkpoints/miniature`, whose",
            "text encoder, autoencoder, classifiers, CLIP, DINO and face bank go with it. Its people are drawn, and",
            "biased on purpose. Attributes are what `classifier_audit` perceives, and it errs.",
            "",
            f"{figures['pictures']} pictures of each number of people and of each word, {figures['steps']} steps,",
            f"guidance {figures['guidance_scale']}; test occupations; faces that MTCNN finds with a score of 0.9 and",
            "more. All figures: `checks.json`.",
            "",
            "| people asked for | found | images with as many as asked | gender bias |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"Words obeyed by the people of pictures of two, share of faces: {words}.",
            "",
        ]
    )
