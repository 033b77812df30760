"""Numbers of images per prompt and class, out of one label an image: what the other statistics take."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairlit.errors import ConfigurationError


def joint_classes(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers of the joint classes that labels of several attributes fall into.

    Args:
        labels: int64 [N, A], one class index per attribute; negative: none, say because no face was found.
        shape: Number of classes of each of the A attributes.

    Returns:
        int64 [N], in the order of the flattened table; -1 where any label is negative.

    Raises:
        ConfigurationError: Labels do not fit the classes.

    Example:
        >>> joint_classes(torch.tensor([[0, 3], [1, 0], [1, -1]]), [2, 4])
        tensor([ 3,  4, -1])
    """
    if labels.ndim != 2 or labels.shape[1] != len(shape):
        raise ConfigurationError(f"labels have shape {tuple(labels.shape)}, give one column for each of {len(shape)}")
    joint = torch.zeros(len(labels), dtype=torch.int64, device=labels.device)
    for column, classes in zip(labels.unbind(dim=1), shape, strict=True):
        _check_range("labels", column, classes)
        joint = joint * classes + column
    return torch.where((labels < 0).any(dim=1), -1, joint)


def class_counts(prompt_index: Tensor, labels: Tensor, *, prompts: int, classes: int) -> Tensor:
    """Counts images per prompt and class.

    Args:
        prompt_index: int64 [N], which prompt each image was made for, from 0 to P - 1.
        labels: int64 [N], class indices, or joint classes; negative ones are not counted.
        prompts: Number P of prompts.
        classes: Number K of classes.

    Returns:
        int64 [P, K].

    Raises:
        ConfigurationError: Prompts or labels are out of range, or not as many of one as of the other.

    Example:
        >>> class_counts(torch.tensor([0, 0, 1]), torch.tensor([1, 1, -1]), prompts=2, classes=2)
        tensor([[0, 2],
                [0, 0]])
    """
    if prompt_index.shape != labels.shape or labels.ndim != 1:
        shapes = f"{tuple(prompt_index.shape)} and {tuple(labels.shape)}"
        raise ConfigurationError(f"prompt_index and labels have shapes {shapes}: give one number an image of both")
    _check_range("prompt_index", prompt_index, prompts, least=0)
    _check_range("labels", labels, classes)
    used = labels >= 0
    places = prompt_index[used].long() * classes + labels[used].long()
    return torch.bincount(places, minlength=prompts * classes).view(prompts, classes)


def pair_counts(prompt_index: Tensor, first: Tensor, second: Tensor, *, prompts: int, classes: int) -> Tensor:
    """Counts pairs of images of two methods for the same prompt and noise.

    Args:
        prompt_index: int64 [N], which prompt each pair was made for.
        first: int64 [N], class of the first method's image; negative: none.
        second: int64 [N], class of the second method's image for the same prompt and noise; negative: none.
        prompts: Number P of prompts.
        classes: Number K of classes.

    Returns:
        int64 [P, K, K], the first method's class before the second's; pairs of which one has no class are left out.

    Raises:
        ConfigurationError: As for `class_counts`.

    Example:
        >>> pair_counts(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([0, -1]), prompts=1, classes=2)
        tensor([[[0, 0],
                 [1, 0]]])
    """
    _check_range("first", first, classes)
    _check_range("second", second, classes)
    if first.shape != second.shape:
        raise ConfigurationError(f"first has {len(first)} images and second {len(second)}: give pairs")
    joint = torch.where((first < 0) | (second < 0), -1, first * classes + second)
    return class_counts(prompt_index, joint, prompts=prompts, classes=classes**2).view(prompts, classes, classes)


def marginal_counts(joint: Tensor, axis: int) -> Tensor:
    """Counts [P, K] of one attribute out of joint counts [P, K1, ..., KA]; `axis` is 1 for the first attribute."""
    return joint.movedim(axis, 1).flatten(2).sum(dim=2) if joint.ndim > 2 else joint


def _check_range(name: str, values: Tensor, end: int, *, least: int | None = None) -> None:
    if len(values) and (int(values.max()) >= end or (least is not None and int(values.min()) < least)):
        raise ConfigurationError(f"{name} reach from {int(values.min())} to {int(values.max())}, give less than {end}")
