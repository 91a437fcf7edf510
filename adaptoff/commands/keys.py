"""``adaptoff keys``: makes, lists and revokes keys; the format is in ``testbed/keyfiles.py``.

Every file is created for its owner alone, whole or not at all.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from adaptoff.errors import KeysError
from adaptoff.testbed.keyfiles import AUTHORIZED, CLIENT, SERVER, read_authorized, read_key

ALLOWED = "allowed: server, driver, device-0, device-1, ..."


def new(names: Sequence[str], directory: Path, *, force: bool = False) -> list[Path]:
    """Make a key for each name and list the clients; returns the files to hand out.

    Raises KeysError; without ``force`` also if a name has a key already, before anything is made.
    """
    for name in names:
        if name != SERVER and not CLIENT.fullmatch(name):
            raise KeysError(f"{name[:40]}: no name of a key; {ALLOWED}")
    with _locked(directory, make=True):
        listed = _listed(directory)
        has = {*listed, *(path.stem for path in directory.iterdir())}
        taken = [name for name in names if name in has]
        if taken and not force:
            raise KeysError(f"{directory}: {taken[0]} has a key already; --force replaces it")
        return [path for name in names for path in _make(name, directory, listed)]


def revoke(name: str, directory: Path) -> None:
    """Let a client in no more, from its next connection on. Raises KeysError."""
    with _locked(directory):
        listed = _listed(directory)
        if name not in listed:
            others = ", ".join(listed) or "nobody"
            raise KeysError(f"{directory / AUTHORIZED}: {name[:40]} is not listed, but: {others}")
        del listed[name]
        _list(listed, directory)
        (directory / f"{name}.key").unlink(missing_ok=True)


def found(directory: Path) -> dict[str, Any]:
    """Names with their public keys, and whether the secret one is here, too. Raises KeysError."""
    try:
        files = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise KeysError(f"{directory}: {error.strerror}") from None
    public = _listed(directory)
    if "server.pub" in files:
        public = {SERVER: read_key(directory / "server.pub", "public", "").decode(), **public}
    listed = [
        {"name": name, "public": key, "secret": f"{name}.key" in files}
        for name, key in public.items()
    ]
    return {"directory": str(directory), "keys": listed}


def _make(name: str, directory: Path, listed: dict[str, str]) -> list[Path]:
    """Write one secret key, and its public one to where it belongs."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    made = directory / f"{name}.key"
    _write(made, f"# {name}: keep this on its machine alone\n", {"secret": secret})
    if name == SERVER:
        _write(directory / "server.pub", "# the driver and every device need it\n",
               {"public": public})  # fmt: skip
        return [made, directory / "server.pub"]
    listed[name] = public
    _list(listed, directory)
    return [made]


def _listed(directory: Path) -> dict[str, str]:
    path = directory / AUTHORIZED
    return read_authorized(path) if path.exists() else {}


def _list(listed: Mapping[str, str], directory: Path) -> None:
    ordered = dict(sorted(listed.items(), key=lambda entry: (len(entry[0]), entry[0])))
    _write(directory / AUTHORIZED, "# whom the server lets in\n", ordered)


def _write(path: Path, comment: str, entries: Mapping[str, str]) -> None:
    """Replace a file by one that was never open to others and is never half written."""
    text = comment + "".join(f'{name} = "{key}"\n' for name, key in entries.items())
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        beside.replace(path)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _locked(directory: Path, *, make: bool = False) -> Iterator[None]:
    """Of two commands at once on a directory neither undoes the other's list."""
    try:
        if make:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise KeysError(f"{directory}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
