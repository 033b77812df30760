"""The weights of a pipeline, compared with its configs before they are loaded."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from fairlit.diffusion.families.lookup import family_in
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import Problems
from fairlit.io.weight_files import chosen_files, read_headers

_READ = 256 * 2**20  # bytes of a pipeline whose numbers are looked at; reading more takes long

# Names of attention layers in the autoencoders of early models, which diffusers renames as it loads them.
_EARLY = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def check_tensors(folder: Path, problems: Problems, subject: str) -> str:
    """Note tensors that files lack or hold in another shape or not as numbers; return what was looked at.

    Args:
        folder: folder of a pipeline, which `check_pipeline` has found complete.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    weights = family_in(folder, subject).weights
    skeleton = open_skeleton(folder, tuple(weights), allocate=False)
    files: list[Path] = []
    for part, stem in weights.items():
        place = folder / part
        own = chosen_files(place, stem, subject, problems)
        found = {_canonical(name): header for name, header in read_headers(own).items()}
        expected = getattr(skeleton, part).state_dict()
        missing, misshapen = [], []
        for name, tensor in expected.items():
            header = found.get(_canonical(name))
            if header is None:
                missing.append(name)
            elif _sides(header.shape) != _sides(tuple(tensor.shape)):
                misshapen.append(f"{name!r} of shape {list(header.shape)} instead of {list(tensor.shape)}")
        if missing:
            problems.add(f"{subject}: the weights in {place} lack {missing[0]!r}{_more(missing)}; copy the model again")
        if misshapen:
            problems.add(f"{subject}: {place} has {misshapen[0]}{_more(misshapen)}; copy the model again")
        files += own
    size = sum(file.stat().st_size for file in files)
    if size > _READ:
        return f"names and shapes were compared with the configs; {size / 2**30:.1f} GiB of numbers were not looked at"
    for file in files:
        _check_numbers(file, problems, subject)
    return "names and shapes were compared with the configs, and all numbers are finite"


def _check_numbers(file: Path, problems: Problems, subject: str) -> None:
    with safe_open(file, framework="pt") as tensors:
        bad = [name for name in tensors.keys() if not bool(tensors.get_tensor(name).isfinite().all())]  # noqa: SIM118
    if bad:
        problems.add(f"{subject}: {file} holds NaN or infinity in {bad[0]!r}{_more(bad)}; copy the model again")


def _canonical(name: str) -> str:
    """The name of a tensor whatever version of diffusers or transformers wrote it."""
    parts = name.removeprefix("text_model.").split(".")
    return ".".join(_EARLY.get(part, part) for part in parts)


def _sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sides without those of a 1x1 convolution, which some versions write in the place of a linear layer."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more tensors" if names[1:] else ""
