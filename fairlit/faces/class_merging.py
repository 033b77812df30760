"""Classes as a config states them: the labels themselves, or classes that several labels are merged into.

    classes:
      gender: [Female, Male]                            # as they are labelled
      age: {young: ["0-2", "3-9", "10-19"], old: ["20-29", "30-39"]}   # merged

Which labels belong together is a decision about people, taken in a config where everybody can see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fairlit.errors import ConfigurationError, Problems
from fairlit.io.yaml_files import read_yaml

Classes = dict[str, list[str] | dict[str, list[str]]]


def class_names(classes: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Class names of each attribute, in the order given.

    Example:
        >>> class_names({"gender": ["Female", "Male"], "age": {"young": ["0-2", "3-9"], "old": ["70+"]}})
        {'gender': ('Female', 'Male'), 'age': ('young', 'old')}
    """
    return {attribute: tuple(names) for attribute, names in classes.items()}


def class_of_label(names: Sequence[str] | Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The class index of every label of one attribute.

    Example:
        >>> class_of_label({"young": ["0-2", "3-9"], "old": ["70+"]})
        {'0-2': 0, '3-9': 0, '70+': 1}
    """
    return {label: index for index, labels in enumerate(_labels(names)) for label in labels}


def merge_problems(classes: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]]) -> list[str]:
    """Labels that stand in two classes, and classes without labels, in words; empty if there are none."""
    found = []
    for attribute, names in classes.items():
        if not isinstance(names, Mapping):
            continue
        seen: dict[str, str] = {}
        for name, labels in names.items():
            if not labels or isinstance(labels, str):
                found.append(f"classes.{attribute}.{name} is {labels!r}: give a list of the labels that belong to it")
                continue
            for label in labels:
                if label in seen:
                    found.append(
                        f"classes.{attribute} has {label!r} in {seen[label]!r} and in {name!r}: take it out of one"
                    )
                seen[label] = name
    return found


def uncovered_problems(
    classes: Mapping[str, Sequence[str] | Mapping[str, Sequence[str]]], labels: Mapping[str, Sequence[str]]
) -> list[str]:
    """Labels that exist and belong to no class, and labels that classes name and that do not exist.

    Args:
        classes: As in a config.
        labels: For some or all of these attributes: every label that there is.
    """
    found = []
    for attribute, known in labels.items():
        if attribute not in classes:
            continue
        named = class_of_label(classes[attribute])
        if missing := [label for label in known if label not in named]:
            found.append(f"classes.{attribute} leaves out {', '.join(map(repr, missing))}: put each into a class")
        if unknown := [label for label in named if label not in known]:
            listed = ", ".join(map(repr, unknown))
            found.append(f"classes.{attribute} names {listed}, there are {', '.join(map(repr, known))}: correct it")
    return found


def read_merges(path: str | Path) -> Classes:
    """Classes out of a YAML file.

    Raises:
        ConfigurationError: The file cannot be read, or holds no mapping of attributes to classes.
    """
    with Problems("classes"):
        classes = read_yaml(path, "a YAML file of attributes with their classes")
    if not isinstance(classes, dict) or not all(isinstance(names, list | dict) for names in classes.values()):
        raise ConfigurationError(f"classes: {path} holds no mapping of attributes to classes: write one")
    return classes


def _labels(names: Sequence[str] | Mapping[str, Sequence[str]]) -> list[Sequence[str]]:
    return list(names.values()) if isinstance(names, Mapping) else [[name] for name in names]
