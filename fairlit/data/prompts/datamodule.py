"""The data of finetuning: a stream of prompts, each with its target distribution and the keys of its noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from fairlit.data.prompts.families import SPLITS
from fairlit.data.prompts.naming import ClassNaming, named_classes
from fairlit.data.prompts.sets import Prompt, PromptSet, Split
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution

NoiseKey = tuple[int, ...]
_STREAMS: dict[Split, int] = {"train": 0, "val": 1, "test": 2}
_NAMING_STREAM, _MIXING_STREAM = 8, 10  # 3 to 7 are those of `training.finetuning.step_draws`


class PromptMix(NamedTuple):
    """A prompt that is mixed into another one, in the space of token embeddings.

    Attributes:
        other: its text.
        weight: its weight, in [0, 1].
    """

    other: str
    weight: float


class PromptBatch(NamedTuple):
    """N images of one prompt: what one training or evaluation step works on.

    Attributes:
        index: number of the batch since the start of training, or of the prompt in its split.
        prompt: the text.
        family: the prompt's family.
        target: distribution that the people in the images shall follow.
        keys: noise key of each of the N images, over all ranks; a rank takes every world-size-th.
        mix: what is mixed into the prompt; None: nothing.
    """

    index: int  # type: ignore[assignment]  # a batch is never searched as a tuple
    prompt: str
    family: str
    target: TargetDistribution
    keys: list[NoiseKey]
    mix: PromptMix | None = None


class _Stream(IterableDataset[PromptBatch]):
    """Batches by number; iterable, so that Lightning leaves their distribution over ranks to fairlit."""

    def __init__(self, data: PromptDataModule, split: Split, first: int, *, count: int | None) -> None:
        self.data, self.split, self.first, self.count = data, split, first, count

    def __iter__(self) -> Iterator[PromptBatch]:
        index = self.first
        while self.count is None or index < self.count:
            yield self.data.batch(self.split, index)
            index += 1


class _FiniteStream(_Stream):
    def __len__(self) -> int:
        return (self.count or 0) - self.first


class PromptDataModule(L.LightningDataModule):
    """Streams prompts for training, validation and test.

    Training goes through the prompts in an order that is shuffled anew for each pass; batch number i depends on the
    seed and i alone, so training resumes where it stopped. Validation and test use the same noise each time.

    Args:
        prompts: file of prompt families, in YAML or in the published JSON layout, see `data.prompt_files`.
        target: shares of each class of each attribute, e.g. ``{gender: {female: 0.5, male: 0.5}}``, or a joint table,
            see `TargetDistribution.from_dict`; or the path of a YAML file with either.
        families: names of the families to train on and to validate on; null: all.
        test_families: families to test on, say prompts that training shall leave alone; null: `families`.
        images_per_prompt: images of each training prompt in one step, over all ranks.
        validation_images: images of each validation prompt, over all ranks.
        test_images: images of each test prompt, over all ranks.
        validation_prompts: validate on at most so many prompts, as many of each family as of another; null: all.
        test_prompts: test on at most so many prompts, likewise; null: all.
        test_split: split whose prompts are tested on, with the noise of the test; `train` shows what has been learnt of
            prompts that were trained on.
        naming: prompts that name a class, in training and in the test.
        mixed_share: share of the training steps, those that name a class left out, whose prompt lies between two
            prompts of a family and target: their token embeddings are mixed, the second with a weight drawn from 0 to
            1/2. No mixture comes twice in a run, so a `noise_pool` spares no reference images of these.
        seed: of the noise and of the order of prompts.

    Attributes:
        named_families: family of test prompts that name a class -> the attribute and the class that they name.

    Raises:
        ConfigurationError: a number out of range, an invalid target or prompt file, no prompts.
    """

    def __init__(
        self,
        prompts: str,
        target: dict[str, Any] | str,
        families: list[str] | None = None,
        *,
        test_families: list[str] | None = None,
        images_per_prompt: int = 24,
        validation_images: int = 24,
        test_images: int = 48,
        validation_prompts: int | None = None,
        test_prompts: int | None = None,
        test_split: Split = "test",
        naming: ClassNaming = ClassNaming(),
        mixed_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._prompts: dict[Split, list[Prompt]] = {}
        with Problems("data") as problems:
            counts = {
                "images_per_prompt": images_per_prompt,
                "validation_images": validation_images,
                "test_images": test_images,
                "validation_prompts": validation_prompts,
                "test_prompts": test_prompts,
            }
            for name, count in counts.items():
                if count is not None and count < 1:
                    problems.add(f"{name}: got {count}; give a number of at least 1")
            problems.at_least("seed", seed, 0)
            if not 0 <= mixed_share <= 1:
                problems.add(f"mixed_share: got {mixed_share}; expected a share from 0 to 1; give 0.5, say")
            if test_split not in SPLITS:
                problems.add(f"test_split: got {test_split!r}; expected one of {', '.join(SPLITS)}; give one of them")
            with problems.collecting():
                self.target = TargetDistribution.read(target)
            with problems.collecting():
                prompt_set = PromptSet.from_file(prompts)
            if not problems.messages:
                limits: dict[Split, int | None] = {"train": None, "val": validation_prompts, "test": test_prompts}
                for split, limit in limits.items():
                    names = families if split != "test" or test_families is None else test_families
                    with problems.collecting():
                        source = test_split if split == "test" else split
                        self._prompts[split] = _share_out(prompt_set.select(source, names), limit)
            if mixed_share and not problems.messages and not self._has_likes():
                problems.add(
                    f"mixed_share: got {mixed_share}, where no two training prompts share a family and a target; "
                    "expected two that do; give more prompts, or 0"
                )
            if not problems.messages:
                for own in self.targets():
                    naming.check(own, problems)
        self.naming, self.mixed_share = naming, mixed_share
        self.images: dict[Split, int] = {"train": images_per_prompt, "val": validation_images, "test": test_images}
        self.seed = seed
        self.first_batch = 0
        named = [self._named(prompt) for prompt in self._prompts["test"]] if naming.test_images else []
        self._named_tests = [prompt for prompts in named for prompt in prompts.values()]
        self.named_families = {prompt.family: label for prompts in named for label, prompt in prompts.items()}

    def prompts(self, split: Split) -> list[Prompt]:
        """The prompts of a split."""
        return self._prompts[split]

    def texts(self) -> Iterator[str]:
        """Yield the texts of all splits, those that name a class among them."""
        for split in SPLITS:
            yield from (prompt.text for prompt in self._prompts[split])
        if self.naming.share:
            yield from (other.text for prompt in self._prompts["train"] for other in self._named(prompt).values())
        yield from (prompt.text for prompt in self._named_tests)

    @property
    def trained_families(self) -> set[str]:
        """Names of the families with training prompts among those chosen."""
        return {prompt.family for prompt in self._prompts["train"]}

    def targets(self) -> list[TargetDistribution]:
        """Every distinct target that any prompt asks for."""
        own = [prompt.target for prompts in self._prompts.values() for prompt in prompts if prompt.target]
        distinct: list[TargetDistribution] = []
        for target in [self.target, *own]:
            if target not in distinct:
                distinct.append(target)
        return distinct

    def batch(self, split: Split, index: int) -> PromptBatch:
        """Batch number `index` of a split; training batches go on for ever.

        Test prompts that name a class come after the others.
        """
        prompts = self._prompts[split]
        if split == "train":
            epoch, position = divmod(index, len(prompts))
            order = np.random.default_rng((self.seed, _STREAMS[split], epoch)).permutation(len(prompts))
            prompt = self._perhaps_named(prompts[order[position]], index)
        else:
            prompt = [*prompts, *self._named_tests][index] if split == "test" else prompts[index]
        mix = self._mix(prompt, index) if split == "train" else None
        images = self.naming.test_images if split == "test" and index >= len(prompts) else self.images[split]
        keys: list[NoiseKey] = [(self.seed, _STREAMS[split], index, image) for image in range(images)]
        return PromptBatch(index, prompt.text, prompt.family, prompt.target or self.target, keys, mix)

    def _perhaps_named(self, prompt: Prompt, index: int) -> Prompt:
        """Return the prompt of a training batch, with a class named where the number of the batch draws so."""
        if not self.naming.share:
            return prompt
        generator = np.random.default_rng((self.seed, _NAMING_STREAM, index))
        if generator.random() >= self.naming.share:
            return prompt
        classes = list(named_classes(prompt.target or self.target).items())
        attribute, labels = classes[generator.integers(len(classes))]
        return self._named(prompt)[attribute, labels[generator.integers(len(labels))]]

    def _has_likes(self) -> bool:
        """Whether any two training prompts may be mixed."""
        texts: dict[tuple[str, TargetDistribution | None], set[str]] = {}
        for prompt in self._prompts["train"]:
            texts.setdefault((prompt.family, prompt.target), set()).add(prompt.text)
        return any(len(own) > 1 for own in texts.values())

    def _mix(self, prompt: Prompt, index: int) -> PromptMix | None:
        """Return what is mixed into the prompt of a training batch; None where nothing is, or nothing is like it."""
        if not self.mixed_share:
            return None
        generator = np.random.default_rng((self.seed, _MIXING_STREAM, index))
        drawn, weight = generator.random(), generator.uniform(0, 0.5)
        likes = [
            other.text
            for other in self._prompts["train"]
            if (other.family, other.target) == (prompt.family, prompt.target) and other.text != prompt.text
        ]
        if drawn >= self.mixed_share or not likes:
            return None
        return PromptMix(likes[generator.integers(len(likes))], float(weight))

    def _named(self, prompt: Prompt) -> dict[tuple[str, str], Prompt]:
        """Return attribute and class -> the prompt with that class named."""
        target = prompt.target or self.target
        return {
            (attribute, label): self.naming.name(prompt, target, attribute, label)
            for attribute, labels in named_classes(target).items()
            for label in labels
        }

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        """Endless; starts at the first batch that a restored checkpoint has not seen."""
        return _loader(_Stream(self, "train", self.first_batch, count=None))

    def val_dataloader(self) -> DataLoader[PromptBatch]:
        """One batch a validation prompt."""
        return _loader(_FiniteStream(self, "val", 0, count=len(self._prompts["val"])))

    def test_dataloader(self) -> DataLoader[PromptBatch]:
        """One batch a test prompt, those that name a class last."""
        return self._test_loader(len(self._prompts["test"]) + len(self._named_tests))

    def predict_dataloader(self) -> DataLoader[PromptBatch]:
        """One batch a test prompt."""
        return self._test_loader(len(self._prompts["test"]))

    def _test_loader(self, count: int) -> DataLoader[PromptBatch]:
        return _loader(_FiniteStream(self, "test", 0, count=count))

    def state_dict(self) -> dict[str, int]:
        """The number of the next training batch."""
        assert self.trainer is not None
        return {"next_batch": self.trainer.fit_loop.epoch_loop.batch_progress.total.processed}  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Goes on with the batch after the last that the checkpoint has seen."""
        self.first_batch = state_dict["next_batch"]


def _loader(stream: _Stream) -> DataLoader[PromptBatch]:
    return DataLoader(stream, batch_size=None, collate_fn=_as_it_is)


def _share_out(prompts: list[Prompt], limit: int | None) -> list[Prompt]:
    """At most `limit` prompts in their order: of every family its first ones, as many as of another where it can."""
    turns: dict[str, int] = {}
    order: list[tuple[int, int]] = []  # whose turn in its family, place
    for place, prompt in enumerate(prompts):
        turns[prompt.family] = turns.get(prompt.family, -1) + 1
        order.append((turns[prompt.family], place))
    chosen = sorted(place for _, place in sorted(order)[:limit])
    return [prompts[place] for place in chosen]


def _as_it_is(batch: Any) -> Any:
    """Keeps torch's default conversion from turning the tuples of noise keys into lists."""
    return batch
