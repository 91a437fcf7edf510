"""What a round may cost: predicted for one course of things, or averaged over several.

Links and loads move before a round starts. A fixed design of ``POINTS`` scenarios stands for that:
in each, every cluster's link and load are somewhat better or worse than estimated, by as much as
they moved so far. Clusters take their columns of the design by rank, the slowest first, so that
their order does not matter.
"""

from dataclasses import dataclass, replace

import numpy as np

from adaptoff import cost, objective
from adaptoff.candidates import Table
from adaptoff.cost import Columns
from adaptoff.fleet import Bools, Fleet, FleetState, Floats

POINTS, RANKS = 16, 5
QUARTERS = 0.325, 1.271
"""mean distances from 0 of the inner and the outer half of a standard normal distribution"""
WIDER = 1.6
"""from a mean |logarithm| to a standard deviation (1.25), and some more for jumps"""
MOST_SD, MOST_AGE = 1.5, 10.0


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
    """Rounds as predicted, or in S scenarios: a cluster's options beside the others' rows.

    Arrays over the options are (V,) or (S, V), those over clusters (F, G) or (S, F, G).
    """

    fleet: Fleet
    state: FleetState
    table: Table
    current: Columns  # (F, G)
    columns: Columns  # (V,)
    totals_s: Floats
    """of each option"""
    active_j: Floats
    """without idling"""

    def seconds(self, others_s: Floats) -> Floats:
        """Of the whole round, where the slowest other cluster of each takes ``others_s``."""
        options = self.table.options
        return np.maximum(self.totals_s, others_s[..., options.fleet, options.cluster])

    def hurried(self) -> Floats:
        """Seconds of the round where the others take their quickest rows."""
        quickest = self.table.at_least(self.columns.total_s)
        return self.seconds(slowest_other(self.fleet, self.totals_s[..., quickest]))

    def temp_c(self, seconds: Floats) -> Floats:
        """Degrees after rounds of ``seconds``."""
        fleet = self.fleet
        watts = self.active_j / np.maximum(seconds, 1e-9) + self._each(fleet.idle_w)
        return cost.warmed(
            self._each(self.state.temp_c), self._each(fleet.ambient_c),
            self._each(fleet.heat_c_per_w), self._each(fleet.heat_tau_s), watts, seconds,
        )  # fmt: skip

    def costs(self, seconds: Floats) -> Floats:
        """Of rounds of ``seconds``."""
        fleet, state = self.fleet, self.state
        count = np.where(fleet.active, fleet.count, 0.0)
        active_j = self.current.active_j * count
        others_j = self._each(active_j.sum(1, keepdims=True) - active_j)
        idle_j = self._whole((fleet.idle_w * count).sum(1)) * seconds
        joules = self.active_j * self._each(fleet.count) + others_j + idle_j
        return objective.cost(
            seconds, joules, self.temp_c(seconds) - self._whole(fleet.heat_limit_c),
            self._whole(state.native_s), self._whole(state.native_j),
            self._whole(fleet.energy_weight),
        )  # fmt: skip

    def _each(self, values: Floats) -> Floats:
        return cost.of_cluster(values, self.table.options)

    def _whole(self, values: Floats) -> Floats:
        return cost.of_fleet(values, self.table.options)


def as_estimated(
    fleet: Fleet, state: FleetState, table: Table, current: Columns, columns: Columns
) -> Outlook:
    """Everything as estimated: arrays (V,)."""
    return Outlook(fleet, state, table, current, columns, columns.total_s, columns.active_j)


def if_others_stay(estimated: Outlook) -> Floats:
    """Predicted cost (V,) of each option if the others keep their rows."""
    others_s = slowest_other(estimated.fleet, estimated.current.total_s)
    return estimated.costs(estimated.seconds(others_s))


def too_hot(estimated: Outlook) -> Bools:
    """Which options (V,) may break the heat limit, where their cluster has some that do not."""
    maybe, options = as_it_may_be(estimated), estimated.table.options
    hottest_c = maybe.temp_c(maybe.hurried()).max(0)
    hot = hottest_c > cost.of_fleet(maybe.fleet.heat_limit_c, options)
    escape = estimated.table.least(np.where(hot, 1.0, 0.0)) == 0
    return hot & cost.of_cluster(escape, options)


def as_it_may_be(estimated: Outlook) -> Outlook:
    """``POINTS`` scenarios about the estimated one: arrays (S, V)."""
    table, columns = estimated.table, estimated.columns
    link, load = _factors(estimated.fleet, estimated.state, table.least(columns.total_s))
    whose = ..., table.options.fleet, table.options.cluster
    link, load = link[whose], load[whose]
    device_s, link_s = columns.device_s * load, columns.link_s * link
    alone_s = columns.device_s + columns.link_s + columns.server_s
    overlap = columns.total_s / np.maximum(alone_s, 1e-12)
    link_j = cost.of_cluster(estimated.fleet.radio_w, table.options) * columns.link_s
    return replace(
        estimated,
        totals_s=(device_s + link_s + columns.server_s) * overlap,
        active_j=(columns.active_j - link_j) * load + link_j * link,
    )


def _factors(fleet: Fleet, state: FleetState, seconds: Floats) -> tuple[Floats, Floats]:
    """By how much seconds on links and on devices are longer, (S, F, G); ``seconds`` rank."""
    order = np.argsort(-np.where(fleet.active, seconds, 0.0), 1, kind="stable")
    rank = np.argsort(order, 1, kind="stable") % RANKS
    age = np.maximum(state.up_age, state.down_age)
    link_sd, load_sd = _sd(state.volatility, age), _sd(state.speed_volatility, state.speed_age)
    return np.exp(link_sd * LINK[:, rank]), np.exp(load_sd * LOAD[:, rank])


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
