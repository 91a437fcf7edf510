"""Keys on disk: small TOML files, a key is 40 characters of Z85.

    server.key       the server's secret key, which never leaves its machine
    server.pub       its public key, which the driver and every device need
    device-3.key     the secret key of device 3, ``driver.key`` the driver's
    authorized.toml  whom the server lets in: name = public key

A key opens no other name than the one that it is listed under.
"""

import os
import re
import stat
import struct
import tomllib
from pathlib import Path
from typing import Any

from zmq.utils import z85

from adaptoff.errors import KeysError

AUTHORIZED = "authorized.toml"
SERVER = "server"
CLIENT = re.compile(r"driver|device-(0|[1-9][0-9]{0,4})")
"""names that the server lets in"""
MAX_FILE_BYTES = 64 << 10
KEY_CHARACTERS = 40


def read_key(path: Path, kind: str, hint: str) -> bytes:
    """The only key (Z85) of a file; ``kind`` is secret or public. Raises KeysError."""
    table = _table(path, 0o077 if kind == "secret" else 0o022, f"{hint}; or pass --insecure")
    if set(table) != {kind}:
        raise KeysError(f"{path}: must hold one line: {kind} = KEY")
    return _checked(table[kind], f"{path}: {kind}").encode()


def read_authorized(path: Path) -> dict[str, str]:
    """Public keys (Z85) by name. Raises KeysError."""
    hint = f"list clients with: adaptoff keys new driver device-0 ... --dir {path.parent}"
    table = _table(path, 0o022, hint)
    owner: dict[str, str] = {}
    for name, key in table.items():
        if not CLIENT.fullmatch(name):
            raise KeysError(f"{path}: {name[:40]}: allowed names: driver, device-0, device-1, ...")
        other = owner.setdefault(_checked(key, f"{path}: {name}"), name)
        if other != name:
            raise KeysError(f"{path}: {name} and {other} have the same key")
    return {name: key for key, name in owner.items()}


def _table(path: Path, forbidden: int, hint: str) -> dict[str, Any]:
    """A small TOML file that nobody else may access in the ways that ``forbidden`` says."""
    try:
        _refuse_others(path.parent, path.parent.stat().st_mode, 0o022)
        with path.open("rb") as file:
            _refuse_others(path, os.fstat(file.fileno()).st_mode, forbidden)
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise KeysError(f"{path}: more than {MAX_FILE_BYTES} bytes")
        return tomllib.loads(text.decode())
    except FileNotFoundError:
        raise KeysError(f"{path}: there is no such file; {hint}") from None
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        # what was wrong is not told: it may be the secret
        raise KeysError(f"{path}: not TOML") from None


def _refuse_others(path: Path, mode: int, forbidden: int) -> None:
    if found := stat.S_IMODE(mode) & forbidden:
        may = "read" if found & 0o044 else "change"
        remedy = "chmod go-w" if forbidden == 0o022 else "chmod go="
        raise KeysError(f"{path}: others may {may} it; mend that with: {remedy} {path}")


def _checked(key: object, where: str) -> str:
    """The key itself if it is one."""
    try:
        if isinstance(key, str) and len(key) == KEY_CHARACTERS and z85.decode(key):
            return key
    except (ValueError, KeyError, struct.error):  # not ASCII, not Z85, above 32 bits
        pass
    raise KeysError(f"{where}: must be a key of {KEY_CHARACTERS} characters of Z85")
