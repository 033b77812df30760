"""The distribution over perceived attributes that generated images shall follow."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlit.errors import ConfigurationError, Problems
from fairlit.io.foreign_text import shortened
from fairlit.io.yaml_files import read_yaml

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOLERANCE = 1e-6
"""How far the shares of a distribution may sum from 1; what is left is removed by normalising."""

_JOINT = "joint"
_MAX_JOINT_CLASSES = 100_000


class TargetDistribution:
    """A joint distribution over the classes of one or more perceived attributes.

    Built from marginals, the attributes are independent; `from_joint` takes any joint table.

    Args:
        marginals: Attribute name -> class name -> share in [0, 1]. The shares of one attribute sum to 1.
            Attribute and class order is the order in which they are written.

    Raises:
        ConfigurationError: No attribute, an attribute with fewer than two classes, a share that is no
            number from 0 to 1, or shares that do not sum to 1. All problems are reported together.

    Example:
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.75, "old": 0.25}})
        >>> target.attributes
        ('gender', 'age')
        >>> target.table.tolist()
        [[0.375, 0.125], [0.375, 0.125]]
    """

    def __init__(self, marginals: dict[str, dict[str, float]]) -> None:
        if not isinstance(marginals, Mapping):
            raise ConfigurationError(
                f"target distribution: marginals is {shortened(marginals)}, write attribute -> class -> share"
            )
        with Problems("target distribution") as problems:
            if not marginals:
                problems.add("marginals is empty, name at least one attribute with the shares of its classes")
            for attribute, shares in marginals.items():
                if not isinstance(shares, Mapping):
                    problems.add(
                        f"{attribute!r} is {shortened(shares)}, write one share per class, such as {{a: 0.5, b: 0.5}}"
                    )
                    continue
                _check_classes(problems, attribute, shares)
                _check_shares(problems, f"shares of {attribute!r}", shares.items())
            _check_size(problems, [shares for shares in marginals.values() if isinstance(shares, Mapping)])
        import torch  # here: reading a config does not need it

        self._classes = {attribute: tuple(shares) for attribute, shares in marginals.items()}
        factors = [
            torch.tensor([float(s) for s in shares.values()], dtype=torch.float64) for shares in marginals.values()
        ]
        self._factors: list[Tensor] | None = [_normalised(factor) for factor in factors]
        self._table = _outer(self._factors)

    @classmethod
    def from_joint(cls, classes: Mapping[str, Sequence[str]], table: Any) -> TargetDistribution:
        """Builds a target from a joint table.

        Args:
            classes: Attribute name -> class names.
            table: Shares in [0, 1] that sum to 1, nested lists, array or tensor of shape [K1, ..., KA]:
                one axis per attribute, in the order of `classes`.

        Raises:
            ConfigurationError: As for the constructor, or the table's shape is not that of the classes, or
                a class is named twice. All problems are reported together.

        Example:
            >>> target = TargetDistribution.from_joint({"a": ["x", "y"], "b": ["u", "v"]}, [[0.5, 0.0], [0.25, 0.25]])
            >>> target.marginals
            {'a': {'x': 0.5, 'y': 0.5}, 'b': {'u': 0.75, 'v': 0.25}}
        """
        import torch

        with Problems("target distribution") as problems:
            if not classes:
                problems.add("classes is empty, name at least one attribute with its classes")
            for attribute, names in classes.items():
                if isinstance(names, Sequence):
                    _check_classes(problems, attribute, names)
                else:
                    problems.add(f"{attribute!r} is {shortened(names)}, list the names of its classes")
        with Problems("target distribution") as problems:
            _check_size(problems, classes.values())
            try:
                shares = torch.as_tensor(table, dtype=torch.float64).detach().cpu().clone()
            except (TypeError, ValueError, RuntimeError) as error:
                raise ConfigurationError(
                    f"table is no rectangular table of numbers ({error}): give nested lists of shares"
                ) from error
            expected = tuple(len(names) for names in classes.values())
            if tuple(shares.shape) != expected:
                problems.add(
                    f"table has shape {tuple(shares.shape)}, the classes of {', '.join(map(repr, classes))} "
                    f"ask for {expected}: one axis per attribute, one row per class"
                )
            else:
                joint = itertools.product(*classes.values())
                _check_shares(problems, "table", zip(joint, shares.flatten().tolist(), strict=True))
        target = cls.__new__(cls)
        target._classes = {attribute: tuple(names) for attribute, names in classes.items()}
        target._factors = None
        target._table = _normalised(shares)
        return target

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TargetDistribution:
        """Reads what `to_dict` writes: marginals, or `{"joint": {"classes": ..., "table": ...}}`.

        Raises:
            ConfigurationError: The content is neither, or its numbers are no distribution.
        """
        if isinstance(content, Mapping) and set(content) == {_JOINT} and isinstance(content[_JOINT], Mapping):
            joint = content[_JOINT]
            if set(joint) == {"classes", "table"} and isinstance(joint["classes"], Mapping):
                return cls.from_joint(joint["classes"], joint["table"])
            raise ConfigurationError(
                f"target distribution: joint holds {sorted(map(str, joint))}, write `classes` (attribute -> list of "
                "names) and `table` (nested lists of shares)"
            )
        return cls(content)  # type: ignore[arg-type]

    @classmethod
    def read(cls, source: Mapping[str, Any] | str | Path) -> TargetDistribution:
        """A target as it stands in a config: the content for `from_dict`, or the path of a YAML file with it.

        Raises:
            ConfigurationError: as those two.
        """
        return cls.from_dict(source) if isinstance(source, Mapping) else cls.from_yaml(source)

    @classmethod
    def from_yaml(cls, path: str | Path) -> TargetDistribution:
        """Reads a YAML file in either format of `from_dict`.

        Raises:
            ConfigurationError: The file is missing, is no YAML, or its content is no distribution.
        """
        with Problems("target distribution"):
            content = read_yaml(path, "a YAML file with the shares of classes")
        with Problems(str(path)):
            return cls.from_dict(content)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Attribute name -> class names, in the order of the table's axes."""
        return dict(self._classes)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attribute names, in the order of the table's axes."""
        return tuple(self._classes)

    @property
    def table(self) -> Tensor:
        """Joint shares, float64 [K1, ..., KA] on the CPU, summing to 1; a copy."""
        return self._table.clone()

    @property
    def marginals(self) -> dict[str, dict[str, float]]:
        """Attribute name -> class name -> share."""
        return {
            attribute: dict(zip(names, self.marginal(attribute).tolist(), strict=True))
            for attribute, names in self._classes.items()
        }

    def marginal(self, attribute: str) -> Tensor:
        """Shares of one attribute's classes, float64 [K].

        Raises:
            ConfigurationError: The target has no such attribute.
        """
        axis = self._axes([attribute])[0]
        if self._factors is not None:
            return self._factors[axis].clone()
        return self._table.movedim(axis, 0).flatten(1).sum(1) if self._table.ndim > 1 else self._table.clone()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws n label sets.

        Args:
            n: Number of draws, 0 or more.
            generator: CPU generator; None takes torch's global one.

        Returns:
            int64 [n, A]: one class index per attribute, on the CPU.
        """
        import torch

        if n == 0:
            return torch.zeros(0, len(self._classes), dtype=torch.int64)
        joint = torch.multinomial(self._table.flatten(), n, replacement=True, generator=generator)
        return torch.stack(torch.unravel_index(joint, self._table.shape), dim=1)

    def restrict(self, attributes: Sequence[str]) -> TargetDistribution:
        """The distribution of some attributes alone, in the order in which they are given here.

        Raises:
            ConfigurationError: No attribute is given, one twice, or one that the target does not have.
        """
        axes = self._axes(attributes)
        if not axes or len(set(axes)) < len(axes):
            raise ConfigurationError(f"attributes={list(attributes)!r}: name at least one attribute, each once")
        others = [axis for axis in range(self._table.ndim) if axis not in axes]
        table = self._table.permute(*axes, *others).flatten(len(axes)).sum(-1) if others else self._table.permute(*axes)
        return self._with({attribute: self._classes[attribute] for attribute in attributes}, axes, table)

    def given(self, attribute: str, label: str) -> TargetDistribution:
        """The distribution among those of one class: what is left of the target once the class is known.

        Args:
            attribute: one of the target's attributes.
            label: a class of it with a share above 0.

        Raises:
            ConfigurationError: The target has no such attribute or class, or gives the class no share.

        Example:
            >>> target = TargetDistribution({"a": {"x": 0.5, "y": 0.5}, "b": {"u": 0.25, "v": 0.75}})
            >>> target.given("a", "y").marginals
            {'a': {'x': 0.0, 'y': 1.0}, 'b': {'u': 0.25, 'v': 0.75}}
        """
        import torch

        axis, names = self._axes([attribute])[0], self._classes[attribute]
        if label not in names or not self.marginal(attribute)[names.index(label)] > 0:
            raise ConfigurationError(
                f"{attribute}: got {label!r}; expected a class with a share in the target; give one of {_listed(names)}"
            )
        known = torch.zeros(len(names), dtype=torch.float64)
        known[names.index(label)] = 1.0
        factors = None if self._factors is None else [*self._factors[:axis], known, *self._factors[axis + 1 :]]
        shape = [len(names) if number == axis else 1 for number in range(self._table.ndim)]
        table = _normalised(self._table * known.view(shape)) if factors is None else _outer(factors)
        target = type(self).__new__(type(self))
        target._classes, target._factors, target._table = self.classes, factors, table
        return target

    def reorder(self, classes: Mapping[str, Sequence[str]]) -> TargetDistribution:
        """The same distribution in somebody else's attribute and class order, say a classifier's.

        Args:
            classes: Attribute name -> class names, as the other side knows them. Attributes that the
                target says nothing about are left out of the result.

        Returns:
            Target whose attributes and classes come in the order of `classes`.

        Raises:
            ConfigurationError: Lists every attribute and class that `classes` does not know, and every
                class of a shared attribute that the target gives no share.
        """
        import torch

        with Problems("target distribution") as problems:
            for attribute, names in self._classes.items():
                if attribute not in classes:
                    problems.add(f"attribute {attribute!r} is unknown, use one of {_listed(classes)}")
                    continue
                for name in names:
                    if name not in classes[attribute]:
                        problems.add(f"class {name!r} of {attribute!r} is unknown, use {_listed(classes[attribute])}")
                for name in classes[attribute]:
                    if name not in names:
                        problems.add(f"class {name!r} of {attribute!r} has no share, give it one (0 is allowed)")
        order = [attribute for attribute in classes if attribute in self._classes]
        target = self.restrict(order)
        table = target._table
        factors: list[Tensor] = []
        for axis, attribute in enumerate(order):
            index = torch.tensor([self._classes[attribute].index(name) for name in classes[attribute]])
            table = table.index_select(axis, index)
            if target._factors is not None:
                factors.append(target._factors[axis].index_select(0, index))
        target._classes = {attribute: tuple(classes[attribute]) for attribute in order}
        target._factors = factors or None
        target._table = table
        return target

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and floats from which `from_dict` builds an equal target.

        The order of attributes and classes is that of the keys: write it to a file without sorting them.
        """
        if self._factors is not None:
            return self.marginals
        classes = {attribute: list(names) for attribute, names in self._classes.items()}
        return {_JOINT: {"classes": classes, "table": self._table.tolist()}}

    def _axes(self, attributes: Sequence[str]) -> list[int]:
        with Problems("target distribution") as problems:
            for attribute in attributes:
                if attribute not in self._classes:
                    problems.add(f"attribute {attribute!r} is unknown, use one of {_listed(self._classes)}")
        return [self.attributes.index(attribute) for attribute in attributes]

    def _with(self, classes: dict[str, tuple[str, ...]], axes: list[int], table: Tensor) -> TargetDistribution:
        target = type(self).__new__(type(self))
        target._classes = classes
        target._factors = None if self._factors is None else [self._factors[axis] for axis in axes]
        target._table = table.clone()
        return target

    def __eq__(self, other: object) -> bool:
        """Same attributes and classes in the same order, same shares up to rounding."""
        if not isinstance(other, TargetDistribution):
            return NotImplemented
        import torch

        same_names = list(self._classes.items()) == list(other._classes.items())
        return same_names and torch.allclose(self._table, other._table, rtol=0.0, atol=1e-12)

    def __hash__(self) -> int:
        return hash(tuple(self._classes.items()))

    def __repr__(self) -> str:
        if self._factors is not None:
            return f"TargetDistribution({self.marginals})"
        return f"TargetDistribution.from_joint({self.classes}, {self._table.tolist()})"


def _outer(factors: Sequence[Tensor]) -> Tensor:
    """Joint table [K1, ..., KA] of independent attributes."""
    table = factors[0]
    for factor in factors[1:]:
        table = table.unsqueeze(-1) * factor
    return table


def _normalised(shares: Tensor) -> Tensor:
    """Shares that sum to 1. What sums to 1 up to rounding is left alone, so that a round trip changes nothing."""
    total = shares.sum()
    return shares if abs(float(total) - 1.0) < 1e-12 else shares / total


def _check_classes(problems: Problems, attribute: str, names: Iterable[str]) -> None:
    listed = list(names)
    if not isinstance(attribute, str):
        problems.add(f"attribute {attribute!r} is no text: put it in quotes")
    if len(listed) < 2:
        problems.add(f"{attribute!r} has {len(listed)} class(es), name at least two")
    for name in listed:
        if not isinstance(name, str):
            problems.add(f"{attribute!r} has a class named {name!r}, which is no text: put it in quotes")
    twice = sorted(name for name, count in Counter(map(str, listed)).items() if count > 1)
    if twice:
        problems.add(f"{attribute!r} names {', '.join(map(repr, twice))} more than once, name each class once")


def _check_size(problems: Problems, classes: Iterable[Sized]) -> None:
    count = math.prod(map(len, classes))
    if count > _MAX_JOINT_CLASSES:
        problems.add(f"attributes have {count} joint classes, name fewer: at most {_MAX_JOINT_CLASSES} are possible")


def _check_shares(problems: Problems, subject: str, shares: Iterable[tuple[object, object]]) -> None:
    """Notes every share that is no number in [0, 1]; where all are, notes a sum that is not 1."""
    total, count, sound = 0.0, 0, True
    for name, share in shares:
        count += 1
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            problems.add(f"{subject}: {name!r} has {shortened(share)}, give a number from 0 to 1")
            sound = False
        else:
            total += share
    if sound and count and not math.isclose(total, 1.0, rel_tol=0.0, abs_tol=TOLERANCE):
        problems.add(f"{subject} sum to {total:.6g}, change them to sum to 1")


def _listed(names: Iterable[object]) -> str:
    return ", ".join(repr(name) for name in names) or "(none)"


def read_target(target: str | dict[str, Any] | None, problems: Problems) -> TargetDistribution | None:
    """Return a target distribution, and note what is wrong with it; None where none is given or it is wrong.

    Args:
        target: YAML file, or shares by attribute and class.
        problems: collector of the messages.
    """
    if target is not None:
        with problems.collecting():
            return TargetDistribution.read(target)
    return None
