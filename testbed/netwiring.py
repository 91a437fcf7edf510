"""A bridge, a server and devices in namespaces of their own, and a shaped cable to each device.

    server ── s  ┐                    up: shaped where it leaves the device
                 ├ bridge (the broker's namespace)
    device ── d0 ┘                    down: shaped where it leaves the bridge
    device ── d1 ~ r1 ── p1 ┘         a relay (~) delays and loses, where netem does not

TCP hands single frames down (``gso_max_segs`` of 1): of a larger segment TBF would drop a part, and
the sender would not feel that its own queue is full.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from adaptoff.errors import NetworkError
from adaptoff.testbed import namespaces, tc
from adaptoff.testbed.netlink import Netlink
from adaptoff.testbed.netorders import (
    SERVER,
    SUBNET,
    Emulator,
    Impairment,
    Rates,
    address,
    hardware_address,
)
from adaptoff.testbed.relays import Relays

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
    """of its other end"""
    port_index: int
    """of the bridge's port: the other end too, unless there is a relay between them"""
    queue: int
    """where in the queueing of both directions the rate is shaped"""


class Wiring:
    """All that the broker may write to; made in the namespace that is to have the bridge."""

    def __init__(self, host: str, emulator: Emulator | None = None) -> None:
        """Raises RuntimeError if this namespace is ``host``, the one never to be touched."""
        self._host, self._emulator = host, emulator
        self.relays = Relays()
        self._silence()
        self._hub = Netlink(namespaces.own_fd(), host)
        self._bridge = 0
        self._nodes: dict[int, Node] = {}
        self._rates: dict[int, Rates] = {}

    async def build(self, rates: list[Rates], impairments: list[Impairment]) -> list[int]:
        """Descriptors of the server's namespace and of each device's."""
        self._bridge = await self._hub.add_link("bridge", "bridge")
        await self._add(SERVER, "s", Impairment())
        for device, (each, impairment) in enumerate(zip(rates, impairments, strict=True)):
            await self._add(device, f"d{device}", impairment)
            await self._shape(device, each, first=True)
            if impairment:
                await self._introduce(device)
        self.relays.wait()
        return [node.fd for node in self._nodes.values()]

    async def set_rates(self, device: int, rates: Rates) -> None:
        """Both directions of a device's cable; what is as it was is left alone."""
        if rates != self._rates[device]:  # each change grants TBF a full burst
            await self._shape(device, rates)

    async def set_link(self, device: int, *, connected: bool) -> None:
        """At the outer end: the device sees its carrier go, and what is queued is lost."""
        await self._hub.set_state(self._nodes[device].outer_index, up=connected)

    async def _add(self, node: int, name: str, impairment: Impairment) -> None:
        fd = self._create()
        mac = hardware_address(node)
        peer = {"ifname": "eth0", "net_ns_fd": fd, "gso_max_segs": 1, "address": mac}
        relayed = bool(impairment) and self._emulator == "relay"
        plugged = {} if relayed else {"master": self._bridge}
        outer = await self._hub.add_link(name, "veth", peer=peer, **plugged)
        port = await self._relay(node, name, impairment) if relayed else outer
        inner = Netlink(fd, self._host)
        await inner.bring_up("lo")
        index = await inner.bring_up("eth0", address(node), SUBNET.prefixlen)
        delayed = bool(impairment) and not relayed
        queue = tc.BELOW_NETEM if delayed else tc.ROOT
        if delayed:
            await inner.impair(index, impairment)
            await self._hub.impair(port, impairment)
        self._nodes[node] = Node(fd, inner, index, outer, port, queue)

    def _create(self) -> int:
        """A namespace for a node."""
        fd = namespaces.create()
        with namespaces.inside(fd):
            self._silence()
            self._choose_congestion_control()
        return fd

    async def _introduce(self, device: int) -> None:
        """To the server and back: a lost question of who is who would stop a link for a second."""
        for here, there in ((device, SERVER), (SERVER, device)):
            node = self._nodes[here]
            await node.inner.add_neighbour(
                node.inner_index, address(there), hardware_address(there)
            )

    async def _relay(self, device: int, near: str, impairment: Impairment) -> int:
        """To a further cable, whose other end is the bridge's port; returns its index."""
        far = f"r{device}"
        port = await self._hub.add_link(
            f"p{device}", "veth", peer={"ifname": far}, master=self._bridge
        )
        await self._hub.bring_up(far)
        self.relays.start(device, near, far, impairment)
        return port

    async def _shape(self, device: int, rates: Rates, *, first: bool = False) -> None:
        node = self._nodes[device]
        up, down = rates.up_bps, rates.down_bps
        await node.inner.shape(node.inner_index, up, parent=node.queue, first=first)
        await self._hub.shape(node.port_index, down, parent=node.queue, first=first)
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
