"""One episode logic over any backend, F fleets at once: what both environments and evaluation run.

An action is an index into the candidate table of each cluster. An index of an impossible row
(random policies, padded clusters) stands for the cluster's native row: what a device falls back to.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from adaptoff import controller, estimate, objective
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints, Outcome, Rows
from adaptoff.foresight import Foresight, looked_at
from adaptoff.ground import Ground, renewed, scene
from adaptoff.observation import observe
from adaptoff.protocols import FleetBackend
from adaptoff.table import Table


@runtime_checkable
class Live(Protocol):
    """A backend that trains for real: it has weights, and clusters that may change.

    It estimates by itself, device by device: outcomes only tell of each cluster's slowest member.
    """

    def reset(self, seed: int, *, restart: bool) -> Outcome:
        """As any backend's; ``restart`` also resets the weights."""

    def estimates(self) -> FleetState:
        """Estimates after the last round, as its devices have them; clusters as in its outcome."""


@dataclass(frozen=True)
class Round:
    """What one step of an episode gave."""

    outcome: Outcome
    cost: Floats  # (F,)
    replaced: Bools  # (F, G) where an impossible or guarded row was replaced


class Episode:
    """Estimates, candidates and observation around a backend; F fleets at once."""

    def __init__(self, backend: FleetBackend, *, guard: bool = False) -> None:
        self.backend, self.guard = backend, guard
        self.state: FleetState
        self.ground: Ground
        self._sight: Foresight | None = None

    @property
    def fleet(self) -> Fleet:
        """The backend's fleet."""
        return self.backend.fleet

    @property
    def table(self) -> Table:
        """The candidate rows of the coming round."""
        return self.ground.table

    def reset(self, seed: int, *, restart: bool = False) -> Outcome:
        """Warm up, and fix the native reference; ``restart`` also resets a live fleet's weights."""
        if isinstance(self.backend, Live):
            warm_up = self.backend.reset(seed, restart=restart)
            self._see(self.backend.estimates())
        else:
            warm_up = self.backend.reset(seed)
            self._see(estimate.initial(self.fleet, warm_up))
        return warm_up

    def observe(self) -> npt.NDArray[np.float32]:
        """Features (F, G, R, N) of the current candidates."""
        return observe(self.sight)

    def step(self, index: Ints) -> Round:
        """Run a round with the candidates at ``index`` (F, G)."""
        index, replaced = usable(self.fleet, self.table, index)
        rows = self.table.take(index)
        if self.guard:
            choice = controller.guard(self.sight, index)
            rows, replaced = choice.rows, replaced | choice.guarded
        return self.run(rows, replaced)

    def run(self, rows: Rows, replaced: Bools | None = None) -> Round:
        """Run a round with rows (F, G) from anywhere."""
        return self.after(self.backend.apply(rows), replaced)

    def after(self, seen: Outcome, replaced: Bools | None = None) -> Round:
        """Take in a round that the backend has run, whoever chose its rows."""
        if replaced is None:
            replaced = np.zeros(seen.way.shape, bool)
        if isinstance(self.backend, Live):
            self._see(self.backend.estimates(), self.ground)
        else:
            self._see(estimate.update(self.fleet, self.state, seen), self.ground)
        return Round(seen, round_cost(self.fleet, self.state, seen), replaced)

    @property
    def sight(self) -> Foresight:
        """What is foreseen of the coming round, worked out when asked for."""
        if self._sight is None:
            self._sight = looked_at(scene(self.ground, self.state))
        return self._sight

    def _see(self, state: FleetState, before: Ground | None = None) -> None:
        self.state, self._sight = state, None
        self.ground = renewed(before, self.fleet, state)


def usable(fleet: Fleet, table: Table, index: Ints) -> tuple[Ints, Bools]:
    """Indices with native's in place of impossible rows, and where that was needed; (F, G)."""
    index = index[:, : fleet.shape[1]]
    native, _ = table.find(fleet.native())
    n_rows = table.valid.shape[2]
    inside = (index >= 0) & (index < n_rows)
    at = np.clip(index, 0, n_rows - 1)[..., None]
    fine = inside & np.take_along_axis(table.valid, at, 2)[..., 0]
    return np.where(fine, index, native), ~fine


def round_cost(fleet: Fleet, state: FleetState, seen: Outcome) -> Floats:
    """Cost (F,) of a measured round."""
    excess_c = np.where(fleet.active, seen.temp_c, -np.inf).max(1) - fleet.heat_limit_c
    joules = np.where(fleet.active, seen.energy_j, 0.0).sum(1)
    return objective.cost(
        seen.round_s, joules, excess_c, state.native_s, state.native_j, fleet.energy_weight
    )
