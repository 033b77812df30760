"""Adaptors merged into whole pipelines, which are read back before they are handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from fairlit.adaptors.contents import AdaptorContents
from fairlit.adaptors.export import require_rows
from fairlit.adaptors.formats.low_rank import LowRank
from fairlit.adaptors.peft_layers import lora_layers
from fairlit.adaptors.pipelines import TOKENIZERS, load_contents, pipeline_components, quiet_loaders
from fairlit.diffusion.loading import load_whole_pipeline
from fairlit.diffusion.saving import save_pipeline
from fairlit.errors import CheckpointError


@torch.no_grad()
def merge_adaptor(contents: AdaptorContents, base: str | Path, folder: Path) -> list[Path]:
    """Add the LoRA to the weights of its base model, put soft tokens into its vocabulary, and save the whole.

    Every adapted layer is compared with the sum of its weights and its update, and the files with the merged model.

    Args:
        contents: of the adaptor.
        base: pipeline folder or hub id; opened in float32.
        folder: where to; gets a stock pipeline.

    Returns:
        The files written.

    Raises:
        ConfigurationError: a file of the base model is damaged.
        CheckpointError: the adaptor was made for another model, weights of the base model are missing, misshapen or not
            finite, or what was merged or saved is not what it should be.
    """
    pipeline = load_whole_pipeline(base)
    load_contents(pipeline, contents.at_rank())
    if contents.updates:
        probes = _probes(pipeline)
        pipeline.fuse_lora(components=pipeline_components(pipeline), safe_fusing=True)
        pipeline.unload_lora_weights()
        for layer, update in contents.updates.items():
            if layer not in probes or not probes[layer].has_grown_by(update):
                raise CheckpointError(f"{folder}: layer '{layer}': merged, its weights are not the sum; update peft")
    save_pipeline(pipeline, folder)
    _verify_saved(pipeline, contents, folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class _Probe:
    """The weights of a layer, and what they made of a random vector before the merge; a copy would cost too much.

    Attributes:
        weight: parameter [out, ...], in which merging happens.
        vector: random vector [in], float64.
        before: product of the two [out] before the merge.
    """

    weight: nn.Parameter
    vector: Tensor
    before: Tensor

    def has_grown_by(self, update: LowRank) -> bool:
        """Return whether the weights are the sum of the former ones and an update, as far as float32 goes."""
        after, delta = self.weight.flatten(1).double(), update.delta().flatten(1).double()
        size = self.vector.abs()
        allowed = 2 * torch.finfo(self.weight.dtype).eps * (after.abs() @ size) + 1e-5 * delta.abs().max() * size.sum()
        return bool(((after - delta) @ self.vector - self.before).abs().le(allowed).all())


def _probes(pipeline: DiffusionPipeline) -> Mapping[str, _Probe]:
    generator = torch.Generator().manual_seed(0)
    probes = {}
    for component in pipeline_components(pipeline):
        for name, layer in lora_layers(component, getattr(pipeline, component)).items():
            weight = layer.base_layer.weight
            vector = torch.randn(weight[0].numel(), generator=generator, dtype=torch.float64)
            probes[name] = _Probe(weight, vector, weight.flatten(1).double() @ vector)
    return probes


def _verify_saved(pipeline: DiffusionPipeline, contents: AdaptorContents, folder: Path) -> None:
    """Read the parts that an adaptor changes back, each by its stock class, and compare every tensor."""
    for name in pipeline_components(pipeline):
        part = getattr(pipeline, name)
        with quiet_loaders():
            again = type(part).from_pretrained(folder / name, dtype=torch.float32, local_files_only=True)
        expected, found = part.state_dict(), again.state_dict()
        wrong = [key for key in expected if key not in found or not torch.equal(expected[key], found[key])]
        if wrong:
            raise CheckpointError(f"{folder / name}: read back, tensor '{wrong[0]}' is something else; do not use it")
        if name in contents.rows:
            place = TOKENIZERS[name]
            tokenizer = type(getattr(pipeline, place)).from_pretrained(folder / place, local_files_only=True)
            require_rows(str(folder), contents, name, tokenizer, again)
