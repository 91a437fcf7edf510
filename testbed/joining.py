"""Who may join a server as a device."""

from collections.abc import Container

from adaptoff import __version__
from adaptoff.messages import PROTOCOL, Hello
from adaptoff.testbed.keys import client_name


def complaint(hello: Hello, who: str | None, *, count: int, present: Container[int]) -> str | None:
    """Why a peer may not join; None if it may, as a device or as a driver.

    ``who`` is the name that its key is listed under, ``count`` the scenario's devices, ``present``
    those that are there.
    """
    name = client_name(hello.role, hello.device)
    if who not in {None, name}:
        return f"the key is listed as {who}, not as {name}"
    if hello.protocol != PROTOCOL:
        return f"protocol {hello.protocol}, this server ({__version__}) speaks {PROTOCOL}"
    if hello.role == "driver":
        return None
    if hello.device >= count:
        return f"device {hello.device}: the scenario has 0 to {count - 1}"
    return f"device {hello.device} is here already" if hello.device in present else None
