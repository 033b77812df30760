"""How much memory finetuning will take, from the models' configs alone.

Every phase of a training step is run once on tensors without content (torch's FakeTensorMode) under the run's autocast,
while the bytes that are alive are counted. No weights are read and no device is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.nn import functional
from transformers import AutoConfig, AutoModel, CLIPModel

from fairlit.adaptors import Adaptor
from fairlit.diffusion import Backbone, Chain, Conditioning, Rollout, replay
from fairlit.diffusion.acceleration import use_checkpointing
from fairlit.diffusion.single_files import config_folder
from fairlit.errors import FairlitError
from fairlit.faces import AttributeClassifier, ClassifierConfig
from fairlit.functional.sampling.solver import linear_solver
from fairlit.io.class_paths import is_class_spec
from fairlit.io.model_folders import local_folder
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit.perception.pixels import PixelNormalizer
from fairlit.training.finetuning.finetuner import FairFinetuner
from fairlit.training.finetuning.kept_pairs import keep_budget, kept_bytes
from fairlit.training.finetuning.micro_batch import LARGEST_MICRO_BATCH
from fairlit.training.profiling.live_memory import GpuAutocast, LiveMemory, bytes_of, outline

_HALF = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
_PROMPT = "a photo of the face of a person, a person"  # any of an ordinary length


@dataclass(frozen=True)
class Layout:
    """How a run is spread.

    Attributes:
        images: of one prompt in this process.
        precision: the trainer's.
        on_gpu: whether autocast follows the rules of GPUs.
        shards: processes over which the frozen text encoder and U-Net are spread.
    """

    images: int
    precision: str = "32-true"
    on_gpu: bool = True
    shards: int = 1


@dataclass
class MemoryEstimate:
    """Bytes of one process.

    Attributes:
        parameters: number of trained parameters, by component.
        weights: frozen weights, by model.
        trained: parameters, gradients, the optimiser's state and the moving average.
        images: images and states that are kept for the whole step.
        activations: those that are kept from sampling until the backward pass.
        phases: what each phase of a step needs on top, at its peak.
        optimizer_states: numbers that the optimiser keeps for each parameter.
        left_out: what could not be counted.
    """

    parameters: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    trained: int = 0
    images: int = 0
    activations: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    optimizer_states: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Bytes at the peak of the step."""
        return (
            sum(self.weights.values())
            + self.trained
            + self.images
            + self.activations
            + max(self.phases.values(), default=0)
        )


def estimate_memory(module: FairFinetuner, layout: Layout) -> MemoryEstimate | None:
    """Estimate the memory of a process that trains `module`.

    Args:
        module: checked, but not set up: no weights are loaded.
        layout: how the run is spread.

    Returns:
        The estimate; None where the model that is finetuned is not on this machine.
    """
    folder = config_folder(module.models.backbone) or local_folder(module.models.backbone)
    if folder is None:
        return None
    estimate = MemoryEstimate()
    backbone = Backbone.skeleton(folder, module.sampling.prompt_padding, module.sampling.solver)
    for name, part in _adapted_parts(backbone).items():
        estimate.weights[name] = bytes_of(part) // layout.shards
    estimate.weights["VAE"] = bytes_of(backbone.vae)
    settings = module.adaptor.settings()  # contrasts set initial values, from what the text encoder makes of words
    adaptor = type(module.adaptor)(**{name: value for name, value in settings.items() if "contrast" not in name})
    adaptor.attach(backbone)
    use_checkpointing(backbone, module.acceleration.unet_checkpointing, module.acceleration.vae_checkpointing)
    _count_trained(module, adaptor, backbone, estimate=estimate)
    solver = linear_solver(backbone.scheduler, module.sampling.max_steps)
    chain = Chain(backbone, solver, module.sampling.guidance_range[1])
    with FakeTensorMode(allow_non_fake_inputs=True):
        made = outline(backbone)
        trained = [made[id(parameter)] for parameter in adaptor.parameters().values()]
        step = _Step(
            module, backbone, chain, adaptor=adaptor, trained=trained, judges=_judges(module, estimate), layout=layout
        )
        estimate.images, estimate.activations = step.kept(), step.activations()
        for name, phase in step.phases().items():
            estimate.phases[name] = step.peak_of(phase)
    return estimate


def _adapted_parts(backbone: Backbone) -> dict[str, nn.Module]:
    """Return the parts that adaptors change, as people call them."""
    encoders = zip(("text encoder", "second text encoder"), backbone.text_encoders.values(), strict=False)
    return {**dict(encoders), "U-Net": backbone.denoiser}


def _count_trained(module: FairFinetuner, adaptor: Adaptor, backbone: Backbone, *, estimate: MemoryEstimate) -> None:
    parts = _adapted_parts(backbone)
    owners = {id(parameter): name for name, part in parts.items() for parameter in part.parameters()}
    for parameter in adaptor.parameters().values():
        name = owners[id(parameter)]
        estimate.parameters[name] = estimate.parameters.get(name, 0) + parameter.numel()
    estimate.optimizer_states = optimizer_states(module)
    copies = 2 + estimate.optimizer_states + (module.ema_decay is not None)
    estimate.trained = copies * sum(parameter.numel() * 4 for parameter in adaptor.parameters().values())


def optimizer_states(module: FairFinetuner) -> int:
    """Return how many numbers the configured optimiser keeps for each parameter, found out on one of its own."""
    with torch.device("cpu"):
        probe = nn.Parameter(torch.zeros(64, 32))
        optimizer = module.make_optimizer([probe])
        probe.grad = torch.zeros_like(probe)
        optimizer.step()
    kept = [value.numel() for value in optimizer.state[probe].values() if isinstance(value, Tensor)]
    return round(sum(kept) / probe.numel())


def _judges(module: FairFinetuner, estimate: MemoryEstimate) -> list[Callable[[Tensor], Tensor]]:
    """Return outlines of the models in the loss, as functions of images, and note their weights."""
    models, judges = module.models, []
    preserves, realistic = module.preservation.weight > 0, module.realism.weight > 0
    for name, path, judges_images in (
        *(("classifier", spec, True) for spec in models.classifiers),
        ("auditing classifier", models.audit_classifier, False),
        ("CLIP", models.clip, preserves),
        ("DINO", models.dino, preserves),
        ("face embedder", models.face_embedder, realistic),
    ):
        if path is None:
            continue
        if is_class_spec(path):
            estimate.left_out.append(f"{name} {path}, a class of somebody's own")
            continue
        path = str(path)
        try:
            judge, size = _outline(name, path)
        except (FairlitError, OSError, ValueError, KeyError) as error:
            estimate.left_out.append(f"what {name} {path} computes ({str(error).splitlines()[0]})")
            estimate.weights[name] = _file_size(path)
            continue
        estimate.weights[name] = estimate.weights.get(name, 0) + size
        if judges_images:
            judges.append(judge)
    if models.face_bank:
        estimate.weights["face bank"] = _file_size(models.face_bank)
    return judges


def _outline(name: str, path: str) -> tuple[Callable[[Tensor], Tensor], int]:
    """Return a model without its weights, as a function of images [n, 3, H, W], and the bytes of its weights."""
    folder = local_folder(path)
    if folder is None:
        raise FairlitError("not on this machine")
    if name in ("CLIP", "DINO"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        encoder: nn.Module
        if name == "CLIP":
            size = config.vision_config.image_size
            with unset_fake_temporarily():  # the image processor is tried on pictures
                pixels = PixelNormalizer.from_pretrained(str(folder), size, (0.5,), (0.5,), True)
            with torch.device("meta"):
                encoder = ClipEncoder(CLIPModel(config), None, pixels)
        else:
            with unset_fake_temporarily():
                pixels = PixelNormalizer.from_pretrained(str(folder), config.image_size, (0.5,), (0.5,), True)
            with torch.device("meta"):
                encoder = DinoEncoder(AutoModel.from_config(config), pixels)
        encoder.requires_grad_(False).eval()
        outline(encoder)
        return encoder, bytes_of(encoder)
    with torch.device("meta"):
        classifier = AttributeClassifier(ClassifierConfig.read(folder)).freeze()
    outline(classifier)
    side = classifier.config.input_size

    def classify(images: Tensor) -> Tensor:
        """Classify one face an image, taken to be all of it."""
        faces = functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        return torch.cat(list(classifier(faces).values()), dim=1)

    return classify, bytes_of(classifier)


def _micro_batch(module: FairFinetuner, layout: Layout) -> int:
    """Return the pairs of one batch with gradient; `auto` is taken to find all the memory it can use."""
    if module.gradient.mode != "replay":
        return layout.images
    given = module.replay.micro_batch
    return LARGEST_MICRO_BATCH["cuda" if layout.on_gpu else "cpu"] if given == "auto" else given


def _file_size(path: str) -> int:
    """Return the bytes of the weights in a file or folder; 0 where it is not on this machine."""
    folder = local_folder(path)
    files = [Path(path)] if Path(path).is_file() else list(folder.rglob("*.safetensors")) if folder else []
    return sum(file.stat().st_size for file in files)


class _Step:
    """The phases of one training step on outlines; a FakeTensorMode must be on."""

    def __init__(
        self,
        module: FairFinetuner,
        backbone: Backbone,
        chain: Chain,
        *,
        adaptor: Adaptor,
        trained: list[nn.Parameter],
        judges: list[Callable[[Tensor], Tensor]],
        layout: Layout,
    ) -> None:
        self.sampling, self.gradient, self.layout = module.sampling, module.gradient, layout
        self.micro_batch = _micro_batch(module, layout)
        one_shape = module.acceleration.compile or layout.shards > 1
        device = "cuda" if layout.on_gpu else "cpu"
        self.keep = 0.0 if one_shape else keep_budget(module.gradient, module.replay, device)
        self.backbone, self.adaptor, self.trained, self.judges = backbone, adaptor, trained, judges
        self.shape = backbone.latent_shape(module.sampling.image_size)
        self.chain = chain

    def kept(self) -> int:
        """Return the bytes of the images before and after, and of the chain's states and noise (float32)."""
        images = self.layout.images
        channels, height, width = self.shape
        solver = self.chain.solver
        states = (solver.num_evaluations + solver.num_fresh + 2) * images * channels * height * width
        return 4 * (2 * images * 3 * height * width * self.backbone.vae_scale**2 + states)

    def activations(self) -> int:
        """Return the bytes of activations that are kept, of all pairs or as many as the budget holds."""
        if not self.keep:
            return 0
        with self._precision():
            each = kept_bytes(self.chain, self._latents(1), self._conditioning(1), count=1)
        return min(int(self.keep * 2**30), self.chain.solver.num_evaluations * self.layout.images * each)

    def phases(self) -> dict[str, Callable[[], object]]:
        """Return what a step does after another, by name."""
        return {"sampling": self.sample, "decoding": self.decode, "losses": self.judge, "replay": self.backward}

    def peak_of(self, phase: Callable[[], object]) -> int:
        """Return the most bytes alive while a phase runs, under the run's autocast."""
        with self._precision(), LiveMemory() as live:
            phase()
        return live.peak

    @contextmanager
    def _precision(self) -> Iterator[None]:
        dtype = _HALF.get(self.layout.precision)
        with ExitStack() as stack:
            if dtype is not None:
                stack.enter_context(torch.autocast("cpu", dtype, cache_enabled=False))
                if self.layout.on_gpu:
                    stack.enter_context(GpuAutocast())
            yield

    def _latents(self, count: int) -> Tensor:
        return torch.zeros(count, *self.shape)

    def _conditioning(self, count: int) -> Conditioning:
        prompts = self.backbone.encode(["", self.adaptor.adapt_prompt(_PROMPT)])
        return Conditioning.of_one_prompt(prompts, count)

    @torch.no_grad()
    def sample(self) -> object:
        """Evaluate the model once, as the rollout does."""
        count = min(self.layout.images, self.sampling.batch_size)
        images = torch.arange(count)
        return self.chain.predict(self._latents(count), torch.zeros_like(images), self._conditioning(count), images)

    @torch.no_grad()
    def decode(self) -> object:
        """Decode the images of one batch."""
        return self.backbone.decode(self._latents(min(self.layout.images, self.sampling.batch_size)))

    def judge(self) -> object:
        """Return the value and gradient of the losses of a few images."""
        leaf = self._latents(min(self.layout.images, self.gradient.loss_batch)).requires_grad_()
        images = self.backbone.decode(leaf)
        values = [judge(images).float().square().sum() for judge in self.judges]
        return torch.autograd.grad(torch.stack(values).sum() if values else images.sum(), leaf)

    def backward(self) -> object:
        """Take the gradient through one batch of evaluations; other modes recompute one of all images at a time."""
        micro_batch = self.micro_batch
        count = min(self.layout.images, micro_batch)
        evaluations = min(-(-micro_batch // count), self.chain.solver.num_evaluations)
        noise = self._latents(count)
        sampled = Rollout(noise, torch.zeros(evaluations, *noise.shape))
        inside = {id(parameter) for parameter in self.backbone.denoiser.parameters()}
        inner = [parameter for parameter in self.trained if id(parameter) in inside]
        weights, conditioning = torch.ones(evaluations), self._conditioning(count)
        latents = replay(self.chain, sampled, conditioning, weights, inner, micro_batch=micro_batch)
        return torch.autograd.grad(latents.sum(), self.trained, allow_unused=True)
