"""Files of prompts: families in YAML, and the published layout of Shen et al. (ICLR 2024) in JSON.

A YAML file holds ``families``, a mapping from name to

- ``templates``: texts with ``{placeholders}``, a list for all splits or one below each of train, val and test;
- ``fillers``: placeholder -> train | val | test -> words;
- ``prompts``: train | val | test -> prompts that need no filling;
- ``file``: instead of the three above, a file in the published layout, relative to this one;
- ``repeat``: how often each training prompt occurs in one pass;
- ``target``: the family's target distribution, see `TargetDistribution.from_dict`;
- ``num_people``: number of people that its prompts ask for (1), or the words that say so: ``{two: 2, three: 3}``.

A word or a prompt is a text, or ``{text: ..., target: ...}`` where it has a target distribution of its own.

A JSON file is one family, named after the file: ``prompt_templates_train`` with ``occupations_train_set`` for training,
``prompt_templates_test`` with ``occupations_val_set`` for validation, and whole prompts in ``train_prompts``,
``val_prompts`` and ``test_prompts``.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlit.data.prompts.families import PLACEHOLDER, SPLITS, PromptFamily, Split, placeholders
from fairlit.data.prompts.texts import check_texts
from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.foreign_text import shortened
from fairlit.io.text_files import read_text
from fairlit.io.yaml_files import read_yaml

_FAMILY_KEYS = ("templates", "fillers", "prompts", "file", "repeat", "target", "num_people")
_PUBLISHED_TEMPLATES: dict[Split, tuple[str, str]] = {  # split -> its templates and the words that fill them
    "train": ("prompt_templates_train", "occupations_train_set"),
    "val": ("prompt_templates_test", "occupations_val_set"),
}
_PUBLISHED_WHOLE = {split: f"{split}_prompts" for split in SPLITS}
_PUBLISHED_KEYS = (*itertools.chain(*_PUBLISHED_TEMPLATES.values()), *_PUBLISHED_WHOLE.values())
_PUBLISHED_FIELD = "occupation"


def read_families(path: Path) -> list[PromptFamily]:
    """The families of a file, YAML or (by its ending) JSON.

    Raises:
        ConfigurationError: all that is wrong with the file at once: unreadable, no families, a template without a
            placeholder or with one that has no words, words that stand in two splits, unknown keys.
    """
    with Problems("prompts"):
        content = _load(path)
    with Problems(f"prompts: {path}") as problems:
        if path.suffix.lower() == ".json":
            return [_published_family(path.stem, path.stem, content, settings={}, problems=problems)]
        if isinstance(content, dict) and (unknown := sorted(map(str, set(content) - {"families"}))):
            problems.add(f"unknown key {', '.join(unknown)}; the only one is families; put the families below it")
        entries = content.get("families") if isinstance(content, dict) else None
        if not isinstance(entries, dict) or not entries:
            problems.add("no families; write `families:` with at least one name below it")
            entries = {}
        return [_family(str(name), entry, path.parent, problems=problems) for name, entry in entries.items()]


def _load(path: Path) -> Any:
    expected = "a YAML or JSON file of prompts"
    if path.suffix.lower() != ".json":
        return read_yaml(path, expected)
    try:
        return json.loads(read_text(path, expected))
    except ConfigurationError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not valid JSON, {error}; correct it") from error


def _family(name: str, entry: Any, folder: Path, *, problems: Problems) -> PromptFamily:
    where = f"family {name!r}"
    if isinstance(entry, dict) and "people" in entry and "num_people" not in entry:
        warnings.warn(f"{where}: people is called num_people now; rename it", FutureWarning, stacklevel=2)
        entry = {"num_people" if key == "people" else key: value for key, value in entry.items()}
    if not isinstance(entry, dict):
        problems.add(f"{where}: got {shortened(entry)}; give it `templates` and `fillers`, or `prompts`")
        return PromptFamily(name, (), {})
    if unknown := sorted(set(map(str, entry)) - set(_FAMILY_KEYS)):
        problems.add(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(_FAMILY_KEYS)}; correct or remove it"
        )
    settings = _settings(where, entry, problems)
    if "file" in entry:
        if others := sorted(set(entry) & {"templates", "fillers", "prompts"}):
            problems.add(f"{where}: has {', '.join(others)} beside `file`; give one or the other")
        if not isinstance(entry["file"], str) or not entry["file"].endswith(".json"):
            problems.add(f"{where}: file is {shortened(entry['file'])}; give a JSON file in the published layout")
            return PromptFamily(name, (), {})
        content: Any = {}
        with problems.collecting(), Problems(f"{where}: file"):
            content = _load(folder / entry["file"])
        return (
            _published_family(name, where, content, settings=settings, problems=problems)
            if content
            else PromptFamily(name, (), {})
        )
    targets: dict[str, TargetDistribution] = {}
    fillers = entry.get("fillers") or {}
    if not isinstance(fillers, dict):
        problems.add(
            f"{where}: fillers is {shortened(fillers)}; list placeholders, below each train, val, test with words"
        )
        fillers = {}
    templates = _templates(where, entry.get("templates"), list(map(str, fillers)), problems=problems)
    words = {
        str(field): _texts(f"{where}: fillers of {field!r}", splits, targets, problems=problems)
        for field, splits in fillers.items()
    }
    whole = _texts(f"{where}: prompts", entry.get("prompts", {}), targets, problems=problems)
    if not (entry.get("templates") or entry.get("prompts")):
        problems.add(f"{where}: `templates` is empty; write at least one, e.g. 'a photo of a {{word}}', or `prompts`")
    _check_whole(where, whole, problems)
    for template in itertools.chain(*templates.values()):
        fields = placeholders(template)
        own = [field for field in fields if any(word in targets for word in itertools.chain(*words[field].values()))]
        if len(own) > 1:
            problems.add(
                f"{where}: template {shortened(template)} has words with targets of their own for {' and '.join(own)}; "
                "give such targets to the words of one placeholder only"
            )
    family = PromptFamily(name, templates, words, whole=whole, targets=targets, **settings)
    _check_prompts(where, family, problems)
    return family


def _settings(where: str, entry: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The checked `repeat`, `target` and `num_people` of a family."""
    repeat = entry.get("repeat", 1)
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        problems.add(f"{where}: repeat is {shortened(repeat)}; give a whole number of at least 1")
    target = _target(where, entry["target"], problems) if "target" in entry else None
    num_people = entry.get("num_people", 1)
    numbers = list(num_people.values()) if isinstance(num_people, dict) else [num_people]
    if not numbers or any(isinstance(number, bool) or not isinstance(number, int) or number < 1 for number in numbers):
        problems.add(
            f"{where}: num_people: got {shortened(num_people)}; expected a number of at least 1, or one for each word; "
            "give {two: 2}, say"
        )
        num_people = 1
    if isinstance(num_people, dict):
        num_people = {str(word).lower(): number for word, number in num_people.items()}
    return {"repeat": repeat, "target": target, "num_people": num_people}


def _target(where: str, content: Any, problems: Problems) -> TargetDistribution | None:
    try:
        return TargetDistribution.from_dict(content)
    except ConfigurationError as error:
        problems.add(f"{where}: {error}")
        return None


def _templates(where: str, content: Any, fields: list[str], *, problems: Problems) -> dict[str, list[str]]:
    """The checked templates of a family, by split."""
    if not content:
        return {}
    by_split = content if isinstance(content, dict) else dict.fromkeys(SPLITS, content)
    templates: dict[str, list[str]] = {}
    for split, texts in by_split.items():
        if split not in SPLITS:
            problems.add(f"{where}: templates must be a list, or lists under train, val, test; got {split!r}")
        elif not _is_texts(texts):
            problems.add(f"{where}: templates is {shortened(texts)}; write a list of texts")
        else:
            templates[split] = [text for text in texts if _check_template(where, text, fields, problems=problems)]
    return templates


def _check_template(where: str, template: str, fields: list[str], *, problems: Problems) -> bool:
    """Whether a template can be filled; notes what is wrong with it."""
    names = placeholders(template)
    unlisted = [name for name in names if name not in fields]
    stray = bool(set("{}") & set(PLACEHOLDER.sub("", template)))
    if stray:
        example = names[0] if names else (fields or ["word"])[0]
        problems.add(f"{where}: template {shortened(template)} has a stray brace; write placeholders as {{{example}}}")
    elif not names:
        problems.add(f"{where}: template {shortened(template)} has no {{placeholder}}; put one of {fields} in braces")
    for name in unlisted:
        problems.add(f"{where}: template {shortened(template)} asks for {{{name}}}, which `fillers` does not list")
    return bool(names) and not stray and not unlisted


def _texts(
    where: str, splits: Any, targets: dict[str, TargetDistribution], *, problems: Problems
) -> dict[str, list[str]]:
    """The checked words of a placeholder, or whole prompts, by split, none in two; targets of their own are noted."""
    if not isinstance(splits, dict):
        problems.add(f"{where} must be lists under train, val, test; got {shortened(splits)}")
        return {}
    texts: dict[str, list[str]] = {}
    for split, content in splits.items():
        if split not in SPLITS:
            problems.add(f"{where} must be lists under train, val, test; got {split!r}")
            continue
        entries = content or []
        plain = [_plain(where, entry, targets, problems) for entry in entries] if isinstance(entries, list) else None
        if not _is_texts(plain):
            problems.add(
                f"{where}: {split} is {shortened(content)}; write a list of texts, in quotes where YAML needs them"
            )
        else:
            texts[split] = [str(text) for text in plain or []]
    for one, other in itertools.combinations(texts, 2):
        if both := sorted(set(texts[one]) & set(texts[other])):
            problems.add(f"{where}: {', '.join(both)} in both {one} and {other}; keep each in one")
    return texts


def _plain(where: str, entry: Any, targets: dict[str, TargetDistribution], problems: Problems) -> Any:
    """The text of an entry; its target, where it has one, is noted."""
    if not isinstance(entry, dict) or set(entry) != {"text", "target"}:
        return entry
    target = _target(f"{where}: {shortened(entry['text'])}", entry["target"], problems)
    if target is not None and targets.setdefault(str(entry["text"]), target) != target:
        problems.add(f"{where}: {shortened(entry['text'])} has two targets; give it one")
    return entry["text"]


def _check_whole(where: str, whole: Mapping[str, list[str]], problems: Problems) -> None:
    for text in itertools.chain(*whole.values()):
        if set("{}") & set(text):
            problems.add(f"{where}: prompt {shortened(text)} has a brace; move what is to be filled in to templates")


def _check_prompts(where: str, family: PromptFamily, problems: Problems) -> None:
    """Note what cannot be part of a prompt, and templates whose prompts become too long."""
    words = itertools.chain(*(texts for splits in family.fillers.values() for texts in splits.values()))
    prompts = itertools.chain(*map(family.longest, SPLITS))
    with problems.collecting(), Problems(where) as own:
        check_texts(itertools.chain(words, prompts), own)


def _published_family(
    name: str, where: str, content: Any, *, settings: Mapping[str, Any], problems: Problems
) -> PromptFamily:
    """The family of a JSON file in the published layout; what is not clear is refused rather than guessed."""
    if not isinstance(content, dict) or not set(content) & set(_PUBLISHED_KEYS):
        problems.add(
            f"{where}: not the published layout; give some of the keys {', '.join(_PUBLISHED_KEYS)}, or write YAML"
        )
        return PromptFamily(name, (), {})
    if unknown := sorted(set(content) - set(_PUBLISHED_KEYS)):
        problems.add(
            f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(_PUBLISHED_KEYS)}. "
            "Remove it, or write the prompts as YAML families"
        )
    templates: dict[str, list[str]] = {}
    words: dict[str, Any] = {}
    for split, (of_templates, of_words) in _PUBLISHED_TEMPLATES.items():
        if (of_templates in content) != (of_words in content):
            given, missing = (of_templates, of_words) if of_templates in content else (of_words, of_templates)
            problems.add(f"{where}: has {given} but no {missing}; the one is filled with the other")
        elif of_templates in content:
            if _PUBLISHED_WHOLE[split] in content:
                problems.add(
                    f"{where}: has both {of_templates} and {_PUBLISHED_WHOLE[split]}, and which of them is meant for "
                    f"{split} is not said; remove one"
                )
            found = _templates(
                f"{where}: {of_templates}", {split: content[of_templates]}, [_PUBLISHED_FIELD], problems=problems
            )
            templates.update(found)
            words[split] = content[of_words]
    listed = {split: content[key] for split, key in _PUBLISHED_WHOLE.items() if key in content}
    fillers = {_PUBLISHED_FIELD: _texts(f"{where}: occupations", words, {}, problems=problems)}
    whole = _texts(f"{where}: prompts", listed, {}, problems=problems)
    _check_whole(where, whole, problems)
    family = PromptFamily(name, templates, fillers, whole=whole, **settings)
    _check_prompts(where, family, problems)
    return family


def _is_texts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(text, str) and text.strip() for text in content)
