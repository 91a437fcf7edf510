"""A contextual bandit that learns from its own rounds what offloading costs.

After ANS (Zhang, Chen, Xu: Autodidactic Neurosurgeon, WWW 2021): the time on the device is known,
the rest is linear in features of the offloaded part, learnt by LinUCB, one model a cluster. Native
teaches next to nothing about offloading, so at intervals any cut but native must be taken.

The settings did best of ten on random fleets of seeds 31000 and 31001.
"""

from dataclasses import dataclass

import numpy as np

from adaptoff import cost, lookup
from adaptoff.agents.method import lowest, top_clock
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.fleet import Fleet, FleetState, Floats, Options, Outcome, Rows
from adaptoff.table import Table

FEATURES = 3


@dataclass
class LinUCB:
    """The cut of lowest (time - alpha * uncertainty), each cluster for itself, at its top clock."""

    name: str = "linucb"
    alpha: float = 0.02
    """in units of the cluster's native seconds"""
    ridge: float = 0.1
    phase: int = 32
    """rounds of the first phase; each later one is twice as long as the one before"""
    exponent: float = 0.5
    """a phase of T rounds forces a cut below native every T ** exponent rounds"""

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """Nothing is learnt yet."""
        self._round = 0

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        table = top_clock(fleet, state)
        if not self._round:
            self._start(fleet, state, table)
        self._round += 1
        table = self._allowed(fleet, table)
        return lowest(table, self._optimistic(fleet, state, table))

    def see(self, outcome: Outcome, cost: Floats) -> None:  # noqa: ARG002
        """Learn from what the round took beyond the device's own time."""
        x = offloaded(self._fleet, Rows(outcome.way, outcome.opp)) / self._scale
        rest = (outcome.total_s - outcome.device_s) / self._unit_s
        self._a += x[..., :, None] * x[..., None, :]
        self._b += x * rest[..., None]

    def forced(self, round_: int) -> bool:
        """Whether native may not be taken in this round, counted from 1."""
        length, start = self.phase, 0
        while round_ > start + length:
            start, length = start + length, 2 * length
        return (round_ - start) % max(round(length**self.exponent), 1) == 0

    def _start(self, fleet: Fleet, state: FleetState, table: Table) -> None:
        """Units and empty models, for the clusters as they are after the warm-up."""
        self._fleet = fleet
        self._unit_s = cost.solo(fleet, state, fleet.native()).total_s
        self._a = np.tile(self.ridge * np.eye(FEATURES), (*fleet.shape, 1, 1))
        self._b = np.zeros((*fleet.shape, FEATURES))
        most = table.spread(offloaded(fleet, table.options), 0.0).max(2)
        self._scale = np.maximum(most, 1e-12)

    def _optimistic(self, fleet: Fleet, state: FleetState, table: Table) -> Floats:
        """Time less ``alpha`` times its uncertainty, for each option (V,)."""
        options = table.options
        whose = options.fleet, options.cluster
        x = offloaded(fleet, options) / self._scale[whose]
        inverse = np.linalg.inv(self._a)
        theta = np.einsum("fgij,fgj->fgi", inverse, self._b)
        width = np.sqrt(np.einsum("vi,vij,vj->v", x, inverse[whose], x))
        device = cost.solo(fleet, state, options).device_s / self._unit_s[whose]
        return device + (x * theta[whose]).sum(1) - self.alpha * width

    def _allowed(self, fleet: Fleet, table: Table) -> Table:
        if not self.forced(self._round):
            return table
        below = table.valid & (table.rows.way < fleet.native().way[..., None])
        return Table(table.rows, np.where(below.any(2, keepdims=True), below, table.valid))


def offloaded(fleet: Fleet, rows: Rows | Options) -> Floats:
    """Server work, bytes on the link and batches sent of a round, (..., FEATURES)."""
    batches = lookup.of_cluster(fleet.batches, rows)
    work_s = batches * lookup.of_way(fleet.server_work_s, rows)
    both_ways = lookup.of_way(fleet.up_bytes, rows) + lookup.of_way(fleet.down_bytes, rows)
    size = batches * both_ways + 2 * lookup.of_way(fleet.sync_bytes, rows)
    return np.stack([work_s, size, batches * (work_s > 0)], -1)
