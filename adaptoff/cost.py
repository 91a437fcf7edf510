"""The cost model: rows -> seconds, joules, degrees.

Pure functions of arrays; no state. Rows are either the joint choice of a fleet, (F, G), or V
options of clusters whose neighbours keep the rows that they have, (V,).

    device_s   = B * work(cut) / (speed * g(opp))
    uplink_s   = B * (bytes_up(cut) * 8 / up_bps + rtt / 2), 0 if native; downlink_s likewise
    sync_s     = weights(cut) * 8 * (1 / up_bps + 1 / down_bps), once a round
    server_s   = B * work_server(cut) / server_speed * sharing
    total_s    = sync_s + max(device_s, sum - (1 - 1/k) (sum - largest)), k micro-batches in flight
    round_s    = max over devices
    energy_j   = dynamic_w(opp) * device_s + radio_w * link_s + idle_w * round_s
    dT/dt      = (ambient + R * P - T) / tau, in ``heat``

With k = 1 the stages of a batch follow each other; with more they overlap, and what is left is
about the largest stage and the time to fill the pipeline. In training a device has two stages, the
passes forward and backward, which one processor does: each is taken to be half of its work.

Sharing is processor sharing by mean occupancy. Each other device is at the server for the share
``server_s / total_s`` of its round, which lasts for a share of one's own:

    sharing = 1 + sum over others o of (server_s_o / total_s_o) * min(1, total_s_o / total_s)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptoff.facts import Facts, facts
from adaptoff.fleet import Conditions, Fleet, Floats, Ints, Options, Rows
from adaptoff.lookup import of_cluster, of_fleet

SHARING_STEPS = 4
MAX_OCCUPANCY = 0.98
NOTHING_S = 1e-12


@dataclass(frozen=True)
class Columns:
    """Predicted consequences of one round, shaped as the rows; one device of each cluster."""

    device_s: Floats
    uplink_s: Floats
    server_s: Floats
    downlink_s: Floats
    sync_s: Floats
    active_j: Floats
    """joules without the idle part, which depends on the round"""
    overlap: Floats | None
    """1 - 1/k of k micro-batches in flight, shaped as the rows; None: k = 1 everywhere"""
    pass_s: Floats | None
    """the device's longer pass, None with ``overlap``"""

    @cached_property
    def link_s(self) -> Floats:
        """All seconds on the link."""
        return self.uplink_s + self.downlink_s + self.sync_s

    @cached_property
    def total_s(self) -> Floats:
        """Seconds of a device's round, waiting for others excluded."""
        return self.total_with(self.server_s)

    def total_with(self, server_s: Floats) -> Floats:
        """The same with so many seconds at the server."""
        total_s = self.device_s + server_s + self.link_s
        if self.overlap is None or self.pass_s is None:
            return total_s
        largest_s = np.maximum(
            np.maximum(self.pass_s, self.uplink_s), np.maximum(server_s, self.downlink_s)
        )
        return overlapped(total_s, largest_s, self.sync_s, self.device_s, self.overlap)

    def shared(self, server_s: Floats) -> "Columns":
        """With so many seconds at the server."""
        return Columns(
            self.device_s, self.uplink_s, server_s, self.downlink_s, self.sync_s, self.active_j,
            self.overlap, self.pass_s,
        )  # fmt: skip

    def take(self, at: Ints) -> "Columns":
        """Those of the options at the positions ``at``, shaped alike."""
        return Columns(
            self.device_s.take(at), self.uplink_s.take(at), self.server_s.take(at),
            self.downlink_s.take(at), self.sync_s.take(at), self.active_j.take(at),
            None if self.overlap is None else self.overlap.take(at),
            None if self.pass_s is None else self.pass_s.take(at),
        )  # fmt: skip


def overlapped(
    total_s: Floats, largest_s: Floats, sync_s: Floats, device_s: Floats, overlap: Floats
) -> Floats:  # fmt: skip
    """Seconds of a round of ``total_s`` one after another, whose largest stage takes ``largest_s``.

    The other arguments are those of ``Columns``, all of one shape or broadcasting.
    """
    piped_s = total_s - overlap * (total_s - sync_s - largest_s)
    return np.maximum(piped_s, sync_s + device_s)


def joint(fleet: Fleet, at: Conditions, rows: Rows) -> Columns:
    """Columns (F, G) when every cluster takes its row, the server shared by all."""
    return together(solo(fleet, at, rows), np.where(fleet.active, fleet.count, 0.0))


def together(alone: Columns, devices: Floats) -> Columns:
    """The same of rows that have the columns ``alone`` (..., F, G) with a server of their own.

    ``devices`` (F, G) are those of each cluster, 0 where it is padded.
    """

    def met(server_s: Floats, total_s: Floats) -> Floats:
        total_s = np.maximum(total_s, NOTHING_S)
        own = np.minimum(server_s / total_s, MAX_OCCUPANCY)
        met = np.add.reduce(meetings(devices * own * total_s, total_s), -2)
        return np.maximum(met - own, 0.0)

    return _settled(alone, met)


def alternatives(
    fleet: Fleet, at: Conditions, options: Options, current: Columns, known: Facts | None = None
) -> Columns:
    """Columns (V,) of ``options`` while the other clusters keep their ``current`` (F, G).

    ``known`` are the options' facts, where they were gathered before.
    """
    siblings = of_cluster(np.maximum(fleet.count - 1, 0), options)
    devices = np.where(fleet.active, fleet.count, 0.0)
    whose = options.fleet * fleet.shape[1] + options.cluster
    return beside(solo(fleet, at, options, known), siblings, whose, current, devices)


def beside(
    alone: Columns, siblings: Floats, whose: Ints, current: Columns, devices: Floats
) -> Columns:  # fmt: skip
    """The same of options that have the columns ``alone`` (V,) with a server of their own.

    Each is of the cluster numbered ``whose`` (V,) among all fleets', beside so many ``siblings``
    (V,); ``devices`` as in ``together``.
    """
    others = _others(whose, current, devices)

    def met(server_s: Floats, total_s: Floats) -> Floats:
        there = siblings * _occupancy(server_s, total_s)
        for busy_s, round_s in others:
            there += busy_s / np.maximum(round_s, total_s)
        return there

    return _settled(alone, met)


def meetings(busy_s: Floats, total_s: Floats) -> Floats:
    """Devices of each cluster at the server during a round of each other one, (..., F, G, G).

    ``busy_s`` (..., F, G) are the seconds that all members spend there, ``total_s`` those of a
    round.
    """
    mine_s = total_s[..., None]
    return busy_s[..., None] / np.maximum(mine_s, total_s[..., None, :])


def _occupancy(server_s: Floats, total_s: Floats) -> Floats:
    """Share of a device's round that it is at the server."""
    return np.minimum(server_s / np.maximum(total_s, NOTHING_S), MAX_OCCUPANCY)


def _settled(alone: Columns, met: Callable[[Floats, Floats], Floats]) -> Columns:
    """Shared with as many others as are ``met`` at the server in the mean: nearly a fixed point.

    Whoever is slowed down meets fewer, so that steps may swing: one that turns back is halved.
    """
    stretch = 1 + met(alone.server_s, alone.total_s)
    step = stretch - 1
    for _ in range(SHARING_STEPS - 1):
        if not step.any():
            break
        server_s = alone.server_s * stretch
        missing = 1 + met(server_s, alone.total_with(server_s)) - stretch
        step = np.divide(missing, 2, out=missing, where=missing * step < 0)
        stretch = stretch + step
    return alone.shared(alone.server_s * stretch)


def _others(whose: Ints, current: Columns, devices: Floats) -> list[tuple[Floats, Floats]]:
    """Of one cluster after another: all members' seconds at the server, and its round; (V,) each.

    One's own cluster counts as 0 s. Arrays (G, V) of all clusters at once are slower to sum.
    """
    (n_fleets, n_clusters), total_s = devices.shape, np.maximum(current.total_s, NOTHING_S)
    if n_clusters == 1:
        return []
    busy_s = devices * _occupancy(current.server_s, total_s) * total_s
    both = np.empty((2, n_clusters, n_fleets, n_clusters))  # theirs, by whose option it is
    both[0] = busy_s.T[..., None] * (1 - np.eye(n_clusters))[:, None]
    both[1] = total_s.T[..., None]
    each = both.reshape(2 * n_clusters, -1).take(whose, 1)
    return list(zip(each[:n_clusters], each[n_clusters:], strict=True))


def solo(fleet: Fleet, at: Conditions, rows: Rows | Options, known: Facts | None = None) -> Columns:
    """Columns as if the server were its own; rows (F, G) or options (V,), maybe ``known``."""
    here = Conditions(
        speed=of_cluster(at.speed, rows),
        up_bps=of_cluster(at.up_bps, rows),
        down_bps=of_cluster(at.down_bps, rows),
        rtt_s=of_cluster(at.rtt_s, rows),
        temp_c=of_cluster(at.temp_c, rows),
        server_speed=of_fleet(at.server_speed, rows),
    )
    return predicted(known or facts(fleet, rows), here)


def predicted(facts: Facts, at: Conditions) -> Columns:
    """Columns as if the server were its own, under conditions that are shaped as the facts."""
    half_rtt_s = at.rtt_s / 2 * facts.split
    device_s = facts.device_work_s / (at.speed * facts.relative_speed)
    uplink_s = facts.batches * (facts.up_bits / at.up_bps + half_rtt_s)
    downlink_s = facts.batches * (facts.down_bits / at.down_bps + half_rtt_s)
    sync_s = facts.sync_bits * (1 / at.up_bps + 1 / at.down_bps)
    link_j = facts.radio_w * (uplink_s + downlink_s + sync_s)
    return Columns(
        device_s=device_s,
        uplink_s=uplink_s,
        server_s=facts.server_work_s / at.server_speed,
        downlink_s=downlink_s,
        sync_s=sync_s,
        active_j=facts.dynamic_w * device_s + link_j,
        overlap=facts.overlap,
        pass_s=None if facts.one_pass is None else facts.one_pass * device_s,
    )


def round_s(fleet: Fleet, columns: Columns) -> Floats:
    """Seconds (F,) of a synchronous round: the slowest active cluster."""
    return np.where(fleet.active, columns.total_s, 0.0).max(1)


def energy_j(fleet: Fleet, columns: Columns, seconds: Floats) -> Floats:
    """Joules (F, G) of all members over a round of ``seconds`` (F,): waiting burns idle power."""
    each = columns.active_j + fleet.idle_w * seconds[:, None]
    return np.where(fleet.active, each * fleet.count, 0.0)
