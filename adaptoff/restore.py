"""Clocks are put back as they were found, whatever ends the process that set them.

Before the first write a file says how each frequency domain was; it is there exactly as long as
something may have to be put back. Domains are looked up in it by name among those of the machine.
A lock that the kernel drops with its process tells one that died from one that lives.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adaptoff import clock_state
from adaptoff.clock_state import Saved
from adaptoff.domains import USERSPACE, Domain
from adaptoff.errors import RunError

log = logging.getLogger(__name__)

LOCK = "clocks.lock"


def default_directory() -> Path:
    """systemd's StateDirectory, else adaptoff in the user's state directory."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "adaptoff"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Of two processes only one has the clocks. Raises RunError to the other.

    Also where others may write in ``directory``, which is made for its owner alone.
    """
    path = directory / LOCK
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o022:
            raise RunError(f"{directory}: others may write there: chmod go-w {directory}")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from None
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def save(domains: Sequence[Domain], directory: Path) -> None:
    """Write down how the domains are now, beside what is still to be put back. Raises RunError."""
    found = [_look(domain) for domain in domains]
    looked_at = {_name(saved) for saved in found}
    kept = [saved for saved in clock_state.read(directory) if _name(saved) not in looked_at]
    clock_state.write(directory, found + kept)


def put_back(domains: Sequence[Domain], directory: Path) -> list[str]:
    """Put back what the file says, if there is one, and remove it; names what was put back.

    Raises RunError if the kernel refuses: then the others are put back and the file stays. A domain
    that is gone is logged, and stays in the file: it is put back once it is there again.
    """
    here = {_name(domain): domain for domain in domains}
    done, refused, gone = [], [], []
    for saved in clock_state.read(directory):
        if domain := here.get(_name(saved)):
            try:
                _put_back(domain, saved)
                done.append(saved.name)
            except OSError as error:
                refused.append(f"{error.filename or domain.path('')}: {error.strerror}")
        else:
            log.warning("%s is gone: its clock cannot be put back now", saved.name)
            gone.append(saved)
    if refused:
        raise RunError(f"clocks not put back: {'; '.join(refused)}")
    if gone:
        clock_state.write(directory, gone)
    else:
        clock_state.remove(directory)
    return done


def _name(of: Saved | Domain) -> tuple[str, str]:
    return of.kind, of.name


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"{path}: another process has the clocks") from None


def _look(domain: Domain) -> Saved:
    files, sysfs = domain.files, domain.sysfs
    found = {
        "name": domain.name,
        "kind": domain.kind,
        "by_userspace": domain.by_userspace,
        "governor": sysfs.read(domain.path(files.governor)),
        "limits": domain.window(),
        "setspeed": files.setspeed and sysfs.number(domain.path(files.setspeed)),
    }
    try:
        return msgspec.convert(found, Saved)
    except msgspec.ValidationError as error:
        raise RunError(f"{domain.path('')}: could not be put back: {error}") from None


def _put_back(domain: Domain, saved: Saved) -> None:
    """What adaptoff changes of such a domain and nothing else: limits may be another's by now."""
    if not saved.by_userspace:
        domain.set_window(*saved.limits)
        return
    domain.set_governor(saved.governor)
    if saved.governor == USERSPACE and saved.setspeed is not None and domain.files.setspeed:
        domain.sysfs.write(domain.path(domain.files.setspeed), str(saved.setspeed))
