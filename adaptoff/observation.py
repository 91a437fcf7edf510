"""observe(): the one place where state becomes network input.

Features are ratios and shares, never absolute seconds, so they carry over between fleets. The
schema number is stored in a policy's file and changes whenever a feature does.
"""

import numpy as np
import numpy.typing as npt

from adaptoff import risk
from adaptoff.fleet import Bools, Fleet, FleetState, Floats
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
    features = _features(sight)
    seen = np.array([features[name] for name in FEATURES], np.float32)
    np.fmax(seen, -LIMIT, out=seen)  # these take a number before a NaN
    np.fmin(seen, LIMIT, out=seen)
    return sight.table.spread(seen.T, 0.0)


def _features(sight: Foresight) -> dict[str, Floats | Bools]:
    """Each (V,)."""
    total = np.maximum(sight.sure.columns.total_s, 1e-9)
    best = np.where(sight.fleet.active, sight.table.least(total), 0.0)
    others_best_s = sight.scene.ground.spread(risk.slowest_other(sight.fleet, best))
    return {
        **_seconds(sight, total, others_best_s),
        **_shares(sight, total),
        **_joules_and_costs(sight, others_best_s),
        **_rows(sight),
        **_movements(sight, total),
    }


def _seconds(sight: Foresight, total: Floats, others_best_s: Floats) -> dict[str, Floats]:
    """Of an option, beside those of the fleet."""
    fleet, planned = sight.fleet, _planned(sight, total)
    round_s, others_s = sight.scene.ground.each(
        planned.max(1, keepdims=True), risk.slowest_other(fleet, planned)
    )
    return {
        "log_total_over_planned_round": np.log(total / round_s),
        "log_total_over_slowest_other": _log_ratio(total, others_s),
        "log_total_over_slowest_other_at_best": _log_ratio(total, others_best_s),
        "log_total_over_native": np.log(total / sight.scene.native_s),
        "slowed_over_round": sight.slowed_s / sight.round_s,
    }


def _planned(sight: Foresight, total: Floats) -> Floats:
    """Seconds (F, G) of the planned rows, 0 where padded."""
    return np.where(sight.fleet.active, total.take(sight.plan.at), 0.0)


def _shares(sight: Foresight, total: Floats) -> dict[str, Floats]:
    columns = sight.sure.columns
    return {
        "share_device": columns.device_s / total,
        "share_uplink": columns.uplink_s / total,
        "share_server": columns.server_s / total,
        "share_downlink": columns.downlink_s / total,
        "share_sync": columns.sync_s / total,
    }


def _joules_and_costs(sight: Foresight, others_best_s: Floats) -> dict[str, Floats]:
    fleet, ground, sure = sight.fleet, sight.scene.ground, sight.sure
    native_j = sight.state.native_j / np.maximum((fleet.count * fleet.active).sum(1), 1)
    native_each_j, spare_c = ground.each(
        native_j[:, None], np.maximum(fleet.heat_limit_c[:, None] - fleet.trip_c, 0.0)
    )
    own_j = sure.columns.active_j + ground.idle_w * sight.round_s
    hurried_s = np.maximum(sure.totals_s, others_best_s)
    excess_c = sure.excess_c(hurried_s)
    hurried = sure.costs(hurried_s, excess_c, sight.planned)
    now, hurried, expected = _over_best(sight, [sight.costs, hurried, sight.mean_costs])
    return {
        "log_energy_over_native": np.log(np.maximum(own_j, 1e-9) / native_each_j),
        "heat_margin": -(excess_c + spare_c) / 20.0,
        "cost_over_best": now,
        "cost_over_best_if_others_hurry": hurried,
        "expected_cost_over_best": expected,
        "energy_weight": ground.energy_weight,
    }


def _rows(sight: Foresight) -> dict[str, Floats | Bools]:
    """What a row is, whatever it costs."""
    ground, options = sight.scene.ground, sight.table.options
    way, opp, planned, active, occupancy = ground.each(
        sight.state.way, sight.state.opp, sight.plan.at, sight.fleet.active,
        np.minimum(sight.plan.others, 4.0) / 2,
    )  # fmt: skip
    return {
        "relative_speed": ground.facts.relative_speed,
        "is_current": (options.way == way) & (options.opp == opp),
        "is_planned": sight.table.every == planned,
        "server_occupancy": occupancy,
        "valid": active,
    }


def _movements(sight: Foresight, total: Floats) -> dict[str, Floats]:
    """How conditions moved so far, and how far seconds may be off by that, as logarithms."""
    state, ground, columns = sight.state, sight.scene.ground, sight.sure.columns
    volatility, speed_volatility, age, *slower = ground.each(
        state.volatility, state.speed_volatility,
        np.log1p(np.maximum(state.up_age, state.down_age)), *_slower(state),
    )  # fmt: skip
    link, device = columns.link_s / total * volatility, columns.device_s / total * speed_volatility
    uncertainty = np.sqrt(link**2 + device**2)
    as_usual = _as_usual(sight, total, *slower)
    theirs = np.array([values.take(sight.plan.at) for values in (uncertainty, as_usual)])
    their_uncertainty, their_usual = ground.spread(
        _of_slowest_other(sight.fleet, _planned(sight, total), theirs)
    )
    return {
        "volatility": volatility,
        "link_age": age,
        "uncertainty": uncertainty,
        "uncertainty_of_slowest_other": their_uncertainty,
        "log_total_as_usual_over_total": as_usual,
        "log_slowest_other_as_usual": their_usual,
    }


def _slower(state: FleetState) -> tuple[Floats, Floats, Floats, Floats]:
    """By how much seconds on a device, up, down and at the server are longer as usual."""
    return (
        state.speed / state.usual_speed - 1,
        state.up_bps / state.usual_up_bps - 1,
        state.down_bps / state.usual_down_bps - 1,
        (state.server_speed / state.usual_server_speed - 1)[:, None],
    )


def _as_usual(
    sight: Foresight, total: Floats, speed: Floats, up: Floats, down: Floats, server: Floats
) -> Floats:  # fmt: skip
    """log(seconds under the usual conditions / seconds under the latest)."""
    columns = sight.sure.columns
    half_sync_s = columns.sync_s / 2
    more_s = (
        columns.device_s * speed
        + (columns.uplink_s + half_sync_s) * up
        + (columns.downlink_s + half_sync_s) * down
        + columns.server_s * server
    )
    return np.log(np.maximum(1 + more_s / total, 1e-2))


def _of_slowest_other(fleet: Fleet, seconds: Floats, values: Floats) -> Floats:
    """Values (n, F, G) of the slowest other cluster by ``seconds`` (F, G); 0 for a lone one."""
    n_fleets, n_clusters = fleet.shape
    if n_clusters == 1:
        return np.zeros(values.shape)
    order = np.argsort(-seconds, 1, kind="stable")
    who = np.where(order[:, :1] == np.arange(n_clusters), order[:, 1:2], order[:, :1])
    who = who + n_clusters * np.arange(n_fleets)[:, None]
    alone = fleet.active.sum(1, keepdims=True) < 2
    return np.where(alone, 0.0, values.reshape(len(values), -1).take(who, 1))


def _log_ratio(total: Floats, others: Floats) -> Floats:
    """log(total / others), 0 where there are no others."""
    return np.where(others > 0, np.log(total / np.maximum(others, 1e-9)), 0.0)


def _over_best(sight: Foresight, costs: list[Floats]) -> Floats:
    """log(cost / lowest cost among the cluster's options), 0 at the best; several (V,)."""
    all_costs = np.maximum(np.array(costs), 1e-9)
    best = sight.scene.ground.spread(sight.table.least(all_costs))
    return np.log(all_costs / best)
