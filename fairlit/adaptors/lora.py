"""Low-rank updates of the text encoders' and the U-Net's linear layers (Hu et al. 2021), through peft."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from fairlit.adaptors.base import Adaptor, Components, master_dtype
from fairlit.adaptors.contrasts import Contrast, check_templates, contrast_directions
from fairlit.adaptors.files import LORA_CONFIG_KEY, LORA_FILE, AdaptorMetadata, header_object
from fairlit.adaptors.formats import diffusers
from fairlit.adaptors.formats.low_rank import LowRankUpdates, canonical_name
from fairlit.adaptors.formats.reading import settings_alpha
from fairlit.adaptors.peft_layers import living_updates
from fairlit.diffusion.families.family import Family
from fairlit.diffusion.families.lookup import family_of
from fairlit.errors import Problems

ADAPTER_NAME = "fairlit"  # peft's name for ours among a model's adapters
TEXT_ENCODER_MODULES = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
UNET_MODULES = ("to_q", "to_k", "to_v", "to_out.0")
_READS_PROMPT = ("attn2.to_k", "attn2.to_v")  # diffusers' names in the U-Net
_ROW_LENGTH = 1 / math.sqrt(3)  # root mean square length of a row of A at random, whatever its width


class Lora(Adaptor):
    """Adds ``alpha / rank * B A`` to the weights of chosen linear layers; B starts at zero, A at random.

    The defaults are those of Shen et al. 2024: rank 50, alpha equal to the rank, in the text encoder attention and
    MLP, in the U-Net attention; no dropout.

    Args:
        rank: inner dimension of the update.
        alpha: strength of the update, relative to `rank`; None means the rank itself (a factor of 1).
        text_encoder: whether to adapt the text encoder; of two, the first. Of Stable Diffusion XL's first one the last
            layer is left alone: its output is not read, so an update of it would never learn.
        unet: whether to adapt the U-Net.
        text_encoder_2: whether to adapt the second text encoder of Stable Diffusion XL.
        use_rslora: whether the update is multiplied by ``alpha / sqrt(rank)`` instead (Kalajdzievski 2023), so that a
            higher rank does not learn more slowly.
        text_encoder_modules: last part(s) of the names of the layers to adapt in the text encoder.
        unet_modules: the same for the U-Net.
        text_encoder_2_modules: the same for the second text encoder.
        contrasts: words for the classes of attributes, e.g. ``[[female, male]]``, along whose directions the first
            rows of A lie at the start, instead of at random, in all adapted layers that read the prompt: those of the
            text encoders, the keys and values of the U-Net's cross-attention. Not in the paper; meant for few prompts
            to learn from, see `adaptors.contrasts`.
            Several words in the place of one stand for a class together:
            ``[[[nurse, secretary], [plumber, pilot]]]``.
        contrast_templates: prompts with ``{word}`` in the place of such a word; directions are averaged over them.
        contrast_without: words for classes, as in `contrasts`, of whose directions these rows have no part: what is
            read of prompts that lean to a class without naming it leaves those that name it as they are.
        contrast_gain: length of these rows relative to a random one; the larger, the more of a step goes there.
        contrast_centred: whether these rows read nothing at the point of balance between the words, so that prompts are
            contracted towards it instead of shifted, see `adaptors.contrasts`.
        seed: of the initial values.

    Raises:
        ConfigurationError: an argument is out of range, or nothing is to be adapted.
    """

    kind = "lora"
    file_name = LORA_FILE
    has_strength = True

    def __init__(
        self,
        rank: int = 50,
        alpha: float | None = None,
        text_encoder: bool = True,
        *,
        unet: bool = False,
        text_encoder_2: bool = False,
        use_rslora: bool = False,
        text_encoder_modules: Sequence[str] = TEXT_ENCODER_MODULES,
        unet_modules: Sequence[str] = UNET_MODULES,
        text_encoder_2_modules: Sequence[str] = TEXT_ENCODER_MODULES,
        contrasts: Sequence[Sequence[str | Sequence[str]]] = (),
        contrast_templates: Sequence[str] = (),
        contrast_without: Sequence[Sequence[str | Sequence[str]]] = (),
        contrast_gain: float = 4.0,
        contrast_centred: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.rank = rank
        self.alpha = float(rank if alpha is None else alpha)
        self.use_rslora = use_rslora
        self.seed = seed
        adapted = {
            "text_encoder": (text_encoder, text_encoder_modules),
            "text_encoder_2": (text_encoder_2, text_encoder_2_modules),
            "unet": (unet, unet_modules),
        }
        self.modules = {component: tuple(names) for component, (switch, names) in adapted.items() if switch}
        self.contrasts, self.contrast_without = (
            [Contrast(tuple(words), tuple(contrast_templates), parameter) for words in given]
            for parameter, given in (("contrasts", contrasts), ("contrast_without", contrast_without))
        )
        self.contrast_templates = tuple(contrast_templates)
        self.contrast_gain, self.contrast_centred = contrast_gain, contrast_centred
        self._layers: list[BaseTunerLayer] = []
        with Problems("lora") as problems:
            for contrast in self.all_contrasts:
                contrast.check(problems)
            if self.contrasts:
                check_templates(self.contrast_templates, problems)
            if rank < (directions := sum(contrast.rank for contrast in self.contrasts)):
                problems.add(f"rank is {rank}, but the contrasts span {directions} directions; raise the rank")
            if contrast_centred and not self.contrasts:
                problems.add("contrast_centred: got true without contrasts; expected some; give contrasts, or false")
            if contrast_without and not self.contrasts:
                problems.add("contrast_without: got words without contrasts; expected some; give contrasts, or nothing")
            if not contrast_gain > 0:
                problems.add(f"contrast_gain is {contrast_gain}; give a number above 0")
            problems.at_least("rank", rank, 1)
            if not self.alpha > 0:
                problems.add(f"alpha is {alpha}; give a number above 0, or nothing for alpha = rank")
            if not self.modules:
                problems.add("text_encoder, text_encoder_2 and unet are all false: set at least one of them to true")
            for component, names in self.modules.items():
                if not names or not all(names):
                    problems.add(f"{component}_modules is {list(names)}; name at least one layer, e.g. 'q_proj'")

    @property
    def all_contrasts(self) -> list[Contrast]:
        """Contrasts along which rows of A start, and those that these have no part of."""
        return [*self.contrasts, *self.contrast_without]

    def check_family(self, family: Family, problems: Problems) -> None:
        """Note parts to adapt that models of the family do not have."""
        for component in self.modules:
            if component not in family.weights:
                problems.add(
                    f"{component}: got true for {family.title}, which has no such part; expected false; leave it out"
                )

    def _add_to(self, components: Components) -> dict[str, nn.Parameter]:
        family = family_of(components)
        unread = {
            component: _layers_of(getattr(components, component), name)
            for component, name in family.unread(components).items()
        }
        with Problems("lora") as problems:
            for component, names in self.modules.items():
                module, excluded = getattr(components, component), unread.get(component, ())
                _check_modules(component, module, names, unread=excluded, problems=problems)
            for contrast in self.all_contrasts:
                for name in family.tokenizers.values():
                    contrast.check_tokens(getattr(components, name), problems)
        parameters: dict[str, nn.Parameter] = {}
        for component, names in self.modules.items():
            module = getattr(components, component)
            config = LoraConfig(
                r=self.rank,
                lora_alpha=self.alpha,
                target_modules=list(names),
                exclude_modules=unread.get(component),
                lora_dropout=0.0,
                bias="none",
                use_rslora=self.use_rslora,
            )
            device = next(module.parameters()).device
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                module.add_adapter(config, adapter_name=ADAPTER_NAME)
            self._layers += [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
            parameters.update(lora_parameters(component, module, ADAPTER_NAME))
        _initialise(parameters, self.seed)
        self._read_contrasts(components)
        return parameters

    @torch.no_grad()
    def _read_contrasts(self, components: Components) -> None:
        """Lay the first rows of A along the contrasts, in every adapted layer that reads the prompt."""
        encoders = {name: getattr(components, name) for name in family_of(components).tokenizers}
        inside = {f"{part}.{name}": layer for part in encoders for name, layer in _lora_layers(encoders[part]).items()}
        after = {name: layer for name, layer in _lora_layers(components.unet).items() if name.endswith(_READS_PROMPT)}
        row = 0
        for contrast in self.contrasts:
            found = contrast_directions(
                contrast,
                components,
                inside,
                after=list(after),
                centred=self.contrast_centred,
                without=self.contrast_without,
            )
            for name, directions in found.items():
                weight = (inside | after)[name].lora_A[ADAPTER_NAME].weight
                weight[row : row + len(directions)] = self.contrast_gain * _ROW_LENGTH * directions.to(weight)
            row += contrast.rank

    def _set_enabled(self, enabled: bool) -> None:
        for layer in self._layers:
            trainable = {parameter: parameter.requires_grad for parameter in layer.parameters()}
            layer.enable_adapters(enabled)
            for parameter, value in trainable.items():  # peft's switch also toggles these
                parameter.requires_grad_(value)

    def _set_strength(self, strength: float) -> None:
        for layer in self._layers:
            layer.set_scale(ADAPTER_NAME, strength)
        super()._set_strength(strength)

    def strip(self, pipeline: DiffusionPipeline) -> None:
        """Take the low-rank layers out of the copied modules of `pipeline`."""
        pipeline.unload_lora_weights()

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, as plain data."""
        names = {f"{component}_modules": list(names) for component, names in self.modules.items()}
        switches = {component: component in self.modules for component in ("text_encoder", "unet")}
        switches |= {"text_encoder_2": True} if "text_encoder_2" in self.modules else {}
        numbers = {"rank": self.rank, "alpha": self.alpha, "seed": self.seed, "contrast_gain": self.contrast_gain}
        contrasts = {
            "contrasts": [_plain(contrast) for contrast in self.contrasts],
            "contrast_templates": list(self.contrast_templates),
        }
        rare = {
            "use_rslora": self.use_rslora,
            "contrast_centred": self.contrast_centred,
            "contrast_without": [_plain(contrast) for contrast in self.contrast_without],
        }
        given = {name: value for name, value in rare.items() if value}  # digests of runs without stay what they were
        return {**numbers, **given, **contrasts, **switches, **names}

    @property
    def relative_alpha(self) -> float:
        """Strength of the update, relative to `rank`, as files tell it: programs know ``alpha / rank`` alone."""
        return self.alpha * math.sqrt(self.rank) if self.use_rslora else self.alpha

    def _complete(self, metadata: AdaptorMetadata) -> AdaptorMetadata:
        return dataclasses.replace(
            metadata, kind=self.kind, rank=self.rank, alpha=self.relative_alpha, modules=self.modules
        )

    def _stock_header(self, components: Components) -> dict[str, str]:
        updates: LowRankUpdates = {}
        for component in self.modules:
            updates.update(living_updates(component, getattr(components, component), ADAPTER_NAME))
        return diffusers.write_lora(updates)[1]

    def _canonical_name(self, name: str) -> str:
        return canonical_name(name)

    def _objection(self, source: str, header: Mapping[str, str]) -> str | None:
        settings = header_object(source, header, LORA_CONFIG_KEY)
        for layer in dict.fromkeys(name.split(".lora_")[0] for name in self.parameters()):
            alpha = settings_alpha(source, settings, layer, self.rank)
            if settings.get(f"{layer.split('.', 1)[0]}.r", self.rank) == self.rank and not math.isclose(
                alpha, self.relative_alpha, rel_tol=1e-6
            ):
                wanted = alpha / math.sqrt(self.rank) if self.use_rslora else alpha
                return (
                    f"its layer '{layer}' was trained with alpha {wanted:g}, this adaptor has alpha {self.alpha:g}; "
                    f"set alpha to {wanted:g}"
                )
        return None


def _plain(contrast: Contrast) -> list[str | list[str]]:
    return [group if isinstance(group, str) else list(group) for group in contrast.words]


def lora_parameters(component: str, module: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """Return the parameters of one peft adapter in `module`, under their names in a diffusers LoRA file."""
    return {
        canonical_name(f"{component}.{name.replace(f'.{adapter}.', '.')}"): parameter
        for name, parameter in module.named_parameters()
        if ".lora_" in name and f".{adapter}." in name
    }


def _layers_of(module: nn.Module, name: str) -> list[str]:
    """Return the names of the linear layers in the part of `module` whose name ends with `name`."""
    return [
        layer for layer, kind in module.named_modules() if isinstance(kind, nn.Linear) and f".{name}." in f".{layer}"
    ]


def _check_modules(
    component: str, module: nn.Module, names: Sequence[str], *, unread: Collection[str], problems: Problems
) -> None:
    """Note every entry of `names` that no linear layer of `module` answers to, and a LoRA that is there already.

    Args:
        component: name of the part.
        module: the part.
        names: ends of the names of layers.
        unread: layers whose output the model does not read.
        problems: collector of the messages.
    """
    if any(isinstance(layer, BaseTunerLayer) for layer in module.modules()):
        problems.add(
            f"the {component} carries a LoRA already; fuse it (pipeline.fuse_lora()) or unload it "
            "(pipeline.unload_lora_weights()) first"
        )
        return
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    for ending in names:
        found = [name for name in linear if name == ending or name.endswith(f".{ending}")]
        if found and all(name in unread for name in found):
            problems.add(
                f"{component}_modules: got '{ending}', whose output the model does not read; expected layers before "
                "the last one; leave it out"
            )
        if not found:
            endings = ", ".join(sorted({_ending(name) for name in linear}))
            problems.add(f"{component}_modules: no linear layer is called '{ending}'; choose among {endings}")


def _lora_layers(module: nn.Module) -> dict[str, Any]:
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}


def _ending(name: str) -> str:
    """Return the shortest telling end of a layer's name: its last part, and the one before a number."""
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]


@torch.no_grad()
def _initialise(parameters: Mapping[str, nn.Parameter], seed: int) -> None:
    """Draw A (Kaiming uniform, as peft does) from a generator of its own, set B to zero, in the master precision."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in parameters.items():
        values = torch.zeros(parameter.shape)
        if ".lora_A." in name:
            nn.init.kaiming_uniform_(values, a=math.sqrt(5), generator=generator)
        parameter.data = values.to(parameter.device, master_dtype(parameter.dtype))
