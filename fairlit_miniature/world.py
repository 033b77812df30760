"""The drawn-face world: who is in a picture, what the picture is called, which prompts there are.

Attributes are perceived ones: the world says how a person is drawn, nothing more. Pure standard library and
numpy; `drawing` turns a `Scene` into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.subjects import DESCRIPTORS, SPLITS, SPORTS, Split, Subject

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "gender": ("female", "male"),
    "skin_tone": ("light", "tan", "brown", "dark"),
    "age": ("young", "old"),
}

# How a class is said in a caption, in the order in which a caption names attributes.
WORDS: dict[str, dict[str, str]] = {
    "age": {"young": "young", "old": "old"},
    "skin_tone": {tone: f"{tone}-skinned" for tone in ATTRIBUTES["skin_tone"]},
    "gender": {"female": "female", "male": "male"},
}

# Contexts change the whole picture; see `drawing.apply_context`.
CONTEXTS: dict[str, Split] = {
    "in black and white": "train",
    "in the snow": "train",
    "at night": "val",
    "at sunset": "test",
}

NUMBERS = ("two", "three")
FAMILIES = ("occupations", "style_and_context", "descriptors", "sports", "groups")
FAMILY_SHARES = (0.70, 0.08, 0.05, 0.05, 0.12)
WORDED_SHARE = 0.55

TEMPLATES: dict[str, tuple[str, ...]] = {
    "occupations": ("a photo of the face of a {occupation}, a person",),
    "style_and_context": ("a photo of the face of a {occupation} {context}, a person",),
    "descriptors": ("a photo of the face of a {kind} person",),
    "sports": ("a photo of the face of a person who plays {sport}",),
    "groups": tuple(f"a photo of {number} {{people}}" for number in NUMBERS),
}

Labels = dict[str, str]


@dataclass(frozen=True)
class Scene:
    """One picture before it is drawn.

    Attributes:
        family: one of `FAMILIES`.
        subject: what the people in it are or do.
        people: the classes of each person, attribute -> class; one to three people.
        named: attribute -> class that the caption names; everybody in the picture has it.
        context: one of `CONTEXTS`, or "".
        caption: what the picture is called.
        seed: seeds everything else that is drawn (style of hair, shade of skin, pose).
    """

    family: str
    subject: Subject
    people: tuple[Labels, ...]
    named: Labels
    context: str
    caption: str
    seed: int


def describe(named: Labels) -> str:
    """Joins the words of the named classes: {"gender": "male", "age": "old"} -> "old male".

    Example:
        >>> describe({"gender": "male", "age": "old"})
        'old male'
    """
    return " ".join(words[named[attribute]] for attribute, words in WORDS.items() if attribute in named)


def caption(
    family: str, subject: Subject, named: Labels, context: str = "", count: int = 1, *, suffix: bool = False
) -> str:
    """Writes the caption of a picture.

    Args:
        family: one of `FAMILIES`.
        subject: what the people in it are or do.
        named: attribute -> class that the caption names.
        context: one of `CONTEXTS` for the family style_and_context.
        count: number of people, 2 or 3 for the family groups.
        suffix: names the attributes at the end ("..., a female person") and not before the occupation.

    Example:
        >>> caption("occupations", OCCUPATIONS[0], {"gender": "female", "skin_tone": "dark"})
        'a photo of the face of a dark-skinned female doctor, a person'
        >>> caption("occupations", OCCUPATIONS[0], {"gender": "female"}, suffix=True)
        'a photo of the face of a doctor, a female person'
        >>> caption("groups", OCCUPATIONS[0], {}, count=2)
        'a photo of two doctors'
    """
    words = describe(named) + " " if named else ""
    if family == "groups":
        return f"a photo of {NUMBERS[count - 2]} {words}{subject.plural}"
    if family == "descriptors":
        return f"a photo of the face of a {subject.name} {words}person"
    if family == "sports":
        return f"a photo of the face of a {words}person who plays {subject.name}"
    before, after = ("", words) if suffix else (words, "")
    where = f" {context}" if context else ""
    return f"a photo of the face of a {before}{subject.name}{where}, a {after}person"


def full_caption(scene: Scene) -> str:
    """The caption of a scene with one person that names everything about them."""
    suffix = scene.seed % 2 == 1
    return caption(scene.family, scene.subject, scene.people[0], scene.context, suffix=suffix)


def sample_labels(rng: np.random.Generator, subject: Subject, named: Labels) -> Labels:
    """Draws one person's classes: the named ones as named, the others from the subject's bias, independently."""
    return {
        attribute: named.get(attribute) or classes[rng.choice(len(classes), p=subject.bias.shares(attribute))]
        for attribute, classes in ATTRIBUTES.items()
    }


def sample_named(rng: np.random.Generator) -> Labels:
    """Draws which classes a caption names: none in 45 %, else a random subset of attributes, classes uniform.

    Uniform, not biased, so that words are seen with people the bias would hardly draw.
    """
    if rng.random() >= WORDED_SHARE:
        return {}
    names = list(ATTRIBUTES)
    chosen = {name for name in names if rng.random() < 0.5} or {names[rng.integers(len(names))]}
    return {name: ATTRIBUTES[name][rng.integers(len(ATTRIBUTES[name]))] for name in names if name in chosen}


def sample_scene(
    seed: int,
    index: int,
    shares: tuple[float, ...] = FAMILY_SHARES,
) -> Scene:
    """Draws scene number `index` of the world with this seed; the same arguments give the same scene everywhere.

    Args:
        seed: of the world.
        index: number of the scene.
        shares: how often each of `FAMILIES` comes.
    """
    rng = np.random.default_rng((seed, index))
    family = FAMILIES[rng.choice(len(FAMILIES), p=shares)]
    subjects = {"descriptors": DESCRIPTORS, "sports": SPORTS}.get(family, OCCUPATIONS)
    subject = subjects[int(rng.integers(len(subjects)))]
    named = sample_named(rng)
    context = list(CONTEXTS)[rng.integers(len(CONTEXTS))] if family == "style_and_context" else ""
    count = int(rng.integers(2, 4)) if family == "groups" else 1
    people = tuple(sample_labels(rng, subject, named) for _ in range(count))
    text = caption(family, subject, named, context, count, suffix=bool(rng.random() < 0.5))
    return Scene(family, subject, people, named, context, text, int(rng.integers(2**31)))


def balanced_scene(seed: int, index: int) -> Scene:
    """One person with uniform classes and a random occupation: what classifiers and the face bank learn from."""
    rng = np.random.default_rng((seed, index, 1))
    subject = OCCUPATIONS[int(rng.integers(len(OCCUPATIONS)))]
    labels = {name: classes[rng.integers(len(classes))] for name, classes in ATTRIBUTES.items()}
    text = caption("occupations", subject, {}, count=1)
    return Scene("occupations", subject, (labels,), {}, "", text, int(rng.integers(2**31)))


def captions(scene: Scene) -> tuple[str, str, str]:
    """What one picture may be called: its own caption; as that, naming other classes; and by its people alone.

    All three are true. The second names a random subset of what everybody in the picture has in common, the third does
    the same without saying what they do ("a photo of the face of a dark-skinned female person"). A text encoder that
    reads of subjects in every caption learns to pass on nothing but the subject, which explains most of a picture.

    Example:
        >>> captions(sample_scene(0, 0))[0] == sample_scene(0, 0).caption
        True
    """
    rng = np.random.default_rng((scene.seed, 2))
    first, count = scene.people[0], len(scene.people)
    shared = [name for name in ATTRIBUTES if all(person[name] == first[name] for person in scene.people)]
    subsets = [{name: first[name] for name in shared if rng.random() < 0.6} for _ in range(2)]
    named = {name: first[name] for name in ATTRIBUTES if name in {**scene.named, **subsets[0]}}
    retold = caption(scene.family, scene.subject, named, scene.context, count, suffix=bool(rng.random() < 0.5))
    words = describe(subsets[1]) + " " if subsets[1] else ""
    people = (
        f"a photo of {NUMBERS[count - 2]} {words}people" if count > 1 else f"a photo of the face of a {words}person"
    )
    return scene.caption, retold, people


def _by_split(entries: dict[str, Split]) -> dict[str, list[str]]:
    return {split: [name for name, own in entries.items() if own == split] for split in SPLITS}


def prompt_families() -> dict[str, dict[str, object]]:
    """The prompt sets as configs/prompts/miniature.yaml holds them: family -> templates and fillers by split."""

    def names() -> dict[str, list[str]]:
        return _by_split({job.name: job.split for job in OCCUPATIONS})

    fillers: dict[str, dict[str, dict[str, list[str]]]] = {
        "occupations": {"occupation": names()},
        "style_and_context": {"occupation": names(), "context": _by_split(CONTEXTS)},
        "descriptors": {"kind": _by_split({kind.name: kind.split for kind in DESCRIPTORS})},
        "sports": {"sport": _by_split({sport.name: sport.split for sport in SPORTS})},
        "groups": {"people": _by_split({job.plural: job.split for job in OCCUPATIONS})},
    }
    families: dict[str, dict[str, object]] = {
        family: {"templates": list(TEMPLATES[family]), "fillers": fillers[family]} for family in FAMILIES
    }
    families["groups"]["num_people"] = {word: count for count, word in enumerate(NUMBERS, start=2)}
    jobs = len(names()["train"])
    for family, subjects in (("descriptors", DESCRIPTORS), ("sports", SPORTS)):
        families[family]["repeat"] = jobs // sum(subject.split == "train" for subject in subjects)  # as often as jobs
    return families


def vocabulary() -> list[str]:
    """Every word that a caption can hold, sorted; each becomes one token."""
    texts = [describe({name: label}) for name, words in WORDS.items() for label in words]
    texts += [template for templates in TEMPLATES.values() for template in templates]
    texts += [name for job in OCCUPATIONS for name in (job.name, job.plural)]
    texts += [subject.name for subject in (*SPORTS, *DESCRIPTORS)] + list(CONTEXTS)
    letters = "".join(character if character.isalpha() else " " for text in texts for character in f"{text} ")
    placeholders = {"occupation", "context", "kind", "people", "sport"}
    return sorted(set(letters.split()) - (placeholders - {"people"}))
