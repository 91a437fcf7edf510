"""Where decisions are made: a fleet, its candidate rows, and what is the same round after round."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptoff.candidates import Grid
from adaptoff.facts import facts
from adaptoff.fleet import Bools, Conditions, Fleet, FleetState, Floats, Ints, take
from adaptoff.table import Table


class Ground:
    """A fleet's constants at each option (V,) of a table, gathered once."""

    def __init__(self, fleet: Fleet, table: Table, grid: Grid | None = None) -> None:
        self.fleet, self.table, self.options = fleet, table, table.options
        self.grid = grid
        """what the table was made of, if that is known"""
        self.facts = facts(fleet, table.options)
        self.devices = np.where(fleet.active, fleet.count, 0.0)  # (F, G)
        self.idle_all_w = (fleet.idle_w * self.devices).sum(1)  # (F,)
        self.idle_w, self.ambient_c, self.heat_c_per_w, self.heat_tau_s = self.each(
            fleet.idle_w, fleet.ambient_c, fleet.heat_c_per_w, fleet.heat_tau_s
        )
        self.count, self.members, self.siblings, self.siblings_met = self.each(
            fleet.count,
            self.devices,
            np.maximum(fleet.count - 1, 0.0),
            np.maximum(self.devices - 1, 0.0),
        )
        self.fleet_idle_w, self.heat_limit_c, self.energy_weight = self.each(
            self.idle_all_w[:, None], fleet.heat_limit_c[:, None], fleet.energy_weight[:, None]
        )
        clusters = np.arange(fleet.shape[1])
        self.apart = (clusters[:, None] != clusters).astype(float)  # (G, G)
        self.others = fleet.active.T[:, self.options.fleet]  # (G, V)
        self.others &= self.options.cluster != clusters[:, None]

    @cached_property
    def wide(self) -> Fleet:
        """The fleet of each option, as many fleets as there are options."""
        return take(self.fleet, self.options.fleet)

    def each(self, *values: Floats | Ints | Bools) -> Floats:
        """Values of clusters, (F, G), or of fleets, (F, 1), at the options: one line (V,) each."""
        together = np.empty((len(values), *self.fleet.shape))
        for line, value in zip(together, values, strict=True):
            line[...] = value
        return self.spread(together)

    def spread(self, values: Floats) -> Floats:
        """Values (..., F, G) at the options, (..., V)."""
        flat = values.reshape(*values.shape[:-2], -1)
        return flat.take(self.table.whose, -1)


def renewed(before: Ground | None, fleet: Fleet, state: FleetState) -> Ground:
    """The ground of a fleet in this state.

    It is ``before`` again if that is of this very fleet and its rows do not depend on the state.
    """
    grid = before.grid if before and before.fleet is fleet else None
    if before and grid and grid.lasting:
        return before
    grid = grid or Grid(fleet)
    return Ground(fleet, grid.candidates(state), grid)


@dataclass(frozen=True)
class Scene:
    """A ground in a state."""

    ground: Ground
    state: FleetState
    at: Conditions
    """at the options, (V,) each"""
    native_s: Floats  # (V,)
    native_j: Floats  # (V,)


def scene(ground: Ground, state: FleetState) -> Scene:
    """What the state is at each option."""
    *at, native_s, native_j = ground.each(
        state.speed, state.up_bps, state.down_bps, state.rtt_s, state.temp_c,
        state.server_speed[:, None], state.native_s[:, None], state.native_j[:, None],
    )  # fmt: skip
    return Scene(ground, state, Conditions(*at), native_s, native_j)
