"""Prompt sets: families of templates with fillers, split for training, validation and test."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml  # type: ignore[import-untyped]

from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.target_distribution import TargetDistribution

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_FIELD = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        text: what the model is asked for.
        family: name of the family it belongs to.
        target: its own target distribution; None: that of the run.
    """

    text: str
    family: str
    target: TargetDistribution | None = None


@dataclass(frozen=True)
class PromptFamily:
    """Templates, and the words that fill them.

    Attributes:
        name: of the family.
        templates: texts with ``{placeholders}``.
        fillers: placeholder -> split -> words.
        repeat: how often each training prompt occurs in one pass over the family.
        target: the family's own target distribution; None: that of the run.
    """

    name: str
    templates: tuple[str, ...]
    fillers: Mapping[str, Mapping[str, Sequence[str]]]
    repeat: int = 1
    target: TargetDistribution | None = None

    def prompts(self, split: Split) -> list[Prompt]:
        """Every template with every combination of its words of that split, without duplicates."""
        texts: dict[str, None] = {}
        for template in self.templates:
            fields = dict.fromkeys(_FIELD.findall(template))
            words = [self.fillers[field].get(split, ()) for field in fields]
            for combination in itertools.product(*words):
                texts[template.format(**dict(zip(fields, combination, strict=True)))] = None
        repeat = self.repeat if split == "train" else 1
        return [Prompt(text, self.name, self.target) for text in texts] * repeat


class PromptSet:
    """The prompt families of one YAML file.

    The file holds ``families``, a mapping from name to ``templates`` (texts with ``{placeholders}``), ``fillers``
    (placeholder -> train | val | test -> words) and, if wanted, ``repeat`` and ``target``.

    Args:
        families: in the order of the file.
        source: where they came from, for messages.
    """

    def __init__(self, families: Sequence[PromptFamily], source: str = "prompts") -> None:
        self.families = {family.name: family for family in families}
        self.source = source

    @classmethod
    def from_yaml(cls, path: str | Path) -> PromptSet:
        """Reads and checks a prompt file.

        Raises:
            ConfigurationError: all that is wrong with the file at once: unreadable, no families, a template without a
                placeholder or with one that `fillers` does not list, words that stand in two splits.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(
                f"prompts: cannot read {str(path)!r} ({error.strerror}); give a YAML file"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"prompts: {path} is not YAML ({error})") from error
        with Problems(f"prompts: {path}") as problems:
            if isinstance(content, dict) and (unknown := sorted(map(str, set(content) - {"families"}))):
                problems.add(f"unknown key {', '.join(unknown)}; the only one is families")
            entries = content.get("families") if isinstance(content, dict) else None
            if not isinstance(entries, dict) or not entries:
                problems.add("no families; write `families:` with at least one name below it")
                entries = {}
            families = [_family(str(name), entry, problems) for name, entry in entries.items()]
        return cls(families, str(path))

    def select(self, split: Split, families: Sequence[str] | None = None) -> list[Prompt]:
        """The prompts of a split, family by family.

        Args:
            split: train, val or test.
            families: names of the families wanted; None: all.

        Raises:
            ConfigurationError: an unknown family, or no prompts.
        """
        names = list(self.families) if families is None else list(families)
        if unknown := [name for name in names if name not in self.families]:
            raise ConfigurationError(
                f"families: {self.source} has no {', '.join(map(repr, unknown))}; it has {', '.join(self.families)}"
            )
        prompts = [prompt for name in names for prompt in self.families[name].prompts(split)]
        if not prompts:
            raise ConfigurationError(
                f"prompts: {self.source} gives no {split} prompts for {', '.join(names) or 'no family'}; "
                f"add words under `{split}`, or choose other families"
            )
        return prompts


def _family(name: str, entry: Any, problems: Problems) -> PromptFamily:
    where = f"family {name!r}"
    if not isinstance(entry, dict):
        problems.add(f"{where}: got {entry!r}; give it `templates` and `fillers`")
        return PromptFamily(name, (), {})
    if unknown := sorted(set(map(str, entry)) - {"templates", "fillers", "repeat", "target"}):
        problems.add(f"{where}: unknown key {', '.join(unknown)}; known are templates, fillers, repeat, target")
    fillers = entry.get("fillers") or {}
    if not isinstance(fillers, dict):
        problems.add(f"{where}: fillers is {fillers!r}; list placeholders, below each train, val, test with words")
        fillers = {}
    templates = _templates(where, entry.get("templates"), fillers, problems)
    words = {
        str(field): _words(f"{where}: fillers of {field!r}", splits, problems) for field, splits in fillers.items()
    }
    repeat = entry.get("repeat", 1)
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        problems.add(f"{where}: repeat is {repeat!r}; give a whole number of at least 1")
    target = None
    if "target" in entry:
        try:
            target = TargetDistribution.from_dict(entry["target"])
        except ConfigurationError as error:
            problems.add(f"{where}: {error}")
    return PromptFamily(name, templates, words, repeat, target)


def _templates(where: str, content: Any, fillers: Mapping[Any, Any], problems: Problems) -> tuple[str, ...]:
    """The checked templates of a family."""
    if not content:
        problems.add(f"{where}: `templates` is empty; write at least one, e.g. 'a photo of a {{word}}'")
        return ()
    if not _is_texts(content):
        problems.add(f"{where}: templates is {content!r}; write a list of texts")
        return ()
    for template in content:
        fields = _FIELD.findall(template)
        if not fields:
            problems.add(f"{where}: template {template!r} has no {{placeholder}}; put one of {list(fillers)} in braces")
        elif set("{}") & set(_FIELD.sub("", template)):
            problems.add(f"{where}: template {template!r} has a stray brace; write placeholders as {{{fields[0]}}}")
        for field in dict.fromkeys(fields):
            if field not in fillers:
                problems.add(f"{where}: template {template!r} asks for {{{field}}}, which `fillers` does not list")
    return tuple(content)


def _words(where: str, splits: Any, problems: Problems) -> dict[str, list[str]]:
    """The checked words of a placeholder, by split; none in two splits."""
    if not isinstance(splits, dict):
        problems.add(f"{where} must be lists under train, val, test; got {splits!r}")
        return {}
    words: dict[str, list[str]] = {}
    for split, content in splits.items():
        if split not in SPLITS:
            problems.add(f"{where} must be lists under train, val, test; got {split!r}")
        elif not _is_texts(content or []):
            problems.add(f"{where}: {split} is {content!r}; write a list of texts, in quotes where YAML needs them")
        else:
            words[split] = list(content or [])
    for one, other in itertools.combinations(words, 2):
        if both := sorted(set(words[one]) & set(words[other])):
            problems.add(f"{where}: {', '.join(both)} in both {one} and {other}; keep each in one")
    return words


def _is_texts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(text, str) and text.strip() for text in content)
