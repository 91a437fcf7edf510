"""Where ``adaptoff control`` and the loops of a board meet: a socket that only they can reach.

That is ``ipc://`` below a directory which only its owner, and perhaps its group, may enter, or TCP
on loopback, where every user of the machine may ask. Nothing else is allowed: what leaves the board
is the business of the fleet server's link, which has keys.
"""

import ipaddress
import os
from pathlib import Path

import zmq

from adaptoff.errors import InputError

NAME = "control.sock"
SYSTEM = f"ipc:///run/adaptoff/{NAME}"
OTHERS = 0o007
MAX_PORT = 65535
"""ZeroMQ takes larger ones as well, and another port instead"""


def default_endpoint() -> str:
    """``control.sock`` in /run/adaptoff for root, else in $XDG_RUNTIME_DIR/adaptoff.

    Raises InputError for a user without a runtime directory.
    """
    if os.geteuid() == 0:
        return SYSTEM
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return f"ipc://{Path(given) / 'adaptoff' / NAME}"
    raise InputError(f"XDG_RUNTIME_DIR is not set: name an endpoint, {SYSTEM} for instance")


def found_endpoint() -> str:
    """The default one; or the system service's, if only that is there."""
    try:
        mine = default_endpoint()
    except InputError:
        mine = SYSTEM
    paths = {endpoint: socket_path(endpoint) for endpoint in (mine, SYSTEM)}
    return next((endpoint for endpoint, path in paths.items() if path and _is_there(path)), mine)


def check(endpoint: str) -> str:
    """The endpoint itself, if it stays on this machine; raises InputError naming what is allowed.

    A directory that is there already must be closed to others.
    """
    transport, _, address = endpoint.partition("://")
    path = socket_path(endpoint)
    if not (path or (transport == "tcp" and _is_on_loopback(address))):
        raise InputError(f"{endpoint[:200]}: allowed: ipc://FILE, or tcp://127.0.0.1:PORT")
    if path and len(os.fsencode(path)) > zmq.IPC_PATH_MAX_LEN:
        raise InputError(f"{endpoint[:200]}: too long: {zmq.IPC_PATH_MAX_LEN} bytes at most")
    if path:
        check_directory(path.parent)
    return endpoint


def socket_path(endpoint: str) -> Path | None:
    """The file of an ``ipc://`` endpoint; None for any other, also the abstract ``ipc://@...``."""
    transport, _, address = endpoint.partition("://")
    is_file = transport == "ipc" and address and not address.startswith(("@", "*"))
    return Path(address) if is_file else None


def check_directory(directory: Path) -> None:
    """Raise InputError if others may enter ``directory``; one that is missing is fine."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror}") from None
    if found.st_mode & OTHERS:
        raise InputError(f"{directory}: others may enter: chmod o-rwx {directory}")


def make_directory(directory: Path) -> None:
    """Make it for its owner alone, if it is missing. Raises InputError, also if it is another's."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = directory.stat().st_uid
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror}") from None
    check_directory(directory)
    if owner not in {0, os.geteuid()}:
        raise InputError(f"{directory}: must be yours or root's")


def is_port(text: str) -> bool:
    """Of TCP, or * for any that is free; ZeroMQ takes another one where a number is too high."""
    return text == "*" or (text.isascii() and text.isdecimal() and int(text[:6]) <= MAX_PORT)


def _is_on_loopback(address: str) -> bool:
    host, _, port = address.rpartition(":")
    if not is_port(port):
        return False
    try:
        numeric = host.removeprefix("[").removesuffix("]")
        return host == "localhost" or ipaddress.ip_address(numeric).is_loopback
    except ValueError:
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # not ours to enter
        return False
