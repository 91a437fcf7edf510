"""Fleet figures <-> arrays: what is broadcast after a round, and what every device reads in it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from adaptoff import fleet as fleets
from adaptoff.estimate import update
from adaptoff.fleet import Fleet, FleetState, Outcome
from adaptoff.messages import FleetFigures, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario


@dataclass(frozen=True)
class View:
    """One fleet (F = 1) as the figures tell it: clusters in figure order."""

    fleet: Fleet
    state: FleetState


def view(scenario: Scenario, profile: Profile, figures: FleetFigures) -> View:
    """Static facts and updated estimates; the same figures give the same view everywhere.

    Raises KeyError, IndexError or ValueError where the figures do not fit each other or the task.
    """
    fleet, prior = clusters_of(scenario, profile, figures), state_of(figures.prior)
    if prior.speed.shape != fleet.shape:
        raise ValueError(f"prior of {prior.speed.shape[1]} clusters, not {fleet.shape[1]}")
    outcome = outcome_of(figures.telemetry, figures.round_s, figures.server_speed)
    return View(fleet, update(fleet, prior, outcome))


def clusters_of(scenario: Scenario, profile: Profile, figures: FleetFigures) -> Fleet:
    """One entry per cluster: its slowest member's board, as many times as it has members."""
    counts = [figures.clusters.count(i) for i in range(len(figures.telemetry))]
    return fleet_of(scenario, profile, figures.telemetry, counts)


def fleet_of(
    scenario: Scenario, profile: Profile, seen: Sequence[Telemetry], counts: Sequence[int]
) -> Fleet:
    """The fleet (F = 1) of the boards that sent this telemetry."""
    boards = [scenario.board_of(t.device) for t in seen]
    return fleets.build(profile, scenario, boards, counts)


def prior_of(state: FleetState) -> dict[str, list[float]]:
    """Estimates of one fleet by name, one value per cluster or a single one."""
    return {f.name: np.ravel(getattr(state, f.name)).tolist() for f in fields(state)}


def state_of(prior: dict[str, list[float]]) -> FleetState:
    """The inverse of ``prior_of``; raises KeyError or ValueError where one is missing or odd."""
    values: dict[str, Any] = {f.name: _estimate(prior, f.name) for f in fields(FleetState)}
    return FleetState(**values)


def _estimate(prior: dict[str, list[float]], name: str) -> Any:  # noqa: ANN401
    array = np.array(prior[name], np.int64 if name in _WHOLE else np.float64)
    if len(array) != (1 if name in _SINGLE else len(prior["speed"])):
        raise ValueError(f"prior {name}: {len(array)} values")
    if (name in _POSITIVE and (array <= 0).any()) or (name in _WHOLE and (array < 0).any()):
        raise ValueError(f"prior {name}: must be positive")
    return array if name in _SINGLE else array[None]


_WHOLE = {"cut", "opp"}
_SINGLE = {"server_speed", "usual_server_speed", "native_s", "native_j"}
_POSITIVE = {
    "speed", "up_bps", "down_bps", "usual_speed", "usual_up_bps", "usual_down_bps", *_SINGLE,
}  # fmt: skip


def outcome_of(seen: Sequence[Telemetry], round_s: float, server_speed: float) -> Outcome:
    """The round (F = 1) of these devices; ``energy_j`` is of one device each."""
    names = [f.name for f in fields(Outcome) if f.name in Telemetry.__struct_fields__]
    arrays: dict[str, Any] = {name: _array(seen, name) for name in names}
    return Outcome(
        **arrays,
        late=np.zeros((1, len(seen)), np.int64),
        round_s=np.array([round_s]),
        server_speed=np.array([server_speed]),
    )


def _array(seen: Sequence[Telemetry], name: str) -> Any:  # noqa: ANN401
    values = [getattr(t, name) for t in seen]
    kind = np.int64 if name in {"cut", "opp"} else np.float64
    return np.array([[np.nan if v is None else v for v in values]], kind)


def side_by_side(one: FleetState, more: FleetState) -> FleetState:
    """The clusters of both; what is of the whole fleet is of ``one``."""
    pairs = {f.name: (getattr(one, f.name), getattr(more, f.name)) for f in fields(one)}
    return replace(
        one, **{name: np.concatenate(pair, 1) for name, pair in pairs.items() if pair[0].ndim == 2}
    )


def regroup(prior: FleetState, source: list[int]) -> FleetState:
    """Estimates of new clusters (F = 1), each taken over from the old cluster in ``source``."""
    grouped = {
        f.name: getattr(prior, f.name)[:, source]
        for f in fields(prior)
        if getattr(prior, f.name).ndim == 2
    }
    return replace(prior, **grouped)
