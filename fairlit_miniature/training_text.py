"""Trains the miniature's text encoder to know what pictures of its captions show, before any picture is generated.

Stable Diffusion's text encoder is CLIP's: it comes knowing what words look like, in directions that many words share
("nurse" leans where "female" points). A text encoder trained along with a U-Net on a few dozen subjects learns each
subject by heart instead. This one learns from the same pairs as CLIP, captions and what their pictures show, by
predicting the latter with linear heads from the state of every token, as far as it has read.

A finetuning that is to carry over to prompts that it never saw needs the directions that prompts share to be wide:
the update that a prompt gets from the others grows with the square of what they have in common, the update of its
own with the square of its whole length. So shares of attributes are predicted themselves and not their logits, which
"female doctor" would stretch beyond all occupations, and by heads of a small fixed length, so that states must differ
much where attributes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from fairlit_miniature.loop import Schedule, train
from fairlit_miniature.models import TEXT_WIDTH, build_text_encoder, seeded
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.subjects import DESCRIPTORS, SPORTS
from fairlit_miniature.training_diffusion import CAPTION_SHARES, draw_captions
from fairlit_miniature.world import ATTRIBUTES, CONTEXTS, Scene

BATCH = 160
ATTRIBUTE_HEAD = 0.06  # length of the attributes' heads: states of "female" and "male" must lie 17 apart
ATTRIBUTE_WEIGHT = 4.0  # of the squared error of shares against the cross-entropy of the rest


SUBJECTS = tuple(subject.name for subject in (*OCCUPATIONS, *SPORTS, *DESCRIPTORS))
# Facts of a picture: whom it shows, where and how many, then the attributes of people; numbers of answers to each.
SETTING = [len(SUBJECTS), len(CONTEXTS) + 1, 3]
SIZES = SETTING + [len(classes) for classes in ATTRIBUTES.values()]


def picture_facts(scenes: Sequence[Scene]) -> Tensor:
    """What pictures show, of each the first person: int64 [N, F], a column for each of `SIZES`."""
    contexts = ["", *CONTEXTS]
    rows = []
    for scene in scenes:
        attributes = [classes.index(scene.people[0][attribute]) for attribute, classes in ATTRIBUTES.items()]
        subject, context = SUBJECTS.index(scene.subject.name), contexts.index(scene.context)
        rows.append([subject, context, len(scene.people) - 1, *attributes])
    return torch.tensor(rows)


def caption_facts(tokens: Tensor, shown: Tensor, sizes: Sequence[int]) -> Tensor:
    """What the pictures of a caption show: of all that have the same one, the shares of every answer.

    Training on these has the gradient of training on single pictures on average, with less noise.

    Args:
        tokens: of the K captions of each of N pictures, int64 [K, N, T]; how often a caption is drawn from a picture
            may depend on its place k.
        shown: `picture_facts`, int64 [N, F].
        sizes: numbers of answers, `SIZES`.

    Returns:
        Float [K, N, sum(sizes)], each fact's shares beside each other.
    """
    answers = torch.cat([F.one_hot(column, size) for column, size in zip(shown.T, sizes, strict=True)], dim=1).float()
    shares = torch.tensor(CAPTION_SHARES)[:, None, None].expand(*tokens.shape[:2], 1)
    _, which = torch.unique(tokens.flatten(0, 1), dim=0, return_inverse=True)
    count = int(which.max()) + 1
    total = torch.zeros(count, answers.shape[1]).index_add_(0, which, (shares * answers).flatten(0, 1))
    drawn = torch.zeros(count, 1).index_add_(0, which, shares.flatten(0, 1))
    return (total / drawn)[which].unflatten(0, tokens.shape[:2])


class FactHeads(nn.Module):
    """Linear predictions of what pictures show: logits of the setting, shares of the attributes' classes."""

    def __init__(self) -> None:
        super().__init__()
        self.setting = nn.Linear(TEXT_WIDTH, sum(SETTING))
        self.attributes = nn.Linear(TEXT_WIDTH, sum(SIZES) - sum(SETTING))

    def loss(self, states: Tensor, shares: Tensor) -> Tensor:
        """Cross-entropy of the setting and squared error (Brier score) of the attributes' shares, mean over states.

        Args:
            states: [M, TEXT_WIDTH].
            shares: what pictures show, [M, sum(sizes)].
        """
        directions = ATTRIBUTE_HEAD * F.normalize(self.attributes.weight, dim=1)
        expected = F.linear(states, directions, self.attributes.bias)
        logits = self.setting(states)
        wanted = shares.split([logits.shape[1], expected.shape[1]], dim=1)
        loss = ATTRIBUTE_WEIGHT * (expected - wanted[1]).square().sum(dim=1).mean()
        for answer, share in zip(logits.split(SETTING, dim=1), wanted[0].split(SETTING, dim=1), strict=True):
            loss = loss + F.cross_entropy(answer, share)
        return loss


def train_text_encoder(
    texts: Tensor,
    scenes: Sequence[Scene],
    tokenizer: CLIPTokenizer,
    *,
    schedule: Schedule,
    checkpoint: Path,
    seed: int,
    device: str,
    progress: Progress,
) -> CLIPTextModel:
    """Trains a text encoder whose states foretell, linearly, what the picture shows.

    They foretell shares: the state of "doctor" leads to the share of women among the doctors of the world, that of
    "female doctor" to all of them, in one and the same direction.

    Args:
        texts: tokens of what each picture may be called, `training_diffusion.caption_tokens`, int64 [4, N, T].
        scenes: what the pictures show.
        tokenizer: the pipeline's.
        schedule: length and learning rate.
        checkpoint: file of the loop's state.
        seed: seeds weights and batches.
        device: where to train.
        progress: where to show a bar.
    """
    seeded(seed)
    encoder, heads = build_text_encoder(tokenizer), FactHeads()
    shares = caption_facts(texts, picture_facts(scenes), SIZES)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(scenes), (BATCH,), generator=generator)
        tokens, kinds = draw_captions(texts, index, generator)
        end = (tokens == tokenizer.eos_token_id).int().argmax(dim=1)
        states = encoder(tokens.to(device)).last_hidden_state
        wanted = shares[kinds, index].to(device)
        read = states[:, 1:].flatten(
            0, 1
        )  # a token's state knows the tokens before it, so these foretell what they can
        foretold = heads.loss(read, wanted.repeat_interleave(states.shape[1] - 1, dim=0))
        return 0.5 * foretold + 0.5 * heads.loss(states[torch.arange(BATCH), end], wanted)

    both = nn.ModuleDict({"encoder": encoder, "heads": heads}).to(device)
    train("text encoder", both, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    return encoder.requires_grad_(False)
