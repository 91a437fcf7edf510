"""The cost model: rows -> seconds, joules, degrees.

Pure functions of arrays; no state. Rows are either the joint choice of a fleet, (F, G), or V
options of clusters whose neighbours keep the rows that they have, (V,).

    device_s   = B * work(cut) / (speed * g(opp))
    uplink_s   = B * (bytes_up(cut) * 8 / up_bps + rtt / 2), 0 if native; downlink_s likewise
    sync_s     = weights(cut) * 8 * (1 / up_bps + 1 / down_bps), once a round
    server_s   = B * work_server(cut) / server_speed * sharing
    total_s    = sync_s + sum - (1 - 1/k) (sum - largest), k micro-batches in flight
    round_s    = max over devices
    energy_j   = dynamic_w(opp) * device_s + radio_w * link_s + idle_w * round_s
    dT/dt      = (ambient + R * P - T) / tau, in ``heat``

With k = 1 the stages of a batch follow each other; with more they overlap, and what is left is
about the largest stage and the time to fill the pipeline.

Sharing is processor sharing by mean occupancy. Each other device is at the server for the share
``server_s / total_s`` of its round, which lasts for a share of one's own:

    sharing = 1 + sum over others o of (server_s_o / total_s_o) * min(1, total_s_o / total_s)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from adaptoff.fleet import Conditions, Fleet, Floats, Options, Rows
from adaptoff.lookup import of_cluster, of_cut, of_fleet, of_opp

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
    overlap: Floats
    """1 - 1/k of k micro-batches in flight; (F, 1) or (V,)"""

    @property
    def link_s(self) -> Floats:
        """All seconds on the link."""
        return self.uplink_s + self.downlink_s + self.sync_s

    @property
    def in_turn_s(self) -> Floats:
        """Seconds of all stages if none overlapped."""
        return self.device_s + self.link_s + self.server_s

    @property
    def total_s(self) -> Floats:
        """Seconds of a device's round, waiting for others excluded."""
        total_s = self.device_s + self.server_s + self.link_s
        if not self.overlap.any():
            return total_s
        largest_s = np.maximum(
            np.maximum(self.device_s, self.uplink_s), np.maximum(self.server_s, self.downlink_s)
        )
        return total_s - self.overlap * (total_s - self.sync_s - largest_s)


def joint(fleet: Fleet, at: Conditions, rows: Rows) -> Columns:
    """Columns (F, G) when every cluster takes its row, the server shared by all."""
    present = np.where(fleet.active, fleet.count, 0.0)
    return _settled(solo(fleet, at, rows), lambda shared: _met(shared, present))


def alternatives(fleet: Fleet, at: Conditions, options: Options, current: Columns) -> Columns:
    """Columns (V,) of ``options`` while the other clusters keep their ``current`` (F, G)."""
    return beside(fleet, solo(fleet, at, options), options, current)


def beside(fleet: Fleet, alone: Columns, options: Options, current: Columns) -> Columns:
    """The same of options that have the columns ``alone`` (V,) with a server of their own."""
    others = list(_others(fleet, options, current))
    siblings = of_cluster(np.maximum(fleet.count - 1, 0), options)

    def met(shared: Columns) -> Floats:
        own_s = shared.total_s
        devices = siblings * _occupancy(shared.server_s, own_s)
        for busy_s, total_s in others:
            devices += busy_s / np.maximum(total_s, own_s)
        return devices

    return _settled(alone, met)


def meetings(busy_s: Floats, total_s: Floats) -> Floats:
    """Devices of each cluster at the server during a round of each other one, (F, G, G).

    ``busy_s`` (F, G) are the seconds that all members spend there, ``total_s`` those of a round.
    """
    return busy_s[:, :, None] / np.maximum(total_s[:, :, None], total_s[:, None, :])


def _occupancy(server_s: Floats, total_s: Floats) -> Floats:
    """Share of a device's round that it is at the server."""
    return np.minimum(server_s / np.maximum(total_s, NOTHING_S), MAX_OCCUPANCY)


def _settled(alone: Columns, met: Callable[[Columns], Floats]) -> Columns:
    """Shared with as many others as are ``met`` at the server in the mean: nearly a fixed point.

    Whoever is slowed down meets fewer, so that steps may swing: one that turns back is halved.
    """
    stretch, step = np.ones_like(alone.server_s), np.zeros_like(alone.server_s)
    for _ in range(SHARING_STEPS):
        missing = 1 + met(_shared(alone, stretch)) - stretch
        step = np.where(missing * step < 0, missing / 2, missing)
        stretch = stretch + step
    return _shared(alone, stretch)


def _met(shared: Columns, present: Floats) -> Floats:
    """Other devices at the server, in the mean over one's own round; all (F, G)."""
    total_s = np.maximum(shared.total_s, NOTHING_S)
    own = _occupancy(shared.server_s, total_s)
    met = meetings(present * own * total_s, total_s)
    return np.maximum(met.sum(1) - own, 0.0)


def _others(fleet: Fleet, options: Options, current: Columns) -> Iterator[tuple[Floats, Floats]]:
    """Of one cluster after another: all members' seconds at the server, and its round; (V,) each.

    One's own cluster counts as 0 s. Arrays (G, V) of all clusters at once are slower to sum.
    """
    total_s = np.maximum(current.total_s, NOTHING_S)
    devices = np.where(fleet.active, fleet.count, 0.0)
    busy_s = devices * _occupancy(current.server_s, total_s) * total_s
    for cluster in range(fleet.shape[1]):
        theirs_s = busy_s[:, cluster].take(options.fleet)
        mine = options.cluster == cluster
        yield np.where(mine, 0.0, theirs_s), total_s[:, cluster].take(options.fleet)


def _shared(alone: Columns, stretch: Floats) -> Columns:
    return replace(alone, server_s=alone.server_s * stretch)


def solo(fleet: Fleet, at: Conditions, rows: Rows | Options) -> Columns:
    """Columns as if the server were its own; rows (F, G) or options (V,)."""

    def each(values: Floats) -> Floats:
        return of_cluster(values, rows)

    batches, up, down = each(fleet.batches), each(at.up_bps), each(at.down_bps)
    server_work_s = of_cut(fleet.server_work_s, rows)
    half_rtt = each(at.rtt_s) / 2 * (rows.cut < of_fleet(fleet.n_cuts, rows) - 1)
    speed = each(at.speed) * of_opp(fleet.relative_speed, rows)
    device_s = batches * of_cut(fleet.device_work_s, rows) / speed
    uplink_s = batches * (of_cut(fleet.up_bytes, rows) * 8 / up + half_rtt)
    downlink_s = batches * (of_cut(fleet.down_bytes, rows) * 8 / down + half_rtt)
    sync_s = of_cut(fleet.sync_bytes, rows) * 8 * (1 / up + 1 / down)
    link_j = each(fleet.radio_w) * (uplink_s + downlink_s + sync_s)
    return Columns(
        device_s=device_s,
        uplink_s=uplink_s,
        server_s=batches * server_work_s / of_fleet(at.server_speed, rows),
        downlink_s=downlink_s,
        sync_s=sync_s,
        active_j=of_opp(fleet.dynamic_w, rows) * device_s + link_j,
        overlap=of_fleet(1 - 1 / fleet.depth, rows),
    )


def round_s(fleet: Fleet, columns: Columns) -> Floats:
    """Seconds (F,) of a synchronous round: the slowest active cluster."""
    return np.where(fleet.active, columns.total_s, 0.0).max(1)


def energy_j(fleet: Fleet, columns: Columns, seconds: Floats) -> Floats:
    """Joules (F, G) of all members over a round of ``seconds`` (F,): waiting burns idle power."""
    each = columns.active_j + fleet.idle_w * seconds[:, None]
    return np.where(fleet.active, each * fleet.count, 0.0)
