"""A board's policies: the one in use and the one before it, so that a bad one can be taken back.

    policy.safetensors    in use; the path may be given to ``--policy``
    previous.safetensors  what was in use before

Both are replaced whole. A process that dies half-way leaves the old policy in use, or the new one;
what it did not finish, the next call does.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from adaptoff import policy as policies
from adaptoff.errors import PolicyError, RunError
from adaptoff.guards import Guards
from adaptoff.policy import MAX_FILE_BYTES, Policy

CURRENT = policies.DEFAULT
PREVIOUS = "previous.safetensors"
ASIDE = ".aside"
"""what was in use, until it is the one before"""


class Kept(NamedTuple):
    """A policy, and the SHA-256 of its file's bytes."""

    policy: Policy
    sha256: str


class PolicyStore:
    """The policies of a directory, which is made when the first is taken."""

    def __init__(self, directory: Path, guards: Guards | None = None) -> None:
        """``guards`` are told of files that had to be refused.

        Raises PolicyError for what is no directory.
        """
        if directory.exists() and not directory.is_dir():
            raise PolicyError(f"{directory}: must be a directory")
        self.directory = directory
        self._guards = guards or Guards()

    def take(self, data: bytes, name: str = "policy") -> str:
        """Use the policy with these bytes from now on; returns their SHA-256.

        The one in use until now is kept as the one before. Raises PolicyError, naming the field of
        ``name`` that is wrong, and RunError if it cannot be written; then nothing is changed.
        """
        if len(data) > MAX_FILE_BYTES:
            raise PolicyError(f"{name}: larger than the allowed {MAX_FILE_BYTES} bytes")
        policies.decode(data, name)
        sha256 = _sha256(data)
        with self._locked(make=True):
            now = self._readable(CURRENT)
            if now is None or now.sha256 != sha256:
                self._use(self._written(data), keep=now is not None)
        return sha256

    def back(self) -> str:
        """Use the one before again, and keep the one in use as the one before; its SHA-256.

        Raises PolicyError if there is none or it is broken, RunError if it cannot be written.
        """
        with self._locked():
            before = self.read(PREVIOUS)
            self._use(self.directory / PREVIOUS, keep=self._readable(CURRENT) is not None)
        return before.sha256

    def current(self) -> Policy:
        """The policy to use: the one in use, else the one before, else the one that ships.

        Never raises for what is on the disk: what is refused is told to the guards.
        """
        for name in (CURRENT, PREVIOUS):
            if found := self._readable(name):
                return found.policy
        return policies.default()

    def read(self, name: str) -> Kept:
        """``CURRENT`` or ``PREVIOUS``. Raises PolicyError, naming the file and the field."""
        data = read_bytes(self.directory / name)
        return Kept(policies.decode(data, str(self.directory / name)), _sha256(data))

    def _readable(self, name: str) -> Kept | None:
        if not os.path.lexists(self.directory / name):
            return None
        try:
            return self.read(name)
        except PolicyError as error:
            self._guards.act("policy-refused", str(error))
            return None

    def _use(self, fresh: Path, *, keep: bool) -> None:
        """Put ``fresh`` in place of the one in use; without ``keep`` that one is lost."""
        if keep:
            (self.directory / ASIDE).hardlink_to(self.directory / CURRENT)
        fresh.replace(self.directory / CURRENT)
        self._settle()
        _sync(self.directory)

    def _settle(self) -> None:
        """Finish what ``_use`` began, also in a process that died."""
        aside, current = self.directory / ASIDE, self.directory / CURRENT
        if not aside.exists():
            return
        if current.exists() and aside.samefile(current):
            aside.unlink()
        else:
            aside.replace(self.directory / PREVIOUS)

    def _written(self, data: bytes) -> Path:
        """The bytes in a file of their own, safely on the disk, for everybody to read."""
        path = self.directory / f".{CURRENT}.{secrets.token_hex(8)}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o644)  # whatever the umask
                file.write(data)
                file.flush()
                os.fsync(handle)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[None]:
        """Of two processes at once the second one waits. Raises PolicyError, RunError."""
        try:
            if make:
                self.directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                self._tidy()
                yield
            finally:
                os.close(handle)
        except OSError as error:
            if not make and isinstance(error, FileNotFoundError):
                raise PolicyError(f"{self.directory}: no policy was ever taken there") from None
            can = "cannot be made or written to"
            raise RunError(f"{self.directory}: {can}: {error.strerror}") from None

    def _tidy(self) -> None:
        """After a process that died; nobody else is writing now."""
        self._settle()
        for part in self.directory.glob(f".{CURRENT}.*"):
            part.unlink(missing_ok=True)


def default_directory() -> Path:
    """adaptoff/policies in $XDG_CONFIG_HOME or ~/.config."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "adaptoff" / "policies"


def read_bytes(path: Path) -> bytes:
    """A policy file's bytes, no more than are allowed. Raises PolicyError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise PolicyError(f"{path}: larger than the allowed {MAX_FILE_BYTES} bytes")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync(directory: Path) -> None:
    """Renames are on the disk, too."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
