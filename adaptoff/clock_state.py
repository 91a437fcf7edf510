"""The file that says how the clocks were found: JSON, its owner's alone, whole or not there.

It holds names and numbers, no paths. A file of an earlier boot says nothing any more: the kernel
has forgotten those clocks, too.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adaptoff.errors import RunError
from adaptoff.sysfs import Sysfs

FILE = "clocks.json"
MAX_FILE_BYTES = 1 << 20
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}\Z")]
Value = Annotated[int, Meta(ge=0, le=10**12)]


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a domain was found; values in the kernel's unit (kHz of CPUs, Hz of GPUs)."""

    name: Name
    kind: Literal["cpu", "gpu"]
    by_userspace: bool
    """whether its governor is changed, else its limits"""
    governor: Name
    limits: tuple[Value, Value]
    """floor, ceiling"""
    setspeed: Value | None = None


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be put back."""

    version: Literal[1] = 1
    boot: Annotated[str, Meta(max_length=64)]
    domains: list[Saved]


def write(directory: Path, domains: list[Saved]) -> None:
    """Replace the file in one step. Raises RunError."""
    path = directory / FILE
    beside = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(State(boot=_boot(), domains=domains)))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def read(directory: Path) -> list[Saved]:
    """What is to be put back, maybe nothing. Raises RunError for what adaptoff did not write."""
    path = directory / FILE
    try:
        content = _content(path)
        state = msgspec.json.decode(content, type=State) if content else None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: not as adaptoff writes it, remove it: {error}") from None
    return state.domains if state and state.boot == _boot() else []


def remove(directory: Path) -> None:
    """Nothing is to be put back any more."""
    (directory / FILE).unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    """Nothing if there is no file. Raises OSError, and RunError for one that others may change."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if found.st_mode & 0o022:
            raise RunError(f"{path}: others may change it; mend that with: chmod go-w {path}")
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
            raise RunError(f"{path}: no file, or more than {MAX_FILE_BYTES} bytes; remove it")
        return file.read(MAX_FILE_BYTES)


def _boot() -> str:
    return Sysfs().read(BOOT_ID) or ""
