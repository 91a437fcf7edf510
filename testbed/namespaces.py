"""Network namespaces by file descriptor: made, entered, told apart.

They have no names: each ends with the last descriptor and the last process that hold it. Entering
one concerns the calling thread alone: use this in processes of one thread.
"""

import ctypes
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWN = Path("/proc/self/ns/net")
CLONE_NEWNET = 0x40000000
SIOCGSKNS = 0x894C

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns and os.unshare exist from Python 3.12 on


def own() -> str:
    """Which network namespace this process is in, such as ``net:[4026531840]``."""
    return str(OWN.readlink())


def own_fd() -> int:
    """A descriptor that keeps the namespace that this process is in."""
    return os.open(OWN, os.O_RDONLY)


def of_socket(sock: socket.socket) -> str:
    """Which network namespace a socket works in, wherever its process is by now.

    Raises OSError also where this process may not administer that namespace.
    """
    fd = fcntl.ioctl(sock.fileno(), SIOCGSKNS)
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    finally:
        os.close(fd)


def refuse(namespace: str, host: str) -> None:
    """Raise RuntimeError before anything of the host's is written to."""
    if namespace == host:
        raise RuntimeError(f"about to write into the host's network namespace, {host}")


def create() -> int:
    """Descriptor of a new and empty namespace; this process stays in its own."""
    with _returning():
        _call("unshare", CLONE_NEWNET)
        return own_fd()


@contextmanager
def inside(fd: int) -> Iterator[None]:
    """Sockets that are made and sysctls that are written here belong to the namespace ``fd``."""
    with _returning():
        _call("setns", fd, CLONE_NEWNET)
        yield


@contextmanager
def _returning() -> Iterator[None]:
    home = own_fd()
    try:
        yield
    finally:
        _call("setns", home, CLONE_NEWNET)
        os.close(home)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
