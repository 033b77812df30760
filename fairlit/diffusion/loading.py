"""Opens pipelines, and refuses those of which some weights would stay random."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from fairlit.diffusion.families.family import Family
from fairlit.diffusion.families.lookup import check_kind, family_in
from fairlit.diffusion.out_of_memory import is_out_of_memory
from fairlit.diffusion.settings import check_pipeline
from fairlit.diffusion.single_files import config_folder, is_single_file
from fairlit.errors import CheckpointError, ConfigurationError, FairlitError, Problems, surroundings_error
from fairlit.io.model_folders import check_weights, find_variant, local_folder, read_json
from fairlit.io.tokenizer_files import require_words

_CLASSES: dict[str, Any] = {  # by the names that model_index.json gives them
    kind.__name__: kind for kind in (CLIPTextModel, CLIPTextModelWithProjection, UNet2DConditionModel, AutoencoderKL)
}
_WEIGHTS = {"transformers": "model", "diffusers": "diffusion_pytorch_model"}  # libraries, and what they call weights
_DISPENSABLE = ("safety_checker", "feature_extractor", "image_encoder")
_log = logging.getLogger(__name__)


def load_pipeline(path: str | Path, dtype: torch.dtype) -> DiffusionPipeline:
    """Return a pipeline to train and sample, without its safety checker.

    Args:
        path: folder or single file that `check_pipeline` has checked, or a hub id.
        dtype: precision of the weights.

    Raises:
        ConfigurationError: a config or the tokenizer is damaged; names its folder. Or a hub id is of a family that does
            not work, which is seen before anything large is downloaded.
        CheckpointError: weights are missing, of another shape, or not finite; names their folder and a tensor.
    """
    single = is_single_file(path)
    path = Path(path) if single else _on_this_machine(path)
    folder = config_folder(path) or path
    family = family_in(folder, "model")
    pipeline = _open_file(path, folder, family, dtype=dtype) if single else _open_folder(path, family, dtype)
    for name in family.tokenizers.values():
        require_words(getattr(pipeline, name), folder / name)
    for name in family.weights:
        _check_finite(getattr(pipeline, name), f"{name} of {path}")
    return pipeline


def _open_folder(folder: Path, family: Family, dtype: torch.dtype) -> DiffusionPipeline:
    with refused_if_damaged(folder):
        index = DiffusionPipeline.load_config(str(folder), local_files_only=True)
    models = {
        name: _load_part(folder / name, index[name][1], family.precision(name, _config(folder / name), dtype))
        for name in family.weights
    }
    with refused_if_damaged(folder):
        pipeline: DiffusionPipeline = getattr(diffusers, family.pipelines[0]).from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, **models, **family.absent
        )
    return pipeline


def _open_file(file: Path, configs: Path, family: Family, *, dtype: torch.dtype) -> DiffusionPipeline:
    with refused_if_damaged(file):
        try:
            pipeline: DiffusionPipeline = getattr(diffusers, family.pipelines[0]).from_single_file(
                str(file), config=str(configs), local_files_only=True, **family.absent
            )
        except NotImplementedError as error:  # torch's, of weights that were not there to be copied
            raise _incomplete(file, configs) from error
    for part in family.weights:
        model = getattr(pipeline, part)
        if missing := [name for name, tensor in model.named_parameters() if tensor.is_meta]:
            raise _incomplete(file, configs, f" ({missing[0]!r} of the {part})")
        precision = family.precision(part, _config(configs / part), dtype)
        nn.Module.to(model, precision)  # that of diffusers warns of modules to keep in float32, and names none
    return pipeline


def _config(folder: Path) -> dict[str, Any]:
    """The config of a part, which `check_pipeline` has read before."""
    with Problems(folder.name) as problems:
        return read_json(folder / "config.json", folder.name, problems) or {}


def _incomplete(file: Path, configs: Path, first: str = "") -> CheckpointError:
    return CheckpointError(
        f"{file}: the weights lack tensors of the model that {configs} describes{first}; copy the file again, or put "
        "configs of a model of its kind there"
    )


def load_whole_pipeline(path: str | Path) -> DiffusionPipeline:
    """Return a Stable Diffusion or SDXL pipeline in float32, with its safety checker where there is one.

    Args:
        path: folder that `check_pipeline` has checked, or a hub id. Parts that its index names and nobody needs, as
            a safety checker, may have been deleted; a warning names them.

    Raises:
        ConfigurationError: a config or a tokenizer is damaged; names its folder.
        CheckpointError: weights are missing, of another shape, or not finite; names their folder and a tensor.
    """
    path = _on_this_machine(path, any_family=True)
    with refused_if_damaged(path):
        index = DiffusionPipeline.load_config(str(path), local_files_only=True)
    classes = {
        name: kind for name, entry in index.items() for kind in _CLASSES if isinstance(entry, list) and kind in entry
    }
    given: dict[str, Any] = {
        name: _load_part(path / name, kind, torch.float32) for name, kind in classes.items() if (path / name).is_dir()
    }
    if deleted := [name for name in _DISPENSABLE if name in index and not (path / name).is_dir()]:
        listed = [name for name in deleted if (index[name] or [None])[0] is not None]
        given.update(dict.fromkeys(deleted))
        if "safety_checker" in deleted:
            given["requires_safety_checker"] = False
        if listed:
            _log.warning("%s: %s listed but not there; going on without", path, " and ".join(listed))
    with refused_if_damaged(path):
        pipeline = DiffusionPipeline.from_pretrained(str(path), dtype=torch.float32, local_files_only=True, **given)
    for name in ("tokenizer", "tokenizer_2"):
        if getattr(pipeline, name, None) is not None:
            require_words(getattr(pipeline, name), path / name)
    for name in classes:
        if isinstance(part := getattr(pipeline, name, None), nn.Module):
            _check_finite(part, f"{name} of {path}")
    return pipeline


def _on_this_machine(path: str | Path, *, any_family: bool = False) -> Path:
    """The folder of a pipeline; a hub id is downloaded, with a line, unless a whole copy of it is here.

    Raises:
        ConfigurationError: what is to be downloaded is of another family, or what was downloaded cannot be used.
    """
    if Path(path).is_dir():
        return Path(path)
    folder, problems = local_folder(path), Problems("model")
    if folder is not None:
        check_pipeline(folder, problems, "model", any_family=any_family)
    if folder is None or problems.messages:
        if not any_family:
            family_of_hub(str(path))
        _log.info("download %s: it is not on this machine yet", path)
        folder = Path(DiffusionPipeline.download(str(path), use_safetensors=True))
        with Problems("model") as problems:
            check_pipeline(folder, problems, "model", any_family=any_family)
    return folder


def family_of_hub(name: str) -> Family:
    """Return the family of a model of the hub, of which nothing large is downloaded.

    Args:
        name: hub id.

    Raises:
        ConfigurationError: it is of none that fairlit trains and samples.
    """
    from huggingface_hub import hf_hub_download

    file = Path(hf_hub_download(name, "model_index.json"))
    with Problems("model") as problems:
        index = read_json(file, "model", problems)
        family = None if index is None else check_kind(index, Path(name), problems, "model")
    assert family is not None  # there was a problem otherwise
    return family


@contextmanager
def refused_if_damaged(path: str | Path) -> Iterator[None]:
    """Turn what a library raises over a damaged model folder into a message that names the folder.

    Args:
        path: the folder.

    Raises:
        ConfigurationError: something in the block failed, and neither the disk nor the network is why.
    """
    try:
        yield
    except FairlitError:
        raise
    except Exception as error:  # libraries raise whatever their own code meets: KeyError, AttributeError, ...
        if surroundings_error(error) is not None or is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigurationError(
            f"{path}: got files that cannot be opened ({type(error).__name__}: {reason}); expected a whole model; "
            "copy it again"
        ) from error


def _load_part(folder: Path, class_name: str, dtype: torch.dtype) -> nn.Module:
    """Return one model of a pipeline, once every tensor of it is sure to come from its files."""
    with Problems(folder.name) as problems:
        check_weights(folder, "weights", problems, suffixes=(".safetensors",))
    kind = _CLASSES[class_name]
    variant = find_variant(folder, _WEIGHTS[kind.__module__.split(".")[0]], "backbone")
    with refused_if_damaged(folder):
        model, report = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # transformers does not name them otherwise; refused below
            output_loading_info=True,
        )
    # diffusers 0.42 and transformers 5 fill what is missing with random numbers and warn
    for kind, told in (("missing_keys", "lack"), ("mismatched_keys", "have another shape of")):
        if names := sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in report[kind]):
            more = f" and {len(names) - 1} more tensors" if names[1:] else ""
            raise CheckpointError(f"{folder}: the weights {told} {names[0]!r}{more}; copy the model again")
    return model


def _check_finite(model: nn.Module, subject: str) -> None:
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{subject}: got NaN or infinity in {name!r}; expected numbers; copy the model again")
