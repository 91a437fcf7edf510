"""The error tree in the docstring is the tree of the classes."""

import re

from adaptoff import errors
from adaptoff.errors import AdaptoffError


def drawn() -> dict[str, str]:
    """Parent of each class in the drawing, by the depth at which it stands."""
    parents, path = {}, [AdaptoffError.__name__]
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│ ]*[├└]── )(\w+) ", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1]
    return parents


def built(kind: type[AdaptoffError]) -> dict[str, str]:
    parents = {}
    for child in kind.__subclasses__():
        if child.__module__ != errors.__name__:  # a test's own
            continue
        parents |= {child.__name__: kind.__name__} | built(child)
    return parents


def test_the_drawing_is_the_tree() -> None:
    assert len(drawn()) > 10
    assert drawn() == built(AdaptoffError)


def test_exit_codes_tell_input_from_run() -> None:
    for name in drawn():
        kind = getattr(errors, name)
        assert kind.exit_code == (2 if issubclass(kind, errors.InputError) else 1)
