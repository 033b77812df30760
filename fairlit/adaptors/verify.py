"""Proof that saved files are the adaptor: stock loaders read them back, and the same image must come out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from fairlit.adaptors.base import Adaptor, PipelineComponents
from fairlit.adaptors.files import read_tensors
from fairlit.adaptors.formats.low_rank import LowRankUpdates, require_same
from fairlit.adaptors.peft_layers import living_updates
from fairlit.adaptors.pipelines import load_adaptor
from fairlit.diffusion.families.lookup import family_of
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError

# Largest difference between latents, relative to the largest latent. diffusers casts a loaded LoRA to the model's
# precision, while training keeps it in float32, so a half-precision model cannot do better than its own rounding.
TOLERANCES = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_MODULE = TypeVar("_MODULE", bound=nn.Module)


def verify_saved(
    adaptor: Adaptor,
    folder: str | Path,
    components: PipelineComponents,
    *,
    prompt: str = "a photo of a person",
    num_steps: int = 2,
    seed: int = 0,
    tolerance: float | None = None,
    open_base: Callable[[], PipelineComponents] | None = None,
) -> float:
    """Compare the files in `folder` with the living adaptor: tensors, strength in every layer, and what they generate.

    The files are opened by stock diffusers in a fresh pipeline, which samples one prompt with a fixed seed; the
    living model samples the same. The fresh pipeline has modules, tokenizer and scheduler of its own, without any
    trace of the adaptor, but shares the memory of the frozen weights: it costs the size of the adaptor (for soft tokens
    of the token embedding table) and four times `num_steps` evaluations of the U-Net on one latent (two pipelines, with
    guidance), seconds for Stable Diffusion v1-5, instead of reading gigabytes again.

    Args:
        adaptor: as it was saved: with the same parameters in place, enabled.
        folder: what `Adaptor.save` was given.
        components: the model that the adaptor is attached to, with VAE and scheduler.
        prompt: what to generate.
        num_steps: sampling steps.
        seed: of the noise.
        tolerance: largest difference between the latents, relative to their largest entry; None: by the model's
            precision (1e-4 for float32).
        open_base: opens the original model anew. Needed only where `components` is sharded over processes (FSDP2):
            there one process alone cannot run it, so a twin of the adaptor in a whole model stands for it. Costs
            the time and memory of opening the model.

    Returns:
        The difference found.

    Raises:
        CheckpointError: a file is missing or damaged, holds other values than the adaptor, or gives another image.
        RuntimeError: the adaptor is disabled; or the model is sharded and there is no `open_base`.
    """
    if not adaptor.enabled:
        raise RuntimeError("verify_saved: the adaptor is disabled, so there is nothing to compare the files with")
    file = Path(folder) / adaptor.file_name
    _compare_tensors(adaptor, file)
    if is_sharded(components):
        components, adaptor = _whole_twin(adaptor, open_base)
    difference = _generated_difference(adaptor, file, components, prompt, num_steps=num_steps, seed=seed)
    allowed = TOLERANCES[components.unet.dtype] if tolerance is None else tolerance
    if not difference <= allowed:  # also refuses NaN
        raise CheckpointError(
            f"{file}: a fresh pipeline with this file generates something else than the trained model "
            f"(relative difference {difference:.2e}, allowed {allowed:.2e}); do not use the file"
        )
    return difference


def _generated_difference(
    adaptor: Adaptor, file: Path, components: PipelineComponents, prompt: str, *, num_steps: int, seed: int
) -> float:
    """Return the largest difference between latents of a fresh pipeline with the file and of the living model.

    Raises:
        CheckpointError: a layer of the fresh pipeline has another strength.
    """
    unet, text = components.unet, adaptor.pipeline_prompt(prompt)
    with torch.random.fork_rng(devices=[unet.device] if unet.device.type == "cuda" else []):
        fresh = load_adaptor(fresh_pipeline(adaptor, components), file)  # loading token embeddings draws random numbers
        require_same(str(file), _low_rank_layers(fresh), _low_rank_layers(components))
        loaded = _sample(fresh, text, num_steps, seed)
    living = _sample(_pipeline(components), text, num_steps, seed)
    return float((loaded - living).abs().max() / living.abs().max())


def _whole_twin(
    adaptor: Adaptor, open_base: Callable[[], PipelineComponents] | None
) -> tuple[PipelineComponents, Adaptor]:
    """Return the model opened anew, and a twin of the adaptor in it."""
    if open_base is None:
        raise RuntimeError("verify_saved: the model is sharded over processes; give `open_base` to open it whole")
    components = open_base()
    return components, adaptor.twin(components)


def is_sharded(components: PipelineComponents) -> bool:
    """Return whether a part of the model that adaptors touch is spread over processes."""
    family = family_of(components)
    modules = [getattr(components, name) for name in (*family.tokenizers, family.denoiser)]
    parts = [part for module in modules for part in module.modules()]
    if any(isinstance(part, FSDPModule) for part in parts):  # its parameters may be gathered at the moment
        return True
    return any(isinstance(parameter, DTensor) for part in parts for parameter in part.parameters(recurse=False))


def fresh_pipeline(adaptor: Adaptor, components: PipelineComponents) -> DiffusionPipeline:
    """Return a stock pipeline of the original model, as if opened anew, that shares the memory of the frozen weights.

    Loading adaptors into it, or adding tokens, does not touch `components`.
    """
    pipeline = _pipeline(components, share_modules=False)
    adaptor.strip(pipeline)
    return pipeline


def shared_copy(module: _MODULE) -> _MODULE:
    """Copy a module's structure; its tensors are new objects over the same memory.

    Replacing a tensor of the copy (as resizing an embedding does) leaves the original alone; writing into one does not.
    """
    memo: dict[int, Tensor] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=False) for parameter in module.parameters()
    }
    memo.update({id(buffer): buffer.detach() for buffer in module.buffers()})
    return copy.deepcopy(module, memo)


def _pipeline(components: PipelineComponents, share_modules: bool = True) -> DiffusionPipeline:
    """Return a stock pipeline around the modules themselves, or around shared copies of those that adaptors change."""
    family, scheduler = family_of(components), components.scheduler
    replaced: dict[str, Any] = {}
    if not share_modules:
        replaced = {name: shared_copy(getattr(components, name)) for name in (*family.tokenizers, family.denoiser)}
    # A scheduler of its own: sampling leaves state behind.
    pipeline = family.pipeline(components, scheduler=type(scheduler).from_config(scheduler.config), **replaced)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _sample(pipeline: Any, prompt: str, num_steps: int, seed: int) -> Tensor:
    """Return the final latents [1, C, h, w] of one prompt, float32."""
    generator = torch.Generator().manual_seed(seed)
    return pipeline(prompt, num_inference_steps=num_steps, generator=generator, output_type="latent").images.float()


def _low_rank_layers(components: PipelineComponents) -> LowRankUpdates:
    """Return the low-rank updates of a model, as strong as peft makes them; none where it carries no LoRA."""
    updates: LowRankUpdates = {}
    for component in ADAPTED_PARTS:
        module: Any = getattr(components, component, None)
        for adapter in getattr(module, "peft_config", {}):
            updates.update(living_updates(component, module, adapter))
    return updates


def _compare_tensors(adaptor: Adaptor, file: Path) -> None:
    """Raise `CheckpointError` if `file` does not hold exactly the adaptor's present values."""
    saved, _ = read_tensors(file)
    for name, parameter in adaptor.parameters().items():
        if name not in saved or not torch.equal(saved[name], parameter.detach().cpu()):
            raise CheckpointError(
                f"{file}: tensor '{name}' is not what the adaptor holds; the file was not written from it or was "
                "changed since: save it again"
            )
