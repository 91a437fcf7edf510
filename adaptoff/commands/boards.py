"""Which boards ``adaptoff deploy`` is about, and what is told of each.

A host is what both ssh and rsync take: a name, ``user@name``, an address, or a host of the user's
ssh configuration. It is an argument of theirs, so none may look like an option.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, get_args

from adaptoff.commands.unit import Run
from adaptoff.errors import InputError
from adaptoff.scenario import MAX_DEVICES

HOST = re.compile(r"(?:[^\s@/:\\'\"=-][^\s@/:\\'\"=]*@)?(?:[\w.][\w.-]*|[0-9a-fA-F:]+(?:%\w+)?)")
ENDPOINT = re.compile(r"tcp://(?:[\w.-]+|\[[0-9a-fA-F:]+(?:%\w+)?\]):[0-9]{1,5}", re.ASCII)
METRICS = re.compile(r"(?:[\w.\[\]:-]+:)?[0-9]{1,5}", re.ASCII)
PREFIX = re.compile(r"(?:/?[\w.+-]+)(?:/[\w.+-]+)*", re.ASCII)


class Board(NamedTuple):
    """A host, and which device of the scenario it is."""

    host: str
    device: int

    def at(self, path: str) -> str:
        """A path there, as rsync names it."""
        user, at, name = self.host.rpartition("@")
        return f"{user}{at}[{name}]:{path}" if ":" in name else f"{self.host}:{path}"


def parsed(words: Sequence[str]) -> list[Board]:
    """Boards of HOST or HOST=N; without N the place among the words. Raises InputError."""
    boards = [_board(word, place) for place, word in enumerate(words)]
    if not boards:
        raise InputError("deploy: needs at least one HOST")
    for value in ("host", "device"):
        seen: set[object] = set()
        for board in boards:
            if (its := getattr(board, value)) in seen:
                raise InputError(f"{board.host}: {value} {its} is there twice; HOST=N sets N")
            seen.add(its)
    return boards


def check_endpoint(endpoint: str) -> str:
    """The endpoint itself. Raises InputError for what no board could reach."""
    if not ENDPOINT.fullmatch(endpoint) or _port(endpoint) not in range(1, 65536):
        raise InputError(f"--endpoint {endpoint[:80]}: must be tcp://HOST:PORT")
    return endpoint


def check_prefix(prefix: str, *, user: bool) -> str:
    """The directory itself: it is removed with all in it, so it must be one of its own.

    Raises InputError.
    """
    parts = prefix.split("/")
    plain = PREFIX.fullmatch(prefix) and not {".", ".."} & set(parts) and parts[-1][0] != "-"
    deep = len(parts) > 2 if prefix.startswith("/") else user and parts[0][:1] not in {"-", "."}
    if not (plain and deep):
        raise InputError(
            f"--prefix {prefix[:80]}: must be a directory of its own, such as /opt/adaptoff"
            ", or with --user one in the home, such as adaptoff; letters, digits, . _ + -"
        )
    return prefix


def check_run(run: str) -> Run:
    """What ``--run`` names. Raises InputError."""
    for known in get_args(Run):
        if run == known:
            return known
    raise InputError(f"--run {run[:80]}: allowed: control, device")


def check_metrics(where: str | None) -> str | None:
    """What ``--metrics`` names. Raises InputError."""
    if where is not None and not (METRICS.fullmatch(where) and _port(where) < 65536):
        raise InputError(f"--metrics {where[:80]}: must be [HOST:]PORT, a port of 0 to 65535")
    return where


def _port(place: str) -> int:
    return int(place.rpartition(":")[2])


def _board(word: str, place: int) -> Board:
    host, equals, number = word.partition("=")
    if not HOST.fullmatch(host):
        raise InputError(
            f"{host[:80]!r}: no host; a name, user@name, an address, or a host of ~/.ssh/config"
        )
    if equals and not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise InputError(f"{word[:80]}: the device after = must be a number from 0")
    device = int(number) if equals else place
    if device >= MAX_DEVICES:
        raise InputError(f"{word[:80]}: device {device}: must be 0 to {MAX_DEVICES - 1}")
    return Board(host, device)
