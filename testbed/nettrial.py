"""What ``probe`` runs in a new namespace: makes links and queues there, prints what worked."""

import os
import sys
from collections.abc import Callable

import msgspec
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import TC_H_ROOT
from pyroute2.nftables.main import NFTables

from adaptoff.testbed import namespaces, relay, tc
from adaptoff.testbed.netorders import Impairment
from adaptoff.testbed.probe import Ability, Trial


def attempt(work: Callable[[], object]) -> Ability:
    """What the kernel says of it."""
    try:
        work()
    except (NetlinkError, OSError) as error:
        return Ability(os.strerror(error.args[0]) if error.args else repr(error))
    return Ability()


def add_links(route: IPRoute) -> None:
    """A bridge, and a veth pair on it."""
    route.link("add", ifname="bridge", kind="bridge")
    (bridge,) = route.link_lookup(ifname="bridge")
    route.link("add", ifname="outer", kind="veth", peer={"ifname": "inner"}, master=bridge)


def add_queue(route: IPRoute, kind: str, **options: object) -> None:
    """At the interface's root, and away again."""
    (index,) = route.link_lookup(ifname="inner")
    route.tc("add", kind, index, handle=tc.HANDLE, **options)
    route.tc("del", index=index, parent=TC_H_ROOT)


def add_netem(route: IPRoute) -> None:
    """At the interface's root and TBF below it; with them it goes away."""
    (index,) = route.link_lookup(ifname="inner")
    netem = tc.netem(Impairment(0.01, 0.001, 0.01))
    route.tc("add", "netem", index, handle=tc.NETEM_HANDLE, **netem)
    route.tc("add", "tbf", index, handle=tc.HANDLE, parent=tc.BELOW_NETEM, **tc.bucket(1e6))


def add_table() -> None:
    """Packet filtering of this namespace."""
    with NFTables() as tables:
        tables.table("add", name="trial")


def run(route: IPRoute) -> Trial:
    """All of it."""
    links = attempt(lambda: add_links(route))
    if not links:
        return Trial(links)
    return Trial(
        links,
        tbf=attempt(lambda: add_queue(route, "tbf", **tc.bucket(1e6))),
        htb=attempt(lambda: add_queue(route, "htb", default=0)),
        netem=attempt(lambda: add_netem(route)),
        relay=attempt(lambda: relay.tap("outer").close()),
        nft=attempt(add_table),
    )


def main() -> None:
    """Called with the host's namespace, in which nothing may be done."""
    namespaces.refuse(namespaces.own(), sys.argv[1])
    with IPRoute() as route:
        sys.stdout.buffer.write(msgspec.json.encode(run(route)))


if __name__ == "__main__":
    main()
