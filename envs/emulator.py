"""EmulatedFleet: many fleets stepped at once, on the truth that estimates only guess at.

A source draws fleets and the course of their conditions at reset. A round is the cost model under
the true conditions; what a backend reports of it carries measurement noise, and a rate is only
measured where enough bytes travelled, as weights, activations, or a probe in the warm-up round.
Round times, joules and degrees are reported as they are.
"""

from dataclasses import replace
from typing import Protocol

import numpy as np

from adaptoff import cost, heat, lookup
from adaptoff.cost import Columns
from adaptoff.envs.links import Course
from adaptoff.errors import InputError
from adaptoff.fleet import Bools, Conditions, Fleet, Floats, Ints, Outcome, Rows

NOISE = 0.05
"""standard deviation of the logarithm of what is measured"""
MEASURABLE_BYTES = 65536.0
"""dispersion needs several chunks"""


class Source(Protocol):
    """Where fleets and their conditions come from."""

    def draw(self, seed: int) -> tuple[Fleet, Course]:
        """Fleets and the course of their conditions; the same seed gives the same."""


class EmulatedFleet:
    """A FleetBackend over F emulated fleets."""

    def __init__(self, source: Source, noise: float = NOISE) -> None:
        """``noise`` is that of sources which draw none of their own."""
        self.source, self.noise = source, noise
        self._start(0)

    @property
    def fleet(self) -> Fleet:
        """The static facts, drawn anew at each reset where the source is random."""
        return self._fleet

    def reset(self, seed: int) -> Outcome:
        """Draw fleets and conditions, run one native warm-up round and return it."""
        self._start(seed)
        return self.apply(self._fleet.native())

    def truth(self) -> Conditions:
        """The true conditions of the coming round, which only an oracle knows."""
        return self._course.at(self._round, self._temp_c)

    def apply(self, rows: Rows) -> Outcome:
        """Run one round with these levers (F, G); raises InputError for rows that do not exist."""
        _check(self._fleet, rows)
        at = self.truth()
        applied = Rows(rows.way, heat.throttled(rows.opp, at.temp_c, self._fleet.trip_c))
        columns = cost.joint(self._fleet, at, applied)
        seconds = cost.round_s(self._fleet, columns)
        self._temp_c = _heated(self._fleet, at.temp_c, columns, seconds)
        seen = self._report(at, applied, columns, seconds)
        self._round += 1
        return seen

    def close(self) -> None:
        """Nothing to release."""

    def _start(self, seed: int) -> None:
        self._fleet, self._course = self.source.draw(seed)
        # A stream of its own: what is measured must not shift what is drawn.
        self._rng = np.random.default_rng([seed, 1])
        self._round = 0
        self._temp_c = self._fleet.ambient_c + self._fleet.heat_c_per_w * self._fleet.idle_w

    def _report(self, at: Conditions, rows: Rows, columns: Columns, seconds: Floats) -> Outcome:
        noisy, (up, down) = self._noisy, travelled(self._fleet, rows)
        probed = self._round == 0
        parts = {
            name: noisy(getattr(columns, name))
            for name in ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s")
        }
        measured = replace(columns, **parts)
        return Outcome(
            way=rows.way,
            opp=rows.opp,
            opp_left=rows.opp,
            **parts,
            total_s=measured.total_s,
            energy_j=cost.energy_j(self._fleet, columns, seconds),
            temp_c=self._temp_c,
            up_bps=np.where(probed | (up >= MEASURABLE_BYTES), noisy(at.up_bps), np.nan),
            down_bps=np.where(probed | (down >= MEASURABLE_BYTES), noisy(at.down_bps), np.nan),
            rtt_s=noisy(at.rtt_s),
            late=np.zeros(rows.way.shape, np.int64),
            round_s=seconds,
            server_speed=noisy(at.server_speed),
        )

    def _noisy(self, values: Floats) -> Floats:
        """Values (F,) or (F, G) as measured."""
        noise = self._course.noise
        sd = np.array(self.noise) if noise is None else noise.reshape(-1, *[1] * (values.ndim - 1))
        return values * np.exp(sd * self._rng.standard_normal(values.shape))


def travelled(fleet: Fleet, rows: Rows) -> tuple[Floats, Floats]:
    """Bytes up and down (F, G) of one device in a round."""
    sync = lookup.pick_way(fleet.sync_bytes, rows.way)
    up = fleet.batches * lookup.pick_way(fleet.up_bytes, rows.way)
    down = fleet.batches * lookup.pick_way(fleet.down_bytes, rows.way)
    return up + sync, down + sync


def _heated(fleet: Fleet, temp_c: Floats, columns: Columns, seconds: Floats) -> Floats:
    each_s = np.broadcast_to(seconds[:, None], temp_c.shape)
    return heat.after(fleet, temp_c, columns.active_j + fleet.idle_w * each_s, each_s)


def _check(fleet: Fleet, rows: Rows) -> None:
    for name, values, n in (
        ("way", rows.way, fleet.n_ways[:, None]),
        ("opp", rows.opp, fleet.n_opps),
    ):
        if values.shape != fleet.shape or not _within(values, n).all():
            raise InputError(f"rows.{name}: needs shape {fleet.shape}, values that the fleet has")


def _within(values: Ints, n: Ints) -> Bools:
    return (values >= 0) & (values < n)
