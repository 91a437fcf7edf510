"""Which end of a link needs which keys, and where plain text may do without: CURVE.

By default whatever leaves this machine is encrypted, and both ends prove who they are.
"""

import ipaddress
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from adaptoff.errors import KeysError
from adaptoff.testbed.keyfiles import AUTHORIZED, read_authorized, read_key

log = logging.getLogger(__name__)

DOMAIN = b"adaptoff"
"""of ZAP: it must not be empty, or libzmq lets in whoever knows the server's key"""


@dataclass(frozen=True)
class ServerKeys:
    """The server's secret key (Z85) and the file that lists who may come in."""

    secret: bytes = field(repr=False)
    authorized: Path

    def secure(self, made: zmq.Socket[Any]) -> None:
        """Set the options of CURVE; without somebody who answers ZAP nobody gets in."""
        made.set(zmq.CURVE_SERVER, 1)
        made.set(zmq.CURVE_SECRETKEY, self.secret)
        made.set(zmq.ZAP_DOMAIN, DOMAIN)
        made.set(zmq.ZAP_ENFORCE_DOMAIN, 1)


@dataclass(frozen=True)
class ClientKeys:
    """A device's or the driver's secret key and the server's public one (Z85)."""

    secret: bytes = field(repr=False)
    server: bytes

    def secure(self, made: zmq.Socket[Any]) -> None:
        """Set the options of CURVE."""
        made.set(zmq.CURVE_SECRETKEY, self.secret)
        made.set(zmq.CURVE_PUBLICKEY, zmq.curve_public(self.secret))
        made.set(zmq.CURVE_SERVERKEY, self.server)


def client_name(role: str, device: int) -> str:
    """The name that a driver's or a device's key is listed under."""
    return "driver" if role == "driver" else f"device-{device}"


def for_server(
    endpoints: Sequence[str], directory: Path | None, *, insecure: bool = False
) -> ServerKeys | None:
    """What a server needs that binds ``endpoints``; None for plain text. Raises KeysError.

    Plain text needs ``insecure``, or endpoints that only this machine reaches and no ``directory``.
    """
    chosen = _directory(endpoints, directory, insecure=insecure)
    return load_server(chosen) if chosen else None


def for_client(
    endpoint: str, name: str, directory: Path | None, *, insecure: bool = False
) -> ClientKeys | None:
    """What ``driver`` or ``device-N`` needs, by the rule of ``for_server``. Raises KeysError."""
    chosen = _directory([endpoint], directory, insecure=insecure)
    return load_client(chosen, name) if chosen else None


def load_server(directory: Path) -> ServerKeys:
    """``server.key`` and the allow-list. Raises KeysError, also if others may meddle with them."""
    hint = f"adaptoff keys new server driver device-0 ... --dir {directory}"
    secret = read_key(directory / "server.key", "secret", f"make keys with: {hint}")
    read_authorized(directory / AUTHORIZED)
    return ServerKeys(secret, directory / AUTHORIZED)


def load_client(directory: Path, name: str) -> ClientKeys:
    """``NAME.key`` and ``server.pub``. Raises KeysError, also if others may meddle with them."""
    hint = f"copy {name}.key and server.pub from where adaptoff keys new made them"
    secret = read_key(directory / f"{name}.key", "secret", hint)
    return ClientKeys(secret, read_key(directory / "server.pub", "public", hint))


def default_directory() -> Path:
    """Where keys are unless an option says otherwise."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "adaptoff" / "keys"


def stays_here(endpoint: str) -> bool:
    """Whether only processes of this machine reach it: ipc, inproc, TCP on loopback."""
    transport, found, address = endpoint.partition("://")
    if not found or transport in {"ipc", "inproc"}:  # without "://" there is nothing to reach
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return loopback and transport == "tcp"


def _directory(endpoints: Sequence[str], directory: Path | None, *, insecure: bool) -> Path | None:
    remote = [endpoint for endpoint in endpoints if not stays_here(endpoint)]
    if insecure and directory:
        raise KeysError("--keys and --insecure: only one of them can hold")
    if insecure:
        for endpoint in remote:
            log.warning("%s is neither encrypted nor authenticated (--insecure)", endpoint)
        return None
    return directory or (default_directory() if remote else None)
