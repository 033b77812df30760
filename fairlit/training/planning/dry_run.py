"""What a run would do, said before any weights are loaded."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import ModelCheckpoint
from transformers import CLIPTokenizer

from fairlit.data import FaceDataModule, PromptDataModule
from fairlit.data.prompts.sets import SPLITS
from fairlit.diffusion.loading import refused_if_damaged
from fairlit.diffusion.settings import family_here
from fairlit.diffusion.single_files import config_folder
from fairlit.diffusion.weight_check import check_tensors
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.model_folders import local_folder
from fairlit.io.output_places import check_writable
from fairlit.io.tokenizer_files import require_words
from fairlit.training.distributed.sharding import FrozenShardsStrategy
from fairlit.training.finetuning.finetuner import FairFinetuner
from fairlit.training.planning.memory_estimate import Layout, MemoryEstimate, estimate_memory

_GIB = 2**30
_TARGETS_SHOWN = 3
_SPARE_DISK = 64 * 2**20  # events, pictures, summaries
_NOT_COUNTED = (
    "An estimate: the configs' models go through a step on tensors without content, and the bytes alive at once are "
    "counted.\nNot in it: the CUDA context (about 0.5 GiB), unused parts of the allocator's blocks, libraries' "
    "workspaces, face detection."
)


def dry_run_finetuning(
    module: FairFinetuner, data: PromptDataModule, trainer: L.Trainer | None, *, problems: Problems
) -> str:
    """Check what `fit` would do and describe it; load no weights and touch no device.

    Args:
        module: constructed; `FairFinetuner.check` has been called by then.
        data: constructed.
        trainer: None where it could not be made.
        problems: where messages go.

    Returns:
        Several lines of text; only part of them where there are problems.
    """
    weights = ""
    with problems.collecting():
        _check_contrasts(module, problems)
        if not problems.messages and (folder := local_folder(module.models.backbone)) is not None:
            weights = f"weights     of {folder}: {check_tensors(folder, problems, 'backbone')}"
    module.give_warnings(data)
    if trainer is None:
        return ""
    module.check_trainer(trainer, data, problems)
    layout = layout_of(trainer, data.images["train"])
    estimate = None
    with problems.collecting():
        if not problems.messages:
            estimate = estimate_memory(module, layout)
    trained = sum(estimate.parameters.values()) if estimate else 0
    states = 1 + (module.ema_decay is not None) + (estimate.optimizer_states if estimate else 0)
    states += trainer.accumulate_grad_batches > 1  # a gradient that waits for other batches is saved too
    disk = _check_disk(trainer, 4 * trained * states, 8 * trained, problems=problems)
    lines = [*_describe_training(module, data, trainer, layout=layout, estimate=estimate), weights, disk]
    lines += _describe_memory(estimate, module, layout) if estimate else [_no_estimate(module)]
    return "\n".join(filter(None, lines))


def layout_of(trainer: L.Trainer, images: int) -> Layout:
    """Return how a trainer spreads `images` images of one prompt."""
    return Layout(
        images=-(-images // trainer.world_size),
        precision=str(trainer.precision),
        on_gpu=not isinstance(trainer.accelerator, CPUAccelerator),
        shards=trainer.num_devices if isinstance(trainer.strategy, FrozenShardsStrategy) else 1,
    )


def check_folder(folder: Path, needed: int, problems: Problems) -> int:
    """Note that a folder cannot be written to, or that its disk has less than `needed` bytes free; return the free."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    check_writable(folder, "trainer.default_root_dir", problems)
    if free < needed:
        problems.add(
            f"trainer.default_root_dir: {folder} needs about {_size(needed)} and its disk has {_size(free)} free; "
            "make room or give another folder"
        )
    return free


def _check_contrasts(module: FairFinetuner, problems: Problems) -> None:
    folder = config_folder(module.models.backbone) or local_folder(module.models.backbone)
    contrasts = getattr(module.adaptor, "all_contrasts", ())
    family = family_here(module.models.backbone)
    if folder is None or family is None or not contrasts:
        return
    for name in family.tokenizers.values():
        if not (folder / name).is_dir():
            continue
        with refused_if_damaged(folder / name):
            tokenizer = CLIPTokenizer.from_pretrained(folder / name, local_files_only=True)
        require_words(tokenizer, folder / name)
        for contrast in contrasts:
            contrast.check_tokens(tokenizer, problems)


def _check_disk(trainer: L.Trainer, checkpoint: int, adaptors: int, *, problems: Problems) -> str:
    """Compare the disk with what the run will write, and say both."""
    kept = 1  # one is written beside the one that it replaces
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ModelCheckpoint):
            best = callback.save_top_k
            if best < 0:
                best = max(1, trainer.max_steps // max(1, callback._every_n_train_steps or 1))
            kept += best + bool(callback.save_last)
    needed = kept * checkpoint + 2 * adaptors + _SPARE_DISK
    folder = Path(trainer.default_root_dir)
    free = check_folder(folder, needed, problems)
    return f"disk        {folder}: about {_size(needed)} needed ({kept} checkpoints at most), {_size(free)} free"


def _describe_training(
    module: FairFinetuner,
    data: PromptDataModule,
    trainer: L.Trainer,
    *,
    layout: Layout,
    estimate: MemoryEstimate | None,
) -> list[str]:
    counts = [f"{count:,} in the {part}" for part, count in (estimate.parameters if estimate else {}).items()]
    prompts = ", ".join(f"{len(data.prompts(split))} {split}" for split in SPLITS)
    families = sorted({prompt.family for split in SPLITS for prompt in data.prompts(split)})
    images, sampling, batches = data.images["train"], module.sampling, trainer.accumulate_grad_batches
    return [
        f"trained     {type(module.adaptor).__name__}, parameters: {' and '.join(counts) or 'not counted'}",
        *_describe_targets(data.targets()),
        f"prompts     {prompts}; families: {', '.join(families)}",
        f"images      {images * batches} a step: {images} of a prompt, {layout.images} at most in each process, "
        f"{sampling.min_steps} to {sampling.max_steps} solver steps",
        f"steps       {trainer.max_steps} of the optimiser, batches each: {batches}, processes: {trainer.world_size}, "
        f"precision {trainer.precision}",
    ]


def _describe_targets(targets: Sequence[TargetDistribution]) -> list[str]:
    shown = [f"target      {target.to_dict()}".replace("'", "") for target in targets[:_TARGETS_SHOWN]]
    return shown + [f"            and {len(targets) - len(shown)} more"] * (len(targets) > len(shown))


def _describe_memory(estimate: MemoryEstimate, module: FairFinetuner, layout: Layout) -> list[str]:
    weights, phases = estimate.weights, estimate.phases
    copies = ["parameters", "gradients", f"{estimate.optimizer_states} numbers of the optimiser for each"]
    copies += ["average"] if module.ema_decay is not None else []
    where = "GPU memory" if layout.on_gpu else "memory    "
    lines = [
        f"{where}  about {_size(estimate.total)} a process",
        f"  frozen weights     {_size(sum(weights.values())):>10}  {_parts(weights)}",
        f"  what is trained    {_size(estimate.trained):>10}  {', '.join(copies)}",
        f"  images and states  {_size(estimate.images):>10}",
        *([f"  kept activations   {_size(estimate.activations):>10}"] if estimate.activations else []),
        f"  largest phase      {_size(max(phases.values())):>10}  {_parts(phases)}",
    ]
    lines += [f"  not counted: {name}" for name in estimate.left_out]
    if layout.on_gpu and torch.cuda.is_available():
        there = torch.cuda.get_device_properties(0).total_memory
        if estimate.total > there:
            lines.append(f"  this GPU has {_size(there)}: lower micro_batch, loss_batch, batch_size or keep")
    return [*lines, _NOT_COUNTED]


def _no_estimate(module: FairFinetuner) -> str:
    return f"memory      not estimated: {module.models.backbone} is not on this machine yet, fit will download it"


def _parts(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} {_size(size)}" for name, size in sizes.items())


def _size(count: int | float) -> str:
    return f"{count / _GIB:.2f} GiB" if count >= _GIB / 10 else f"{count / 2**20:.1f} MiB"


def describe_other(module: L.LightningModule, trainer: L.Trainer | None, problems: Problems) -> str:
    """Describe a run of a module that is not a `FairFinetuner`, without its memory."""
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    if trainer is None:
        return ""
    folder = Path(trainer.default_root_dir)
    free = check_folder(folder, 4 * 4 * trained + _SPARE_DISK, problems)  # weights, two moments, one being written
    return "\n".join(
        [
            f"trained     {type(module).__name__}: {trained:,} parameters",
            f"disk        {folder}: {_size(free)} free",
            "memory      estimated for FairFinetuner alone",
        ]
    )


def check_data(data: L.LightningDataModule, problems: Problems) -> None:
    """Have data of somebody's own read its files as for training; fairlit's own have checked theirs by then."""
    if not isinstance(data, PromptDataModule | FaceDataModule):
        with problems.collecting():
            data.prepare_data()
            data.setup("fit")
