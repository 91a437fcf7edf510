"""What goes wrong with the server, the other devices, the links and the policies."""

import hashlib
from collections.abc import Iterator

import numpy as np

from adaptoff.messages import NewPolicy, UsePolicy
from adaptoff.policy_store import CURRENT
from benchmarks.soaking import spoil
from benchmarks.soaking.site import Site

FAR_AWAY = 100.0
"""times less of a link"""


def stale(at: Site) -> Iterator[None]:
    """The server repeats old figures."""
    at.server.stale = at.server.last
    yield
    at.server.stale = None


def broken(at: Site) -> Iterator[None]:
    """Figures with NaN, infinities, negative numbers, or parts that do not fit."""
    at.server.spoil = spoil.figures(at.rng)
    yield
    at.server.spoil = None


def server_gone(at: Site) -> Iterator[None]:
    """And back."""
    at.server.gone = True
    yield
    at.server.gone = False


def late(at: Site) -> Iterator[None]:
    """The server takes device 0 for late."""
    at.server.late = True
    yield
    at.server.late = False


def peer_gone(at: Site) -> Iterator[None]:
    """Another device leaves the fleet for a while."""
    device = int(at.rng.integers(1, at.world.n_devices))
    at.server.missing.add(device)
    yield
    at.server.missing.discard(device)


def regrouped(at: Site) -> Iterator[None]:
    """Unlike devices share a cluster."""
    at.server.groups.count = int(at.rng.integers(1, at.world.n_devices))
    yield
    at.server.groups.count = 8


def link_drops(at: Site) -> Iterator[None]:
    """To a hundredth, of some device."""
    device = int(at.rng.integers(at.world.n_devices))
    at.world.link[device] = 1 / FAR_AWAY
    yield
    at.world.link[device] = 1.0


def bad_policy(at: Site) -> Iterator[None]:
    """A file that is none is offered, and lies where the next process reads the one in use."""
    data = spoil.broken(spoil.good(at.root / "good"), at.rng)
    _offer(at, data)
    if (current := at.device.policies / CURRENT).exists():
        current.write_bytes(data)
    yield
    _offer(at, spoil.good(at.root / "good"))


def silly_policy(at: Site) -> Iterator[None]:
    """A policy of random weights is used for a while."""
    _offer(at, spoil.silly(at.rng, at.root / "silly"))
    yield
    _offer(at, spoil.good(at.root / "good"))


def good_policy(at: Site) -> Iterator[None]:
    """One that is as good as the one in use."""
    _offer(at, spoil.good(at.root / "good"))
    yield


def _offer(at: Site, data: bytes) -> None:
    """As the server does it."""
    if at.device.lives:
        sha256 = hashlib.sha256(data).hexdigest()
        array = np.frombuffer(data, np.uint8)
        at.device.adoption.check(NewPolicy(sha256=sha256), [array])
        at.device.adoption.use(UsePolicy(sha256=sha256))
