"""observe(): the one place where state becomes network input.

Features are ratios and shares, never absolute seconds, so they carry over between fleets. The
schema number is stored in a policy's file and changes whenever a feature does.
"""

import numpy as np
import numpy.typing as npt

from adaptoff import lookup, risk
from adaptoff.candidates import Table
from adaptoff.cost import Columns
from adaptoff.fleet import Fleet, FleetState, Floats, Ints, Options
from adaptoff.foresight import Foresight

SCHEMA = 3
LIMIT = 5.0

FEATURES = (
    "log_total_over_planned_round",
    "log_total_over_slowest_other",
    "log_total_over_slowest_other_at_best",
    "log_total_over_native",
    "share_device",
    "share_uplink",
    "share_server",
    "share_downlink",
    "share_sync",
    "log_energy_over_native",
    "relative_speed",
    "heat_margin",
    "is_current",
    "is_planned",
    "volatility",
    "link_age",
    "server_occupancy",
    "uncertainty",
    "uncertainty_of_slowest_other",
    "log_total_as_usual_over_total",
    "log_slowest_other_as_usual",
    "energy_weight",
    "slowed_over_round",
    "cost_over_best",
    "cost_over_best_if_others_hurry",
    "expected_cost_over_best",
    "valid",
)  # fmt: skip

Observation = npt.NDArray[np.float32]


def observe(sight: Foresight) -> Observation:
    """Features (F, G, R, len(FEATURES)), finite and within +-LIMIT; 0 in impossible rows."""
    seen = np.empty((len(sight.slowed_s), len(FEATURES)), np.float32)
    for i, feature in enumerate(_features(sight)):
        seen[:, i] = np.fmin(np.fmax(feature, -LIMIT), LIMIT)  # these take a number before a NaN
    return sight.table.spread(seen, 0.0)


def _features(sight: Foresight) -> list[Floats]:
    """Each (V,)."""
    fleet, state, table, sure = sight.fleet, sight.state, sight.table, sight.sure
    columns, options = sure.columns, table.options

    def each(values: Floats | Ints) -> Floats:
        return lookup.of_cluster(values, options)

    def whole(values: Floats) -> Floats:
        return lookup.of_fleet(values, options)

    total = np.maximum(columns.total_s, 1e-9)
    planned = np.where(fleet.active, total[sight.plan.at], 0.0)
    others = risk.slowest_other(fleet, planned)
    at_best = table.at_least(total)
    others_best = risk.slowest_other(fleet, total[at_best])
    round_s, hurried_s = sight.round_s, sure.seconds(others_best)
    uncertainty = _uncertainty(state, options, columns)
    as_usual = _as_usual(state, options, columns)
    slowest = _Slowest(fleet, planned)
    native_j = state.native_j / np.maximum((fleet.count * fleet.active).sum(1), 1)
    own_j = columns.active_j + each(fleet.idle_w) * round_s
    excess_c = sure.excess_c(hurried_s)
    spare_c = each(np.maximum(fleet.heat_limit_c[:, None] - fleet.trip_c, 0.0))
    return [
        np.log(total / whole(planned.max(1))),
        _log_ratio(total, each(others)),
        _log_ratio(total, each(others_best)),
        np.log(total / whole(state.native_s)),
        columns.device_s / total,
        columns.uplink_s / total,
        columns.server_s / total,
        columns.downlink_s / total,
        columns.sync_s / total,
        np.log(np.maximum(own_j, 1e-9) / whole(native_j)),
        lookup.of_opp(fleet.relative_speed, options),
        -(excess_c + spare_c) / 20.0,
        ((options.cut == each(state.cut)) & (options.opp == each(state.opp))).astype(float),
        (np.arange(len(total)) == each(sight.plan.at)).astype(float),
        each(state.volatility),
        each(np.log1p(np.maximum(state.up_age, state.down_age))),
        each(np.minimum(sight.plan.met.sum(1), 4.0)) / 2,
        uncertainty,
        each(slowest.of(uncertainty[sight.plan.at])),
        as_usual,
        each(slowest.of(as_usual[sight.plan.at])),
        whole(fleet.energy_weight),
        sight.slowed_s / round_s,
        _over_best(sight.costs, table),
        _over_best(sure.costs(hurried_s, excess_c, sight.planned), table),
        _over_best(sight.mean_costs, table),
        each(np.where(fleet.active, 1.0, 0.0)),
    ]


class _Slowest:
    """Who, of the others, is the slowest."""

    def __init__(self, fleet: Fleet, seconds: Floats) -> None:
        order = np.argsort(-np.where(fleet.active, seconds, 0.0), 1, kind="stable")
        order = np.concatenate([order, order], 1)[:, :2]  # a lone cluster has no second
        mine = np.arange(seconds.shape[1])
        self._who = np.where(order[:, :1] == mine, order[:, 1:], order[:, :1])
        self._alone = fleet.active.sum(1, keepdims=True) < 2

    def of(self, values: Floats) -> Floats:
        """Its value of (F, G), for each cluster; 0 for one that is alone."""
        return np.where(self._alone, 0.0, np.take_along_axis(values, self._who, 1))


def _uncertainty(state: FleetState, options: Options, columns: Columns) -> Floats:
    """How far a row's seconds may be off, as a logarithm, from how conditions moved so far."""
    total = np.maximum(columns.total_s, 1e-9)
    link = columns.link_s / total * lookup.of_cluster(state.volatility, options)
    device = columns.device_s / total * lookup.of_cluster(state.speed_volatility, options)
    return np.sqrt(link**2 + device**2)


def _as_usual(state: FleetState, options: Options, columns: Columns) -> Floats:
    """log(seconds under the usual conditions / seconds under the latest)."""

    def slower(now: Floats, usual: Floats) -> Floats:
        return lookup.of_cluster(now / usual - 1, options)

    more_s = (
        columns.device_s * slower(state.speed, state.usual_speed)
        + (columns.uplink_s + columns.sync_s / 2) * slower(state.up_bps, state.usual_up_bps)
        + (columns.downlink_s + columns.sync_s / 2) * slower(state.down_bps, state.usual_down_bps)
        + columns.server_s
        * lookup.of_fleet(state.server_speed / state.usual_server_speed - 1, options)
    )
    return np.log(np.maximum(1 + more_s / np.maximum(columns.total_s, 1e-9), 1e-2))


def _log_ratio(total: Floats, others: Floats) -> Floats:
    """log(total / others), 0 where there are no others."""
    return np.where(others > 0, np.log(total / np.maximum(others, 1e-9)), 0.0)


def _over_best(costs: Floats, table: Table) -> Floats:
    """log(cost / lowest cost among the cluster's options), 0 at the best."""
    best = lookup.of_cluster(table.least(costs), table.options)
    return np.log(np.maximum(costs, 1e-9) / np.maximum(best, 1e-9))
