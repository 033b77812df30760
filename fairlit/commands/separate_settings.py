"""The settings of a class built one by one, so that what is wrong with several of them comes together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from fairlit.errors import FairlitError, Problems, own_error
from fairlit.io.class_paths import find_class


def build_or_note(spec: Namespace, build: Callable[[Namespace], Any], problems: Problems) -> Any:
    """Return the object that a spec describes; None where it cannot be made, and notes of all that is wrong.

    Args:
        spec: `class_path` and `init_args`, as a parser of jsonargparse gives them.
        build: what makes the object of a spec; it stops at the first setting that is wrong.
        problems: collector of the messages.
    """
    first = Problems("")
    with _collecting(first):
        return build(spec)
    sound = _sound_settings(spec, problems)
    if vars(sound).keys() == vars(spec.init_args).keys():
        problems.add(first.messages[0])
    else:  # defaults in the place of what is wrong tell the rest; what has no default leaves it untold
        with suppress(TypeError), _collecting(problems):
            build(Namespace(class_path=spec.class_path, init_args=sound))
    return None


def _sound_settings(spec: Namespace, problems: Problems) -> Namespace:
    """Return the settings that can be built; note what is wrong with the others."""
    kind, settings, sound = find_class(spec.class_path, object, "class_path"), vars(spec.init_args), Namespace()
    for name, value in settings.items():
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(kind, skip=set(settings) - {name}, instantiate=False)
        with _collecting(problems):
            parser.instantiate(Namespace({name: value}))
            sound[name] = value
    return sound


@contextmanager
def _collecting(problems: Problems) -> Iterator[None]:
    """Note an error of fairlit, wrapped or not, and go on after the block."""
    try:
        yield
    except (FairlitError, ValueError) as error:
        message = own_error(error)
        if message is None:
            raise
        problems.add(str(message))
