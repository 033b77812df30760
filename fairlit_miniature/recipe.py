"""How much of everything the builder draws and trains; the same recipe and seed give the same miniature.

The committed miniature was made in pieces while the recipe was found, not by one run of it: the autoencoder on an
earlier world of 36 of its 60 occupations; the text encoder in 1500 steps of an earlier loss, then 2500 with
`training_text.ATTRIBUTE_HEAD` at 0.1 and 2000 at 0.06; the U-Net in 6850 steps under earlier text encoders, then 5000
and 3000 under those two; classifiers and face bank as the recipe says, but on pictures that the U-Net generated before
its last 3000 steps.

The recipe in one run of `scripts/build_miniature.py` (2026-11-21, two shared cores beside other work: 89 minutes, 150
minutes of CPU) passes every check as well: PSNR 27.3 dB, faces found in 0.901 of the generated pictures (committed
miniature: 0.963), classifiers 0.999, attribute words obeyed in 0.936, gender bias of the test occupations 0.73. Its
pictures are softer, since its U-Net is trained for a third of the steps.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fairlit.errors import ConfigurationError
from fairlit.io.atomic import atomic_write_text
from fairlit_miniature.loop import Schedule
from fairlit_miniature.subjects import Subject
from fairlit_miniature.worlds import WORLDS

# Sampling at which the checks are made. The demo, whose prompts have no attribute words to obey, takes fewer steps and
# less guidance, which enlarges what the miniature draws otherwise than its world.
STEPS = 25
GUIDANCE = 1.5


UNREFINED = Schedule(steps=0, lr=0.0)


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
        refinement: schedule of the U-Net's second training, which starts from the first one's average; 0 steps: none.
        clip: schedule of the CLIP.
        dino: schedule of the DINOv2.
        checked: generated images an occupation and an attribute word in the checks.
        seed: seeds the world and every training.
        world: whose occupations are drawn, a name in `worlds.WORLDS`.
        pooled_text: whether the U-Net has a path for the text besides attention, see `models.build_unet`.
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
    clip: Schedule
    dino: Schedule
    checked: int
    refinement: Schedule = UNREFINED
    seed: int = 0
    world: str = "small"
    pooled_text: bool = True

    @property
    def occupations(self) -> tuple[Subject, ...]:
        """The occupations of the recipe's world."""
        return WORLDS[self.world]


FULL = Recipe(
    drawings=24_000,
    passed=8_000,
    faces=6_000,
    unnamed=6_000,
    held_out=2_400,
    epochs=4,
    vae=Schedule(steps=4_000, lr=2e-3, ema_decay=0.998),
    text=Schedule(steps=3_500, lr=1.2e-3, ema_decay=0.99),
    diffusion=Schedule(steps=5_200, lr=1.5e-3, warmup=300, ema_decay=0.9985),
    clip=Schedule(steps=1_600, lr=1.5e-3),
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
    clip=Schedule(steps=40, lr=1e-3, warmup=10),
    dino=Schedule(steps=20, lr=1e-3, warmup=5),
    checked=2,
)

# The large world with a U-Net as Stable Diffusion 1 has it. It has three times as many looks, and no stage may take
# more than an hour on two cores: the U-Net, in whose pictures MTCNN then finds a face in 93 %, is trained in two.
LARGE = replace(
    FULL,
    world="large",
    pooled_text=False,
    drawings=36_000,
    passed=16_000,
    faces=8_000,
    unnamed=8_000,
    vae=Schedule(steps=4_500, lr=2e-3, ema_decay=0.998),
    text=Schedule(steps=5_000, lr=1.2e-3, ema_decay=0.99),
    diffusion=Schedule(steps=8_500, lr=1.5e-3, warmup=300, ema_decay=0.9985),
    refinement=Schedule(steps=5_000, lr=8e-4, warmup=100, ema_decay=0.999),
    clip=Schedule(steps=2_400, lr=1.5e-3),
)
LARGE_QUICK = replace(QUICK, world="large", pooled_text=False)
