"""What the server knows of the fleet: estimates of every device, clusters, and the figures of both.

Estimates are kept per device; a cluster speaks through its slowest member. The figures carry that
member's estimates *before* the round and its telemetry *of* the round, so whoever reads them runs
the same update and needs no history of its own.

A late device has measured nothing, but its estimates were too good: those before the round are
lowered until they explain it, so that its next row is chosen for a device that is that slow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
import numpy as np

from adaptoff import cost, estimate, figures
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Outcome
from adaptoff.messages import GONE, MAX_CLUSTERS, FleetFigures, Row, Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.ways import Ways

MOST_SLOWED, HALVINGS = 1e6, 40
"""how far a late device's estimates may be lowered, and steps to find how far"""


class Clusterer(Protocol):
    """Groups devices that are alike."""

    def assign(self, features: Floats) -> Sequence[int]:
        """Cluster of each device, from (n_devices, 3): log speed, log up_bps, log down_bps."""


class OwnCluster:
    """Every device on its own, as far as there are clusters."""

    def assign(self, features: Floats) -> Sequence[int]:
        """Device numbers, wrapped at the most clusters allowed."""
        return [device % MAX_CLUSTERS for device in range(len(features))]


class Tracker:
    """Estimates and clusters over one episode, which begins with the native warm-up."""

    def __init__(self, scenario: Scenario, profile: Profile, clusterer: Clusterer) -> None:
        self._scenario, self._profile, self._clusterer = scenario, profile, clusterer
        self._ways = Ways(profile, scenario.workload)
        self._last: dict[int, Telemetry] = {}
        self._state: FleetState | None = None
        self._groups: list[int] = []
        self._epoch = 0

    def knows_any(self, devices: Iterable[int]) -> bool:
        """Whether there are estimates of any of them."""
        return any(device in self._last for device in devices)

    def update(
        self, round_: int, seen: Sequence[Telemetry], late: Mapping[int, Row | None],
        round_s: float, server_speed: float,
    ) -> FleetFigures:  # fmt: skip
        """Take in a round.

        ``late`` devices are alive but did not finish it: their rows, None where not even that came.
        """
        missing = [
            _unmeasured(self._last[device], row, round_, round_s)
            for device, row in late.items()
            if device in self._last
        ]
        everyone = sorted([*seen, *missing], key=lambda t: t.device)
        was_late = np.array([[t.device in late for t in everyone]])
        prior, state = self._estimate(everyone, was_late, round_s, server_speed)
        groups = self._regroup(state)
        slowest = [_slowest(everyone, groups, group) for group in range(max(groups) + 1)]
        self._state, self._last = state, {t.device: t for t in everyone}
        return FleetFigures(
            epoch=self._epoch,
            round=round_,
            clusters=self._cluster_of_each(everyone, groups),
            telemetry=[everyone[i] for i in slowest],
            prior=figures.prior_of(figures.regroup(prior, slowest)),
            round_s=round_s,
            server_speed=server_speed,
        )

    def _estimate(
        self, everyone: list[Telemetry], late: Bools, round_s: float, server_speed: float
    ) -> tuple[FleetState, FleetState]:
        """Device by device, the state before and after; a first round is its own before."""
        fleet = figures.fleet_of(self._scenario, self._profile, everyone, [1] * len(everyone))
        outcome = figures.outcome_of(self._ways, everyone, round_s, server_speed)
        first = estimate.initial(fleet, outcome)
        if self._state is None:
            return first, first
        known = list(self._last)
        source = [
            known.index(t.device) if t.device in self._last else len(known) + i
            for i, t in enumerate(everyone)
        ]
        prior = figures.regroup(figures.side_by_side(self._state, first), source)
        prior = _slowed(fleet, prior, outcome, late)
        return prior, estimate.update(fleet, prior, outcome)

    def _regroup(self, state: FleetState) -> list[int]:
        """Cluster of each known device, numbered from 0 without gaps."""
        features = np.log(np.stack([state.speed[0], state.up_bps[0], state.down_bps[0]], 1))
        groups = list(self._clusterer.assign(features))
        names = sorted(set(groups))
        groups = [names.index(group) for group in groups]
        self._epoch += groups != self._groups
        self._groups = groups
        return groups

    def _cluster_of_each(self, everyone: list[Telemetry], groups: list[int]) -> list[int]:
        of = {t.device: group for t, group in zip(everyone, groups, strict=True)}
        return [of.get(i, GONE) for i in range(len(self._scenario.each_device()))]


def _slowest(everyone: list[Telemetry], groups: list[int], group: int) -> int:
    """Position of the cluster's slowest member."""
    members = [i for i, g in enumerate(groups) if g == group]
    return max(members, key=lambda i: everyone[i].total_s)


def _unmeasured(last: Telemetry, row: Row | None, round_: int, round_s: float) -> Telemetry:
    """What is known of a device that did not finish: its row, and that it took the whole round.

    A device whose row is not known is taken to have kept its last one.
    """
    row = row or last.row
    none = dict.fromkeys(("device_s", "uplink_s", "server_s", "downlink_s", "sync_s"), 0.0)
    return msgspec.structs.replace(
        last,
        **none,
        round=round_,
        cut=row.cut,
        opp=row.opp,
        opp_left=None,
        depth=row.depth,
        codec=row.codec,
        samples=0,
        total_s=round_s,
        up_bps=None,
        down_bps=None,
    )


def _slowed(fleet: Fleet, prior: FleetState, seen: Outcome, late: Bools) -> FleetState:
    """Estimates by which the rows of ``late`` devices, (1, G), take as long as the round did.

    Nothing tells a slow board from a slow link, so the speed and both rates are divided by the same
    factor; the server, which answered others meanwhile, was as fast as measured.
    """
    at = replace(prior, server_speed=seen.server_speed, way=seen.way, opp=seen.opp)
    least, most = np.ones(fleet.shape), np.full(fleet.shape, MOST_SLOWED)
    for _ in range(HALVINGS):
        factor = np.where(late, np.sqrt(least * most), 1.0)
        quick = cost.joint(fleet, _divided(at, factor), at.rows).total_s < seen.round_s[:, None]
        least, most = np.where(quick, factor, least), np.where(quick, most, factor)
    return _divided(prior, np.where(late, least, 1.0))


def _divided(state: FleetState, factor: Floats) -> FleetState:
    slower = {name: getattr(state, name) / factor for name in ("speed", "up_bps", "down_bps")}
    return replace(state, **{k: np.maximum(v, estimate.LOWEST) for k, v in slower.items()})
