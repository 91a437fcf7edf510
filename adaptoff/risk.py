"""What a round may cost: predicted for one course of things, or averaged over several.

Links and loads move before a round starts. A fixed design of ``POINTS`` scenarios stands for that:
in each, every cluster's link and load are somewhat better or worse than estimated, by as much as
they moved so far. Clusters take their columns of the design by rank, the slowest first, so that
their order does not matter.
"""

from dataclasses import dataclass, replace

import numpy as np

from adaptoff import cost, heat, lookup, objective
from adaptoff.candidates import Table
from adaptoff.cost import Columns
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Ints

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


@dataclass(frozen=True)
class Outlook:
    """Rounds as predicted, or in S scenarios: each option of a cluster beside the others' rows.

    Arrays over the options are (V,) or (S, V), those over clusters (F, G) or (S, F, G).
    """

    fleet: Fleet
    state: FleetState
    table: Table
    columns: Columns  # (V,)
    totals_s: Floats
    """of each option"""
    active_j: Floats
    """without idling"""

    def beside(self, columns: Columns) -> "Outlook":
        """With ``columns`` (V,) at a shared server; its seconds are taken as estimated."""
        longer_s = columns.total_s - self.columns.total_s
        return replace(self, columns=columns, totals_s=self.totals_s + longer_s)

    def seconds(self, others_s: Floats, more_s: Floats | float = 0.0) -> Floats:
        """Of the whole round, where the slowest other cluster takes ``others_s`` and ``more_s``.

        The former are per cluster, the latter per option (V,).
        """
        options = self.table.options
        return np.maximum(self.totals_s, others_s[..., options.fleet, options.cluster] + more_s)

    def hurried(self) -> Floats:
        """Seconds of the round where the others take their quickest rows."""
        quickest = self.table.at_least(self.columns.total_s)
        return self.seconds(slowest_other(self.fleet, self.totals_s[..., quickest]))

    def temp_c(self, seconds: Floats) -> Floats:
        """Degrees after rounds of ``seconds``."""
        fleet = self.fleet
        watts = self.active_j / np.maximum(seconds, 1e-9) + self._each(fleet.idle_w)
        return heat.warmed(
            self._each(self.state.temp_c), self._each(fleet.ambient_c),
            self._each(fleet.heat_c_per_w), self._each(fleet.heat_tau_s), watts, seconds,
        )  # fmt: skip

    def excess_c(self, seconds: Floats) -> Floats:
        """Degrees above the heat limit after rounds of ``seconds``."""
        return self.temp_c(seconds) - self._whole(self.fleet.heat_limit_c)

    def costs(self, seconds: Floats, excess_c: Floats, others: Columns) -> Floats:
        """Of rounds of ``seconds``, the others in rows with the columns ``others`` (F, G)."""
        fleet, state = self.fleet, self.state
        count = np.where(fleet.active, fleet.count, 0.0)
        rows_j = others.active_j * count
        others_j = self._each(rows_j.sum(1, keepdims=True) - rows_j)
        idle_j = self._whole((fleet.idle_w * count).sum(1)) * seconds
        joules = self.active_j * self._each(fleet.count) + others_j + idle_j
        return objective.cost(
            seconds, joules, excess_c,
            self._whole(state.native_s), self._whole(state.native_j),
            self._whole(fleet.energy_weight),
        )  # fmt: skip

    def _each(self, values: Floats) -> Floats:
        return lookup.of_cluster(values, self.table.options)

    def _whole(self, values: Floats) -> Floats:
        return lookup.of_fleet(values, self.table.options)


def as_estimated(fleet: Fleet, state: FleetState, table: Table, columns: Columns) -> Outlook:
    """Everything as estimated: arrays (V,)."""
    return Outlook(fleet, state, table, columns, columns.total_s, columns.active_j)


def too_hot(table: Table, excess_c: Floats) -> Bools:
    """Which options (V,) may break the heat limit, where their cluster has some that do not.

    ``excess_c`` (S, V) degrees above it; broken in ``MOST_HOT`` scenarios or fewer, it is held.
    """
    hot = (excess_c > 0).sum(0) > MOST_HOT
    escape = table.least(np.where(hot, 1.0, 0.0)) == 0
    return hot & lookup.of_cluster(escape, table.options)


def as_it_may_be(estimated: Outlook) -> Outlook:
    """``POINTS`` scenarios about the estimated one: arrays (S, V)."""
    table, columns, state = estimated.table, estimated.columns, estimated.state
    seconds = table.least(columns.total_s)
    factors = _factors(estimated.fleet, state, seconds)
    up, down, load = (factor[..., table.options.fleet, table.options.cluster] for factor in factors)
    share = lookup.of_cluster(state.down_bps / (state.up_bps + state.down_bps), table.options)
    up_s = columns.uplink_s + share * columns.sync_s
    down_s = columns.downlink_s + (1 - share) * columns.sync_s
    link_s = up_s * up + down_s * down
    radio_w = lookup.of_cluster(estimated.fleet.radio_w, table.options)
    overlap = columns.total_s / np.maximum(columns.in_turn_s, cost.NOTHING_S)
    return replace(
        estimated,
        totals_s=(columns.device_s * load + link_s + columns.server_s) * overlap,
        active_j=(columns.active_j - radio_w * columns.link_s) * load + radio_w * link_s,
    )


def _factors(fleet: Fleet, state: FleetState, seconds: Floats) -> tuple[Floats, Floats, Floats]:
    """By how much seconds up, down and on devices are longer, (S, F, G); ``seconds`` rank."""
    rank = ranked(fleet, seconds) % RANKS
    link, load = LINK[:, rank], LOAD[:, rank]
    return (
        np.exp(_sd(state.volatility, state.up_age) * link),
        np.exp(_sd(state.volatility, state.down_age) * link),
        np.exp(_sd(state.speed_volatility, state.speed_age) * load),
    )


def ranked(fleet: Fleet, seconds: Floats) -> Ints:
    """Rank (F, G) of each cluster by its ``seconds``, 0 the slowest; those padded come last."""
    order = np.argsort(-np.where(fleet.active, seconds, 0.0), 1, kind="stable")
    return np.argsort(order, 1, kind="stable")


def _sd(volatility: Floats, age: Floats) -> Floats:
    """Standard deviation; what was long not measured may have moved further."""
    return np.minimum(WIDER * volatility * np.sqrt(1 + np.minimum(age, MOST_AGE)), MOST_SD)


def slowest_other(fleet: Fleet, seconds: Floats) -> Floats:
    """The most ``seconds`` of the other active clusters, shaped alike; 0 when alone."""
    shown = np.where(fleet.active, seconds, 0.0)
    top = shown.max(-1, keepdims=True)
    lead = shown.argmax(-1)[..., None] == np.arange(shown.shape[-1])
    second = np.where(lead, 0.0, shown).max(-1, keepdims=True)
    return np.where(lead, second, top)
