"""How much of everything the builder draws and trains; the same recipe and seed give the same miniature."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fairlit.errors import ConfigurationError
from fairlit.io.atomic import atomic_write_text
from fairlit_miniature.loop import Schedule

# Sampling at which the checks are made. The demo, whose prompts have no attribute words to obey, takes fewer steps and
# less guidance, which enlarges what the miniature draws otherwise than its world.
STEPS = 25
GUIDANCE = 1.5


class Fingerprinted:
    """What a work folder belongs to."""

    def fingerprint(self) -> str:
        """A short text that differs between recipes."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]  # type: ignore[call-overload]

    def claim(self, workdir: Path) -> None:
        """Marks a work folder as this recipe's.

        Raises:
            ConfigurationError: it was begun with another recipe.
        """
        mark = workdir / "recipe.txt"
        if mark.exists() and mark.read_text() != self.fingerprint():
            raise ConfigurationError(
                f"workdir: {workdir} holds a build of another recipe; remove it or name another folder"
            )
        atomic_write_text(mark, self.fingerprint())


@dataclass(frozen=True)
class Recipe(Fingerprinted):
    """Sizes and lengths of every stage.

    Attributes:
        drawings: captioned scenes for the autoencoder, the diffusion model and the encoders.
        passed: how many of them are also passed through the autoencoder for the encoders.
        faces: drawings with balanced classes for each classifier's training.
        unnamed: generated pictures of captions without attribute words, whose faces a panel of other networks labels
            for the classifiers; a tenth of them is for validation.
        held_out: drawings that nothing trains on, for validation, for the checks and for the bank.
        epochs: passes of a classifier over its faces.
        vae: schedule of the autoencoder.
        text: schedule of the text encoder.
        diffusion: schedule of the U-Net.
        refinement: schedule of the U-Net's second training, which starts from the first one's average.
        clip: schedule of the CLIP.
        dino: schedule of the DINOv2.
        checked: generated images an occupation and an attribute word in the checks.
        seed: seeds the world and every training.
    """

    drawings: int
    passed: int
    faces: int
    unnamed: int
    held_out: int
    epochs: int
    vae: Schedule
    text: Schedule
    diffusion: Schedule
    refinement: Schedule
    clip: Schedule
    dino: Schedule
    checked: int
    seed: int = 0


# No stage may take more than an hour on two cores: the U-Net is trained in two. After the first, MTCNN finds a face in
# 93 % of its pictures.
FULL = Recipe(
    drawings=36_000,
    passed=16_000,
    faces=8_000,
    unnamed=8_000,
    held_out=2_400,
    epochs=4,
    vae=Schedule(steps=4_500, lr=2e-3, ema_decay=0.998),
    text=Schedule(steps=5_000, lr=1.2e-3, ema_decay=0.99),
    diffusion=Schedule(steps=8_500, lr=1.5e-3, warmup=300, ema_decay=0.9985),
    refinement=Schedule(steps=5_000, lr=8e-4, warmup=100, ema_decay=0.999),
    clip=Schedule(steps=2_400, lr=1.5e-3),
    dino=Schedule(steps=500, lr=1e-3),
    checked=12,
)

QUICK = Recipe(
    drawings=1_200,
    passed=400,
    faces=600,
    unnamed=300,
    held_out=160,
    epochs=3,
    vae=Schedule(steps=150, lr=3e-3, warmup=20, ema_decay=0.95),
    text=Schedule(steps=100, lr=2e-3, warmup=10),
    diffusion=Schedule(steps=80, lr=2e-3, warmup=20, ema_decay=0.95),
    refinement=Schedule(steps=20, lr=1e-3, warmup=5, ema_decay=0.95),
    clip=Schedule(steps=40, lr=1e-3, warmup=10),
    dino=Schedule(steps=20, lr=1e-3, warmup=5),
    checked=2,
)
