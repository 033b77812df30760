"""Families of text-to-image models, found by the class that a pipeline's model_index.json names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlit.diffusion.families.family import Family
from fairlit.diffusion.families.stable_diffusion import StableDiffusion
from fairlit.diffusion.families.stable_diffusion_xl import StableDiffusionXL
from fairlit.errors import ConfigurationError, Problems
from fairlit.io.model_folders import read_json

_ADAPTORS = ("pytorch_lora_weights.safetensors", "learned_embeds.safetensors", "adapter_model.safetensors")

FAMILIES: tuple[Family, ...] = (StableDiffusion(), StableDiffusionXL())

_KINDS = {
    "StableDiffusion3": "Stable Diffusion 3",
    "StableDiffusionInpaint": "an inpainting model",
    "StableDiffusionInstructPix2Pix": "an image-editing model",
    "StableDiffusionDepth2Img": "a depth-to-image model",
    "StableDiffusionUpscale": "an upscaling model",
    "StableDiffusionControlNet": "a pipeline with a ControlNet",
    "LatentConsistencyModel": "a latent consistency model",
    "Flux": "Flux",
}


def family_named(pipeline: object) -> Family | None:
    """Return the family of a class of pipelines; None where there is none.

    Args:
        pipeline: name of the class.

    Example:
        >>> family_named("StableDiffusionPipeline").denoiser
        'unet'
        >>> family_named("FluxPipeline") is None
        True
    """
    return next((family for family in FAMILIES if pipeline in family.pipelines), None)


def family_of(model: Any) -> Family:
    """Return the family of a stock pipeline or a `Backbone`.

    Raises:
        ConfigurationError: it is of none that fairlit trains and samples.
    """
    if isinstance(own := getattr(model, "family", None), Family):
        return own
    name = type(model).__name__
    family = family_named(name)
    if family is None:
        raise ConfigurationError(f"pipeline: got a {described(name)}; {what_works()}")
    return family


def family_in(folder: Path, subject: str) -> Family:
    """Return the family of the pipeline in a folder.

    Args:
        folder: folder of a pipeline.
        subject: name of the parameter, begins the message.

    Raises:
        ConfigurationError: it is of none that fairlit trains and samples.
    """
    with Problems(subject) as problems:
        index = read_json(folder / "model_index.json", subject, problems)
        family = None if index is None else check_kind(index, folder, problems, subject)
    assert family is not None  # there was a problem otherwise
    return family


def check_kind(index: Mapping[str, Any], folder: Path, problems: Problems, subject: str) -> Family | None:
    """Return the family of a pipeline; None, and a note, where it or a part of it is of a class that does not work.

    Args:
        index: content of model_index.json.
        folder: folder of the pipeline.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    file, before = folder / "model_index.json", len(problems.messages)
    family = family_named(index.get("_class_name"))
    if family is None:
        problems.add(f"{subject}: got {file} of a {described(index.get('_class_name'))}; {what_works()}")
        return None
    for name, part in family.parts.items():
        entry = index.get(name)
        if isinstance(entry, list) and (len(entry) != 2 or entry[1] not in part.classes):
            problems.add(
                f"{subject}: got {name} {entry} in {file}; expected {' or '.join(part.classes)}; {what_works()}"
            )
    return family if len(problems.messages) == before else None


def content_without_index(folder: Path) -> str | None:
    """Return what lies in a folder without model_index.json: a part of a pipeline, say; None where it tells nothing.

    Args:
        folder: any folder.
    """
    found = {
        name: read_json(folder / name, "", Problems("")) or {}
        for name in ("config.json", "modular_model_index.json", "adapter_config.json")
        if (folder / name).is_file()
    }
    if modular := found.get("modular_model_index.json"):
        return f"a modular pipeline ({modular.get('_class_name')})"
    config = found.get("config.json", {})
    named = config.get("_class_name") or config.get("architectures")
    if isinstance(named, str | list) and named:
        return f"a {named if isinstance(named, str) else named[0]}, one model alone"
    if "adapter_config.json" in found or any((folder / name).is_file() for name in _ADAPTORS):
        return "an adaptor, which goes onto a model"
    return None


def described(name: object) -> str:
    """Return the name of a class of pipelines with what people call its models.

    Example:
        >>> described("FluxPipeline")
        'FluxPipeline (Flux)'
        >>> described("SomeoneElsesPipeline")
        'SomeoneElsesPipeline'
    """
    kind = next((told for start, told in _KINDS.items() if str(name).startswith(start)), None)
    return f"{name} ({kind})" if kind else str(name)


def what_works() -> str:
    """Return which pipelines to give instead.

    Example:
        >>> what_works().split(", ")[0]
        'give a pipeline of Stable Diffusion 1.x or 2.x (StableDiffusionPipeline)'
    """
    return f"give a pipeline of {', '.join(f'{family.title} ({family.pipelines[0]})' for family in FAMILIES)}"
