"""What is written down of testbeds that stand by themselves, so that other commands find them.

Each has a directory of its own in $XDG_RUNTIME_DIR/adaptoff, or /tmp/adaptoff-UID: ``state.json``,
``log``, and all temporary files of its processes. Its supervisor keeps the directory locked as long
as it lives: what is not locked is stale, whatever ended it, and is removed by whoever finds it.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.commands.output import replace
from adaptoff.errors import InputError

STATE, LOG = "state.json", "log"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class State(msgspec.Struct, kw_only=True):
    """A testbed, as its supervisor last wrote it down."""

    name: str
    pid: Annotated[int, Meta(ge=2)]
    """of its supervisor"""
    phase: Literal["starting", "up", "ended"] = "starting"
    endpoint: str = ""
    """for a driver"""
    keys: str | None = None
    """directory of the driver's, if it needs any"""
    links: str = ""
    dilation: float = 1.0
    devices: int = 0
    lost: list[str] = []
    """devices that ended, and how"""
    reason: str = ""
    """why it ended"""


def root() -> Path:
    """The directory of all testbeds, made if need be; raises InputError if others may meddle."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(given) / "adaptoff" if given else Path(f"/tmp/adaptoff-{os.getuid()}")  # noqa: S108
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or path.is_symlink():
        raise InputError(f"{path}: must be a directory of yours alone, mode 0700")
    return path


def place(name: str) -> Path:
    """The directory of a testbed, which need not exist; raises InputError for an odd name."""
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name[:60]}: allowed: 1 to 40 letters, digits, '.', '_' and '-'")
    return root() / name


def claim(name: str) -> int:
    """Make a testbed's directory, locked as long as the returned descriptor is open.

    What is left of a dead one is removed. Raises InputError if one of this name lives.
    """
    path = place(name)
    with alone():
        if path.exists() and lives(path):
            raise InputError(f"--name {name}: is up already; adaptoff testbed down {name} ends it")
        remove(path)
        path.mkdir(mode=0o700)
        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def lives(path: Path) -> bool:
    """Whether a supervisor keeps it locked."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not is_free(handle)
    finally:
        os.close(handle)


def is_free(handle: int) -> bool:
    """Whether nobody else keeps the directory behind this descriptor locked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(handle, fcntl.LOCK_UN)
    return True


def write(state: State) -> None:
    """Replace what is known of a testbed."""
    replace(place(state.name) / STATE, msgspec.json.encode(state))


def read(path: Path) -> State | None:
    """What is known of the testbed in a directory; None if it has only just begun."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((path / STATE).read_bytes(), type=State)
    return None


def living() -> Iterator[Path]:
    """Directories of testbeds that live, in order."""
    yield from (path for path in sorted(root().iterdir()) if path.is_dir() and lives(path))


def swept() -> list[State]:
    """Remove what is left of dead testbeds; what was known of them."""
    with alone():
        dead = [p for p in sorted(root().iterdir()) if p.is_dir() and not lives(p)]
        known = [read(path) for path in dead]
        for path in dead:
            remove(path)
    return [state for state in known if state]


def remove(path: Path) -> None:
    """A testbed's directory, if there is one."""
    shutil.rmtree(path, ignore_errors=True)


def last_line(path: Path) -> str:
    """Of a testbed's log; of its errors the first, which is the cause."""
    lines: list[str] = []
    with suppress(OSError):
        lines = (path / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
    errors = [line for line in lines if line.startswith("adaptoff: ")]
    said = errors or [line for line in reversed(lines) if line.strip()]
    return said[0] if said else "it said nothing"


@contextmanager
def alone() -> Iterator[None]:
    """Of several commands at once one makes or removes testbeds at a time."""
    handle = os.open(root(), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
