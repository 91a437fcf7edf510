"""Fleet figures <-> arrays: what is broadcast after a round, and what every device reads in it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

import numpy as np

from adaptoff import fleet as fleets
from adaptoff.estimate import update
from adaptoff.fleet import Fleet, FleetState, Outcome
from adaptoff.ground import Ground, renewed
from adaptoff.messages import FleetFigures, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.ways import Ways


@dataclass(frozen=True)
class View:
    """One fleet (F = 1) as the figures tell it: clusters in figure order."""

    fleet: Fleet
    state: FleetState
    ground: Ground | None = None
    """that of the fleet, if it is the same in every state"""


class Reader:
    """Reads figures round after round; what only depends on the clusters is worked out once."""

    def __init__(self, scenario: Scenario, profile: Profile) -> None:
        self._scenario, self._profile = scenario, profile
        self.ways = Ways(profile, scenario.workload)
        self._clusters: tuple[list[int], list[int]] | None = None
        self._fleet: Fleet
        self._ground: Ground | None = None

    def view(self, figures: FleetFigures) -> View:
        """As ``view``."""
        clusters = figures.clusters, [t.device for t in figures.telemetry]
        if clusters != self._clusters:
            self._fleet = clusters_of(self._scenario, self._profile, figures)
            self._clusters = clusters
        state = _updated(self._fleet, self.ways, figures)
        self._ground = renewed(self._ground, self._fleet, state)
        return View(self._fleet, state, self._ground)


def view(scenario: Scenario, profile: Profile, figures: FleetFigures) -> View:
    """Static facts and updated estimates; the same figures give the same view everywhere.

    Raises KeyError, IndexError or ValueError where the figures do not fit each other or the task.
    """
    fleet = clusters_of(scenario, profile, figures)
    return View(fleet, _updated(fleet, Ways(profile, scenario.workload), figures))


def _updated(fleet: Fleet, ways: Ways, figures: FleetFigures) -> FleetState:
    prior = state_of(figures.prior)
    if prior.speed.shape != fleet.shape:
        raise ValueError(f"prior of {prior.speed.shape[1]} clusters, not {fleet.shape[1]}")
    outcome = outcome_of(ways, figures.telemetry, figures.round_s, figures.server_speed)
    return update(fleet, prior, outcome)


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
    for name, least in _LEAST.items():
        _check(name, prior[name], 1 if name in _SINGLE else len(prior["speed"]), least)
    values = dict(zip(_PLURAL, np.array([[prior[name]] for name in _PLURAL], float), strict=True))
    values |= {name: np.array(prior[name], float) for name in _SINGLE}
    rows: dict[str, Any] = {name: np.array([prior[name]], np.int64) for name in _WHOLE}
    return FleetState(**values, **rows)


def _check(name: str, values: list[float], n_values: int, least: float) -> None:
    if len(values) != n_values:
        raise ValueError(f"prior {name}: {len(values)} values")
    if n_values and not min(values) >= least:
        raise ValueError(f"prior {name}: must be positive")


_WHOLE = {"way", "opp"}
_SINGLE = {"server_speed", "usual_server_speed", "native_s", "native_j"}
_POSITIVE = {
    "speed", "up_bps", "down_bps", "usual_speed", "usual_up_bps", "usual_down_bps", *_SINGLE,
}  # fmt: skip
_PLURAL = [f.name for f in fields(FleetState) if f.name not in _SINGLE | _WHOLE]
_LEAST = {
    f.name: sys.float_info.min if f.name in _POSITIVE else 0.0 if f.name in _WHOLE else -np.inf
    for f in fields(FleetState)
}


def outcome_of(
    ways: Ways, seen: Sequence[Telemetry], round_s: float, server_speed: float
) -> Outcome:
    """The round (F = 1) of these devices; ``energy_j`` is of one device each.

    Raises ValueError for a way that the task does not have.
    """
    told = np.array([_TOLD_OF(t) for t in seen], float).T[:, None]  # None is NaN
    arrays: dict[str, Any] = dict(zip(_TOLD, told, strict=True))
    arrays["opp_left"] = np.fmin(arrays["opp"], arrays["opp_left"])
    arrays |= {name: arrays[name].astype(np.int64) for name in ("opp", "opp_left")}
    arrays["way"] = np.array([[ways.number(t) for t in seen]])
    return Outcome(
        **arrays,
        late=np.zeros((1, len(seen)), np.int64),
        round_s=np.array([round_s]),
        server_speed=np.array([server_speed]),
    )


_TOLD = [f.name for f in fields(Outcome) if f.name in Telemetry.__struct_fields__]
_TOLD_OF = attrgetter(*_TOLD)


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
