"""A finetuned adaptor: LoRA, soft tokens or both, as fairlit or another tool has saved them for stock diffusers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from fairlit.adaptors import load_adaptor
from fairlit.adaptors.contents import kind_of
from fairlit.adaptors.files import adaptor_files, metadata_of, read_tensors
from fairlit.diffusion import Backbone
from fairlit.errors import CheckpointError, Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.digests import tensor_digest
from fairlit.mitigation.method import Method, Need, Plain, Sampler, SamplingPlan
from fairlit.mitigation.unchanged import one_prompt_sampler


class FinetunedAdaptor(Method):
    """Samples with an adaptor; soft tokens stand before every prompt, and not before the empty one of guidance.

    The adaptor was made for the target of its own training, whatever the target that it is judged by.

    Args:
        path: adaptor file, or a folder that holds one under its stock name, see `fairlit.load_adaptor`.
    """

    name: ClassVar[str] = "adaptor"
    needs: ClassVar[tuple[Need, ...]] = ("training", "classifier")
    needs_target: ClassVar[bool] = False
    takes_adaptor: ClassVar[bool] = True

    def __init__(self, path: str) -> None:
        self.path = path

    def settings(self) -> dict[str, Plain]:
        """Return the path and a digest of the adaptor's tensors: another one may have been saved there since."""
        return {"path": self.path, "digest": adaptor_digest(self.path)}

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note a path that holds no adaptor, or a damaged one."""
        try:
            for file in adaptor_files(self.path):
                tensors, header = read_tensors(file)
                metadata_of(file, header)
                kind_of(file, tensors)
        except CheckpointError as error:
            problems.add(f"path: {error}")

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Load the adaptor into the model and take it out again."""
        with _loaded(backbone, self.path) as tokens:
            yield one_prompt_sampler(backbone, plan, lambda prompt: " ".join([*tokens, prompt]).rstrip())


def adaptor_digest(path: str) -> str | None:
    """Return a digest of an adaptor's tensors, as summaries and model cards have it; None where there is no adaptor.

    Args:
        path: adaptor file or folder.
    """
    try:
        tensors = {name: tensor for file in adaptor_files(path) for name, tensor in read_tensors(file)[0].items()}
    except CheckpointError:
        return None
    return tensor_digest(tensors)


@contextmanager
def _loaded(backbone: Backbone, path: str) -> Iterator[list[str]]:
    """Inside the block the model carries the adaptor at `path`; gives the names of its soft tokens."""
    encoders = list(backbone.text_encoders.values())
    tables = [(copy.deepcopy(encoder.get_input_embeddings()), encoder.config.vocab_size) for encoder in encoders]
    tokenizers = {name: getattr(backbone, name) for name in backbone.family.tokenizers.values()}
    for name, tokenizer in tokenizers.items():  # loading soft tokens changes tokenizer and table in place
        setattr(backbone, name, copy.deepcopy(tokenizer))
    pipeline = backbone.pipeline()
    try:
        load_adaptor(pipeline, path)
        for module in (backbone.denoiser, *encoders):
            module.requires_grad_(False).eval()
        known, ids = tokenizers["tokenizer"].get_vocab(), backbone.tokenizer.get_vocab()
        yield sorted(ids.keys() - known.keys(), key=lambda name: ids[name])
    finally:
        pipeline.unload_lora_weights()
        for encoder, (table, vocabulary) in zip(encoders, tables, strict=True):
            encoder.set_input_embeddings(table)
            encoder.config.vocab_size = vocabulary
        for name, tokenizer in tokenizers.items():
            setattr(backbone, name, tokenizer)
