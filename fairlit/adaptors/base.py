"""What every adaptor can do: be attached, switched off, saved and loaded."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from fairlit.adaptors.files import FAIRLIT_KEY, AdaptorMetadata, adaptor_files, read_tensors, write_tensors
from fairlit.diffusion.families.family import Family
from fairlit.diffusion.families.lookup import family_of
from fairlit.errors import CheckpointError, ConfigurationError, Problems


class Components(Protocol):
    """The parts of a text-to-image model that adaptors touch; a stock pipeline has them, and so has `Backbone`."""

    tokenizer: Any
    text_encoder: Any
    unet: Any


class PipelineComponents(Components, Protocol):
    """With these as well, images can be made."""

    vae: Any
    scheduler: Any


def master_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of trained weights: float32 at least, whatever the precision of the model that they adapt."""
    return torch.promote_types(dtype, torch.float32)


class Adaptor(ABC):
    """A few trainable parameters inside a frozen model.

    Constructing one only checks its arguments, so a config file can describe it; `attach` adds the parameters to a
    model. An adaptor belongs to the one model that it was attached to.

    Attributes:
        kind: what the adaptor is called in `AdaptorMetadata.kind`.
        file_name: the file that `save` writes, the name under which stock diffusers looks for it.
        has_strength: whether `scaled` can weaken and strengthen it.
    """

    kind: str
    file_name: str
    has_strength = False

    def __init__(self) -> None:
        self._parameters: dict[str, nn.Parameter] | None = None
        self._enabled = True
        self._strength = 1.0

    def attach(self, components: Components) -> None:
        """Freeze the model and add the trainable parameters to it, in place.

        The parameters are float32 (float64 for a float64 model), on the model's device, and the same for the same
        seed on every process, whatever the state of the global random generator, which is left as it was.

        Args:
            components: the model's tokenizers, text encoders and U-Net (and VAE, which is frozen too if there is one).

        Raises:
            ConfigurationError: the adaptor does not fit the model.
            RuntimeError: the adaptor is attached already.
        """
        if self._parameters is not None:
            raise RuntimeError(f"{type(self).__name__} is attached already; make another one for another model")
        family = family_of(components)
        with Problems("adaptor") as problems:
            self.check_family(family, problems)
        for name in family.weights:
            module = getattr(components, name, None)
            if isinstance(module, nn.Module):
                module.requires_grad_(False)
        with torch.device("cpu"):  # Lightning sets a GPU as default device, where CPU generators are refused
            self._parameters = self._add_to(components)
        for parameter in self._parameters.values():
            parameter.requires_grad_(True)

    def check_family(self, family: Family, problems: Problems) -> None:  # noqa: B027  most fit all
        """Note that the adaptor does not fit models of a family.

        Args:
            family: family of the model.
            problems: collector of the messages.
        """

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return the trainable parameters under the names that they have in the saved file, always in the same order.

        Raises:
            RuntimeError: the adaptor is not attached yet.
        """
        if self._parameters is None:
            raise RuntimeError(f"{type(self).__name__} is not attached to a model yet: call attach(components) first")
        return dict(self._parameters)

    @property
    def enabled(self) -> bool:
        """Whether the model is the adapted one (True) or, inside `disabled`, the original."""
        return self._enabled

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside the block the model is the original one, bit for bit; no second copy is made.

        Blocks may be nested, and an exception leaves no trace: the state before the block comes back. Which
        parameters require gradients does not change.
        """
        self.parameters()  # says so if there is nothing to switch off yet
        before = self._enabled
        self._switch(False)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, enabled: bool) -> None:
        self._enabled = enabled
        self._set_enabled(enabled)

    @contextmanager
    def scaled(self, strength: float) -> Iterator[None]:
        """Inside the block the adaptor acts with another strength, as programs that load a LoRA let people choose.

        Args:
            strength: factor on the update; 1: as trained.

        Raises:
            ConfigurationError: this kind of adaptor has no strength.
        """
        if not self.has_strength:
            raise ConfigurationError(
                f"strength: got {strength:g} for {type(self).__name__}, which has none; expected 1; leave it out, or "
                "take a LoRA, which has one"
            )
        before = self._strength
        self._set_strength(strength)
        try:
            yield
        finally:
            self._set_strength(before)

    def adapt_prompt(self, prompt: str) -> str:
        """Return the text to tokenise for `prompt`, in the adaptor's present state: itself while it is disabled."""
        return prompt

    def pipeline_prompt(self, prompt: str) -> str:
        """Return the text to give to a stock pipeline that has loaded the saved files."""
        return prompt

    def describe(self) -> dict[str, Any]:
        """Return kind and settings as plain data, for summaries and digests."""
        return {"kind": self.kind, **self.settings()}

    @torch.no_grad()
    def twin(self, components: Components) -> Self:
        """Return another adaptor of the same settings and present values, attached to another copy of the model."""
        other = type(self)(**self.settings())
        other.attach(components)
        for name, parameter in other.parameters().items():
            parameter.copy_(self.parameters()[name])
        return other

    def save(self, folder: str | Path, components: Components, metadata: AdaptorMetadata) -> list[Path]:
        """Write the parameters as stock diffusers reads them; a crash leaves the old file or the new one.

        Args:
            folder: where to; made if need be.
            components: the model that the adaptor is attached to.
            metadata: about the run; the adaptor adds what it knows about itself.

        Returns:
            The files written.
        """
        pipeline = family_of(components).pipelines[0]
        record = self._complete(dataclasses.replace(metadata, pipeline=pipeline))
        header = {FAIRLIT_KEY: record.to_json(), **self._stock_header(components)}
        return [write_tensors(Path(folder) / self.file_name, self.parameters(), header)]

    @torch.no_grad()
    def load(self, path: str | Path) -> None:
        """Copy saved tensors into the attached parameters; all of them, or none if anything does not fit.

        Args:
            path: a file, or a folder that holds one of the name `file_name`.

        Raises:
            CheckpointError: missing, damaged, or made for another model or another adaptor setting; names the first
                tensor that is wrong, and both shapes.
        """
        location = Path(path)
        file = location / self.file_name if location.is_dir() else adaptor_files(location)[0]
        tensors, header = read_tensors(file)
        saved = self.own_names(tensors)
        objection = self._objection(str(file), header)
        if objection:
            raise CheckpointError(f"{file}: {objection}")
        require_same_shapes(str(file), saved, self.parameters())
        for name, parameter in self.parameters().items():
            parameter.copy_(saved[name])

    def own_names(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return saved tensors under the names that they have in `parameters`."""
        return {self._canonical_name(name): tensor for name, tensor in tensors.items()}

    def _stock_header(self, components: Components) -> dict[str, str]:
        """Return the header strings that stock diffusers reads."""
        return {}

    def _objection(self, source: str, header: Mapping[str, str]) -> str | None:
        """Return why tensors with this header would mean something else here, and the remedy; None if they do not."""
        return None

    def _canonical_name(self, name: str) -> str:
        """Return the name in `parameters` of what a file calls `name`."""
        return name

    @abstractmethod
    def _add_to(self, components: Components) -> dict[str, nn.Parameter]:
        """Add the parameters to the frozen model and return them."""

    @abstractmethod
    def _set_enabled(self, enabled: bool) -> None:
        """Switch the model to the adapted (True) or the original one."""

    def _set_strength(self, strength: float) -> None:
        """Multiply the trained update by `strength`; kinds that say that they have one override it."""
        self._strength = strength

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, as plain data."""

    @abstractmethod
    def _complete(self, metadata: AdaptorMetadata) -> AdaptorMetadata:
        """Return `metadata` with the adaptor's own fields filled in."""

    @abstractmethod
    def strip(self, pipeline: DiffusionPipeline) -> None:
        """Make the original model of `pipeline`, whose modules are copies of those that the adaptor sits in."""


def require_same_shapes(source: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise `CheckpointError` naming the first tensor of `found` that is missing, of another shape, or too many."""
    remedy = "load it into the kind, rank and base model that it was made with"
    for name, tensor in expected.items():
        if name not in found:
            raise CheckpointError(
                f"{source}: tensor '{name}' of shape {list(tensor.shape)} is missing "
                f"({len(found)} tensors found, {len(expected)} expected); {remedy}"
            )
        if found[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source}: tensor '{name}' has shape {list(found[name].shape)}, "
                f"the model needs {list(tensor.shape)}; {remedy}"
            )
    for name, tensor in found.items():
        if name not in expected:
            raise CheckpointError(
                f"{source}: tensor '{name}' of shape {list(tensor.shape)} has no place in the model "
                f"({len(found)} tensors found, {len(expected)} expected); {remedy}"
            )
