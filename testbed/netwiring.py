"""A bridge, a server and devices in namespaces of their own, and a shaped cable to each device.

    server ── s  ┐                    up: shaped where it leaves the device
                 ├ bridge (the broker's namespace)
    device ── d0 ┘                    down: shaped where it leaves the bridge

TCP hands single frames down (``gso_max_segs`` of 1): of a larger segment TBF would drop a part, and
the sender would not feel that its own queue is full.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from adaptoff.errors import NetworkError
from adaptoff.testbed import namespaces
from adaptoff.testbed.netlink import Netlink
from adaptoff.testbed.netorders import SERVER, SUBNET, Rates, address

SYSCTL = Path("/proc/sys/net")
CONGESTION = "ipv4/tcp_congestion_control"
CONGESTION_WISHES = ("cubic", "reno")
"""best first; BBR takes seconds to notice that a link became faster"""


class Node(NamedTuple):
    """The server or a device, and its cable."""

    fd: int
    inner: Netlink
    inner_index: int
    outer_index: int
    """of the bridge's end"""


class Wiring:
    """All that the broker may write to; made in the namespace that is to have the bridge."""

    def __init__(self, host: str) -> None:
        """Raises RuntimeError if this namespace is ``host``, the one never to be touched."""
        self._host = host
        self._silence()
        self._hub = Netlink(namespaces.own_fd(), host)
        self._bridge = 0
        self._nodes: dict[int, Node] = {}
        self._rates: dict[int, Rates] = {}

    async def build(self, rates: list[Rates]) -> list[int]:
        """Descriptors of the server's namespace and of each device's."""
        self._bridge = await self._hub.add_link("bridge", "bridge")
        await self._add(SERVER, "s")
        for device, each in enumerate(rates):
            await self._add(device, f"d{device}")
            await self._shape(device, each, first=True)
        return [node.fd for node in self._nodes.values()]

    async def set_rates(self, device: int, rates: Rates) -> None:
        """Both directions of a device's cable; what is as it was is left alone."""
        if rates != self._rates[device]:  # each change grants TBF a full burst
            await self._shape(device, rates)

    async def set_link(self, device: int, *, connected: bool) -> None:
        """At the bridge's end: the device sees its carrier go, and what is queued is lost."""
        await self._hub.set_state(self._nodes[device].outer_index, up=connected)

    async def _add(self, node: int, name: str) -> None:
        fd = namespaces.create()
        with namespaces.inside(fd):
            self._silence()
            self._choose_congestion_control()
        peer = {"ifname": "eth0", "net_ns_fd": fd, "gso_max_segs": 1}
        outer = await self._hub.add_link(name, "veth", peer=peer, master=self._bridge)
        inner = Netlink(fd, self._host)
        await inner.bring_up("lo")
        index = await inner.bring_up("eth0", address(node), SUBNET.prefixlen)
        self._nodes[node] = Node(fd, inner, index, outer)

    async def _shape(self, device: int, rates: Rates, *, first: bool = False) -> None:
        node = self._nodes[device]
        await node.inner.shape(node.inner_index, rates.up_bps, first=first)
        await self._hub.shape(node.outer_index, rates.down_bps, first=first)
        self._rates[device] = rates

    def _silence(self) -> None:
        """No IPv6: its announcements would take their share of slow links."""
        for which in ("all", "default"):
            with suppress(OSError):
                self._write(f"ipv6/conf/{which}/disable_ipv6", "1")

    def _choose_congestion_control(self) -> None:
        for wish in CONGESTION_WISHES:
            with suppress(OSError):  # what the host does not allow in its namespaces
                self._write(CONGESTION, wish)
            if (SYSCTL / CONGESTION).read_text().strip() == wish:
                return
        raise NetworkError(f"{CONGESTION}: none of {', '.join(CONGESTION_WISHES)} can be set")

    def _write(self, sysctl: str, value: str) -> None:
        namespaces.refuse(namespaces.own(), self._host)
        (SYSCTL / sysctl).write_text(value)
