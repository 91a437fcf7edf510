"""rtnetlink in one namespace, which is made sure not to be the host's before every write."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from adaptoff.errors import NetworkError
from adaptoff.testbed import namespaces, tc
from adaptoff.testbed.netorders import Impairment


class Netlink:
    """Interfaces and queues of the namespace ``fd``; raises NetworkError for what is refused.

    The socket is made here and handed over: pyroute2 opens one for each thread that asks, in
    whatever namespace that thread is.
    """

    def __init__(self, fd: int, host: str) -> None:
        self._host = host
        with namespaces.inside(fd):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
        self._route = AsyncIPRoute(use_socket=self._socket)

    async def add_link(self, name: str, kind: str, **options: object) -> int:
        """A new interface, up; returns its index."""
        with self._writing(kind) as route:
            await route.link("add", ifname=name, kind=kind, **options)
        return await self.bring_up(name)

    async def bring_up(self, name: str, address: str | None = None, prefix: int = 0) -> int:
        """An interface that exists gets an address, is set up; returns its index."""
        (index,) = await self._route.link_lookup(ifname=name)
        if address:
            with self._writing(name) as route:
                await route.addr("add", index=index, address=address, prefixlen=prefix)
        await self.set_state(index, up=True)
        return int(index)

    async def set_state(self, index: int, *, up: bool) -> None:
        """Administratively up or down."""
        with self._writing("interface") as route:
            await route.link("set", index=index, state="up" if up else "down")

    async def add_neighbour(self, index: int, address: str, hardware_address: str) -> None:
        """Behind an interface; for good, without asking who it is."""
        with self._writing("neighbour") as route:
            await route.neigh(
                "add", dst=address, lladdr=hardware_address, ifindex=index, state="permanent"
            )

    async def impair(self, index: int, impairment: Impairment) -> None:
        """Delay and lose what leaves by an interface, by netem."""
        with self._writing("netem") as route:
            await route.tc("add", "netem", index, handle=tc.NETEM_HANDLE, **tc.netem(impairment))

    async def shape(
        self, index: int, rate_bps: float, *, parent: int = tc.ROOT, first: bool = False
    ) -> None:
        """Payload bits per second that leave by an interface, from the ``first`` time on."""
        command, bucket = "add" if first else "change", tc.bucket(rate_bps)
        with self._writing("tbf") as route:
            await route.tc(command, "tbf", index, handle=tc.HANDLE, parent=parent, **bucket)

    @contextmanager
    def _writing(self, what: str) -> Iterator[AsyncIPRoute]:
        namespaces.refuse(namespaces.of_socket(self._socket), self._host)
        try:
            yield self._route
        except NetlinkError as error:
            raise NetworkError(f"the kernel refuses {what}: {error}") from None
