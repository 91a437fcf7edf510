"""What a round may cost: predicted for one course of things, or averaged over several.

Links and loads move before a round starts. A fixed design of ``POINTS`` scenarios stands for that:
in each, every cluster's link and load are somewhat better or worse than estimated, by as much as
they moved so far. Clusters take their columns of the design by rank, the slowest first, so that
their order does not matter.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adaptoff import cost, heat, objective
from adaptoff.cost import Columns
from adaptoff.fleet import Bools, Fleet, Floats, Ints
from adaptoff.ground import Ground, Scene
from adaptoff.table import Table

POINTS, RANKS = 16, 5
QUARTERS = 0.325, 1.271
"""mean distances from 0 of the inner and the outer half of a standard normal distribution"""
WIDER = 1.6
"""from a mean |logarithm| to a standard deviation (1.25), and some more for jumps"""
MOST_SD, MOST_AGE = 0.7, 10.0
MOST_HOT = 2
"""of the scenarios may a row break the heat limit in, that is one time in eight"""


def _signs() -> Floats:
    """Hadamard's matrix: 16 balanced factors, pairwise independent; column 0 is constant."""
    run, factor = np.arange(POINTS)[:, None], np.arange(POINTS)
    ones = np.array([number.bit_count() for number in range(POINTS)])
    return 1.0 - 2.0 * (ones[run & factor] % 2)


_SIGNS = _signs()
# The product of two columns is the column of their numbers' XOR. A link has a sign and a size; if
# their product were another sign, two factors would move together: all five are sizes.
_SIGN, _SIZE, _LOAD = (3, 6, 12, 7, 14), (1, 2, 4, 8, 15), (5, 9, 10, 11, 13)
LINK = _SIGNS[:, _SIGN] * np.where(_SIGNS[:, _SIZE] > 0, QUARTERS[1], QUARTERS[0])
LOAD = _SIGNS[:, _LOAD]
_DESIGN = np.stack([LINK, LINK, LOAD])
"""of seconds up, down and on devices, (3, S, RANKS)"""


@dataclass(frozen=True)
class Outlook:
    """Rounds as predicted, or in S scenarios: each option of a cluster beside the others' rows.

    Arrays over the options are (V,) or (S, V), those over clusters (F, G) or (S, F, G).
    """

    scene: Scene
    columns: Columns  # (V,)
    totals_s: Floats
    """of each option"""
    active_j: Floats
    """without idling"""

    @property
    def ground(self) -> Ground:
        """What is the same in every round."""
        return self.scene.ground

    @cached_property
    def quickest(self) -> Ints:
        """Position (F, G) of each cluster's quickest option, as estimated."""
        return self.ground.table.at_least(self.columns.total_s)

    @cached_property
    def rank(self) -> Ints:
        """Rank (F, G) of each cluster by its quickest option, 0 the slowest."""
        return ranked(self.ground.fleet, self.columns.total_s.take(self.quickest))

    def part(self, which: int | slice) -> "Outlook":
        """That or those of several scenarios."""
        return Outlook(self.scene, self.columns, self.totals_s[which], self.active_j[which])

    def beside(self, columns: Columns) -> "Outlook":
        """With ``columns`` (V,) at a shared server; its seconds are taken as estimated."""
        longer_s = columns.total_s - self.columns.total_s
        return Outlook(self.scene, columns, self.totals_s + longer_s, self.active_j)

    def seconds(self, others_s: Floats, more_s: Floats | float = 0.0) -> Floats:
        """Of the whole round, where the slowest other cluster takes ``others_s`` and ``more_s``.

        The former are per cluster, the latter per option (V,).
        """
        seconds = self.ground.spread(others_s)
        seconds += more_s
        return np.maximum(self.totals_s, seconds, out=seconds)

    def hurried(self) -> Floats:
        """Seconds of the round where the others take their quickest rows."""
        theirs_s = self.totals_s.take(self.quickest, -1)
        return self.seconds(slowest_other(self.ground.fleet, theirs_s))

    def temp_c(self, seconds: Floats) -> Floats:
        """Degrees after rounds of ``seconds``."""
        ground = self.ground
        watts = self.active_j / np.maximum(seconds, 1e-9)
        watts += ground.idle_w
        return heat.warmed(
            self.scene.at.temp_c, ground.ambient_c, ground.heat_c_per_w, ground.heat_tau_s, watts,
            seconds,
        )  # fmt: skip

    def excess_c(self, seconds: Floats) -> Floats:
        """Degrees above the heat limit after rounds of ``seconds``."""
        return self.temp_c(seconds) - self.ground.heat_limit_c

    def costs(self, seconds: Floats, excess_c: Floats, others: Columns) -> Floats:
        """Of rounds of ``seconds``, the others in rows with the columns ``others`` (F, G)."""
        ground = self.ground
        rows_j = others.active_j * ground.devices
        joules = self.active_j * ground.count
        joules += ground.spread(rows_j.sum(1, keepdims=True) - rows_j)
        joules += ground.fleet_idle_w * seconds
        return objective.cost(
            seconds, joules, excess_c,
            self.scene.native_s, self.scene.native_j, ground.energy_weight,
        )  # fmt: skip


def alone(at: Scene, columns: Columns) -> Outlook:
    """Everything as estimated, arrays (V,), where the options have the ``columns`` (V,)."""
    return Outlook(at, columns, columns.total_s, columns.active_j)


def too_hot(table: Table, excess_c: Floats) -> Bools:
    """Which options (V,) may break the heat limit, where their cluster has some that do not.

    ``excess_c`` (S, V) degrees above it; broken in ``MOST_HOT`` scenarios or fewer, it is held.
    """
    hot = (excess_c > 0).sum(0, dtype=np.int8) > MOST_HOT
    escape = table.least(np.where(hot, 1.0, 0.0)) == 0
    return hot & escape.take(table.whose)


def as_it_may_be(estimated: Outlook) -> Outlook:
    """``POINTS`` scenarios about the estimated one, which comes last: arrays (S + 1, V)."""
    columns, at, ground = estimated.columns, estimated.scene.at, estimated.ground
    up, down, load = ground.spread(_factors(estimated))
    share = at.down_bps / (at.up_bps + at.down_bps)
    piped = _overlap(columns, share, up, down, load)
    up *= columns.uplink_s + share * columns.sync_s
    down *= columns.downlink_s + (1 - share) * columns.sync_s
    link_s, radio_w = np.add(up, down, out=up), ground.facts.radio_w
    totals_s = np.empty((POINTS + 1, len(share)))
    totals_s[-1], several_s = columns.total_s, totals_s[:-1]
    np.multiply(columns.device_s, load, out=several_s)
    several_s += link_s
    several_s += columns.server_s
    if piped:
        several_s[:] = cost.overlapped(several_s, *piped)
    active_j = np.empty(totals_s.shape)
    active_j[-1] = columns.active_j
    np.multiply(columns.active_j - radio_w * columns.link_s, load, out=active_j[:-1])
    active_j[:-1] += np.multiply(radio_w, link_s, out=link_s)
    return Outlook(estimated.scene, columns, totals_s, active_j)


def _overlap(
    columns: Columns, share: Floats, up: Floats, down: Floats, load: Floats
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """What ``cost.overlapped`` asks for beside seconds one after another; None with no pipeline.

    Factors up, down and of the load (S, V); ``share`` (V,) of the weights' seconds that are up.
    """
    overlap, pass_s = columns.overlap, columns.pass_s
    if overlap is None or pass_s is None:
        return None
    sync_s = (up * share + down * (1 - share)) * columns.sync_s
    links_s = np.maximum(up * columns.uplink_s, down * columns.downlink_s)
    largest_s = np.maximum(np.maximum(pass_s * load, columns.server_s), links_s)
    return largest_s, sync_s, columns.device_s * load, overlap


def _factors(estimated: Outlook) -> Floats:
    """By how much seconds up, down and on devices are longer, (3, S, F, G)."""
    state = estimated.scene.state
    volatility = np.array([state.volatility, state.volatility, state.speed_volatility])
    age = np.array([state.up_age, state.down_age, state.speed_age])
    moved = _DESIGN.take(estimated.rank % RANKS, 2)
    moved *= _sd(volatility, age)[:, None]
    return np.exp(moved, out=moved)


def ranked(fleet: Fleet, seconds: Floats) -> Ints:
    """Rank (F, G) of each cluster by its ``seconds``, 0 the slowest; those padded come last."""
    order = np.argsort(-np.where(fleet.active, seconds, 0.0), 1, kind="stable")
    return np.argsort(order, 1, kind="stable")


def _sd(volatility: Floats, age: Floats) -> Floats:
    """Standard deviation; what was long not measured may have moved further."""
    return np.minimum(WIDER * volatility * np.sqrt(1 + np.minimum(age, MOST_AGE)), MOST_SD)


def mean(values: Floats) -> Floats:
    """Of all scenarios, (...) of (S, ...)."""
    return np.add.reduce(values) / len(values)


def slowest_other(fleet: Fleet, seconds: Floats) -> Floats:
    """The most ``seconds`` of the other active clusters, shaped alike; 0 when alone."""
    if seconds.shape[-1] == 1:
        return np.zeros(seconds.shape)
    shown = np.where(fleet.active, seconds, 0.0)
    ordered = np.sort(shown, -1)
    top = ordered[..., -1:]
    return np.where(shown == top, ordered[..., -2:-1], top)  # where two lead, they are alike
