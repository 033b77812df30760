"""Trains the miniature's text encoder to know what pictures of its captions show, before any picture is generated.

Stable Diffusion's text encoder is CLIP's: it comes knowing what words look like, in directions that many words share
("nurse" leans where "female" points). A text encoder trained along with a U-Net on a few dozen subjects learns each
subject by heart instead. This one learns from the same pairs as CLIP, captions and what their pictures show, by
predicting the latter with linear heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from fairlit.miniature.loop import Schedule, train
from fairlit.miniature.models import TEXT_WIDTH, build_text_encoder, seeded
from fairlit.miniature.occupations import OCCUPATIONS
from fairlit.miniature.subjects import DESCRIPTORS, SPORTS
from fairlit.miniature.training_diffusion import Captioned, draw_captions
from fairlit.miniature.world import ATTRIBUTES, CONTEXTS, Scene

BATCH = 96
SUBJECTS = tuple(subject.name for subject in (*OCCUPATIONS, *SPORTS, *DESCRIPTORS))
# What a picture shows, and how many answers there are.
FACTS = {"subject": len(SUBJECTS), "context": len(CONTEXTS) + 1, "people": 3} | {
    attribute: len(classes) for attribute, classes in ATTRIBUTES.items()
}


def picture_facts(scenes: Sequence[Scene]) -> Tensor:
    """What pictures show, of each the first person: int64 [N, len(FACTS)], columns as in `FACTS`."""
    contexts = ["", *CONTEXTS]
    rows = []
    for scene in scenes:
        attributes = [classes.index(scene.people[0][attribute]) for attribute, classes in ATTRIBUTES.items()]
        subject, context = SUBJECTS.index(scene.subject.name), contexts.index(scene.context)
        rows.append([subject, context, len(scene.people) - 1, *attributes])
    return torch.tensor(rows)


def train_text_encoder(
    data: Captioned,
    facts: Tensor,
    tokenizer: CLIPTokenizer,
    schedule: Schedule,
    checkpoint: Path,
    *,
    seed: int,
    device: str,
    progress: Progress,
) -> CLIPTextModel:
    """Trains a text encoder whose states from the end token on foretell, linearly, what the picture shows.

    The cross-entropy makes them foretell shares: the state of "doctor" leads to the share of women among the doctors
    of the world, that of "female doctor" to all of them, in one and the same direction.

    Args:
        data: captions; of its pictures nothing is used.
        facts: what the pictures show, `picture_facts`.
        tokenizer: the pipeline's.
        schedule: length and learning rate.
        checkpoint: file of the loop's state.
        seed: seeds weights and batches.
        device: where to train.
        progress: where to show a bar.
    """
    seeded(seed)
    encoder, heads = build_text_encoder(tokenizer), nn.Linear(TEXT_WIDTH, sum(FACTS.values()))

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(facts), (BATCH,), generator=generator)
        tokens = draw_captions(data, index, generator)
        end = (tokens == tokenizer.eos_token_id).int().argmax(dim=1)
        states = encoder(tokens.to(device)).last_hidden_state
        wanted = facts[index].to(device)
        loss = torch.zeros((), device=device)
        for state in (states[torch.arange(BATCH), end], states[:, -1]):  # the padding after the end is attended to, too
            answers = heads(state).split(list(FACTS.values()), dim=1)
            for column, answer in enumerate(answers):
                loss = loss + 0.5 * F.cross_entropy(answer, wanted[:, column])
        return loss

    both = nn.ModuleDict({"encoder": encoder, "heads": heads}).to(device)
    train("text encoder", both, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    return encoder.requires_grad_(False)
