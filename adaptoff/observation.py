"""observe(): the one place where state becomes network input.

Features are ratios and shares, never absolute seconds, so they carry over between fleets. The
schema number is stored in a policy's file and changes whenever a feature does.
"""

import numpy as np
import numpy.typing as npt

from adaptoff import cost, objective
from adaptoff.candidates import Table
from adaptoff.cost import Columns
from adaptoff.fleet import Fleet, FleetState, Floats

SCHEMA = 1
LIMIT = 5.0

FEATURES = (
    "log_total_over_best_round",
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
    "volatility",
    "link_age",
    "server_occupancy",
    "energy_weight",
    "cost_over_best_if_others_stay",
    "cost_over_best_if_others_adapt",
    "valid",
)  # fmt: skip

Observation = npt.NDArray[np.float32]


def observe(fleet: Fleet, state: FleetState, table: Table) -> Observation:
    """Features (F, G, R, len(FEATURES)), finite and within +-LIMIT; 0 in impossible rows."""
    current = cost.joint(fleet, state, state.rows)
    columns = cost.alternatives(fleet, state, table.rows, current)
    features = np.stack(_features(fleet, state, table, current, columns), -1)
    features = np.where(table.valid[..., None], np.nan_to_num(features), 0.0)
    return np.clip(features, -LIMIT, LIMIT).astype(np.float32)


def row_costs(fleet: Fleet, state: FleetState, current: Columns, columns: Columns) -> Floats:
    """Predicted cost (F, G, R) of the round for each row if the others keep theirs."""
    return _costs(fleet, state, current, columns, _slowest_other(fleet, current.total_s))


def _features(
    fleet: Fleet, state: FleetState, table: Table, current: Columns, columns: Columns
) -> list[Floats]:
    total = np.maximum(columns.total_s, 1e-9)
    best = np.where(table.valid, total, np.inf).min(2)
    others_now = _slowest_other(fleet, current.total_s)
    others_best = _slowest_other(fleet, best)
    best_round = np.where(fleet.active, best, 0.0).max(1)
    stay = _costs(fleet, state, current, columns, others_now)
    adapt = _costs(fleet, state, current, columns, others_best)
    native_j = (state.native_j / np.maximum((fleet.count * fleet.active).sum(1), 1))[:, None, None]
    ones = np.ones_like(total)
    own_j = columns.active_j + fleet.idle_w[..., None] * np.maximum(total, others_best[..., None])
    return [
        np.log(total / best_round[:, None, None]),
        _log_ratio(total, others_now),
        _log_ratio(total, others_best),
        np.log(total / state.native_s[:, None, None]),
        columns.device_s / total,
        columns.uplink_s / total,
        columns.server_s / total,
        columns.downlink_s / total,
        columns.sync_s / total,
        np.log(np.maximum(own_j, 1e-9) / native_j),
        cost.pick_opp(fleet.relative_speed, table.rows.opp),
        _heat_margin(fleet, state, columns, others_best),
        ones * (table.rows.cut == state.cut[..., None]) * (table.rows.opp == state.opp[..., None]),
        ones * state.volatility[..., None],
        ones * np.log1p(np.maximum(state.up_age, state.down_age))[..., None],
        ones * np.minimum(_others_busy(fleet, current), 4.0)[..., None] / 2,
        ones * fleet.energy_weight[:, None, None],
        _over_best(stay, table),
        _over_best(adapt, table),
        ones,
    ]


def _slowest_other(fleet: Fleet, seconds: Floats) -> Floats:
    """(F, G): the slowest of the other active clusters, 0 when alone."""
    shown = np.where(fleet.active, seconds, 0.0)
    top = shown.max(1, keepdims=True)
    lead = shown.argmax(1)[:, None] == np.arange(shown.shape[1])
    second = np.where(lead, 0.0, shown).max(1, keepdims=True)
    return np.where(lead, second, top)


def _log_ratio(total: Floats, others: Floats) -> Floats:
    """log(total / others), 0 where there are no others."""
    known = np.maximum(others, 1e-9)[..., None]
    return np.where(others[..., None] > 0, np.log(total / known), 0.0)


def _costs(
    fleet: Fleet, state: FleetState, current: Columns, columns: Columns, others_s: Floats
) -> Floats:
    seconds = np.maximum(columns.total_s, others_s[..., None])
    active_j = np.where(fleet.active, current.active_j * fleet.count, 0.0)
    idle_w = np.where(fleet.active, fleet.idle_w * fleet.count, 0.0).sum(1)[:, None, None]
    others_j = (active_j.sum(1, keepdims=True) - active_j)[..., None]
    joules = columns.active_j * fleet.count[..., None] + others_j + idle_w * seconds
    excess_c = _temp(fleet, state, columns, seconds) - fleet.heat_limit_c[:, None, None]
    return objective.cost(
        seconds, joules, excess_c, state.native_s[:, None, None],
        state.native_j[:, None, None], fleet.energy_weight[:, None, None],
    )  # fmt: skip


def _temp(fleet: Fleet, state: FleetState, columns: Columns, seconds: Floats) -> Floats:
    device_j = columns.active_j + fleet.idle_w[..., None] * seconds
    return cost.heat(fleet, state.temp_c[..., None], device_j, seconds)


def _heat_margin(fleet: Fleet, state: FleetState, columns: Columns, others: Floats) -> Floats:
    seconds = np.maximum(columns.total_s, others[..., None])
    limit = np.minimum(fleet.heat_limit_c[:, None], fleet.trip_c)[..., None]
    return (limit - _temp(fleet, state, columns, seconds)) / 20.0


def _others_busy(fleet: Fleet, current: Columns) -> Floats:
    busy = np.where(fleet.active, fleet.count, 0.0) * cost.occupancy(current)
    return busy.sum(1, keepdims=True) - busy


def _over_best(costs: Floats, table: Table) -> Floats:
    """log(cost / lowest cost of a valid row), 0 at the best."""
    best = np.where(table.valid, costs, np.inf).min(2, keepdims=True)
    return np.log(np.maximum(costs, 1e-9) / np.maximum(best, 1e-9))
