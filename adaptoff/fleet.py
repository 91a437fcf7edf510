"""Fleets as arrays: static facts, conditions, state, rows and outcomes.

Axes: F fleets, G clusters, W ways (cut, depth and codec, ``ways``), K operating points, R rows.
Everything per cluster describes one of its ``count`` devices, unless it says "all members". Padded
clusters are not ``active``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaptoff.profile import Mode, Profile
from adaptoff.scenario import Board, Scenario
from adaptoff.ways import Way, Ways, column

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
T = TypeVar("T")

ONE_PASS: dict[Mode, float] = {"training": 0.5, "inference": 1.0}
"""share of a device's work on a batch in its longer pass"""


@dataclass(frozen=True)
class Rows:
    """Ways by number and operating points, (F, G) or (F, G, R)."""

    way: Ints
    opp: Ints


@dataclass(frozen=True)
class Options:
    """V rows one after another, and whose they are: what could be chosen, without padding."""

    fleet: Ints  # (V,)
    cluster: Ints  # (V,)
    way: Ints  # (V,)
    opp: Ints  # (V,)

    def take(self, which: Bools) -> "Options":
        """Those ``which`` (V,) says."""
        return Options(*(v[which] for v in (self.fleet, self.cluster, self.way, self.opp)))

    def rows(self, at: Ints) -> Rows:
        """The rows at the positions ``at``, shaped alike."""
        return Rows(self.way[at], self.opp[at])

    def beside(self, rows: Rows) -> Rows:
        """Each option with the ``rows`` (F, G) that the other clusters keep, (V, G)."""
        every = np.arange(len(self.way))
        way, opp = rows.way[self.fleet], rows.opp[self.fleet]
        way[every, self.cluster], opp[every, self.cluster] = self.way, self.opp
        return Rows(way, opp)


@dataclass(frozen=True)
class Fleet:
    """What does not change within an episode."""

    device_work_s: Floats  # (F, G, W) seconds per batch at speed 1
    server_work_s: Floats  # (F, W)
    up_bytes: Floats  # (F, W) per batch
    down_bytes: Floats  # (F, W) per batch
    sync_bytes: Floats  # (F, W) one way, per round
    memory_bytes: Floats  # (F, W)
    cut: Ints  # (F, W) blocks on the device
    depth: Floats  # (F, W) micro-batches in flight, 1 = one stage after another
    one_pass: Floats  # (F,) share of the device's work in its longer pass: 1 if there is one alone
    n_ways: Ints  # (F,)
    min_cut: Ints  # (F,)
    energy_weight: Floats  # (F,)
    heat_limit_c: Floats  # (F,)
    active: Bools  # (F, G)
    count: Floats  # (F, G) devices in the cluster
    batches: Floats  # (F, G) per round
    memory_limit_bytes: Floats  # (F, G)
    idle_w: Floats  # (F, G)
    radio_w: Floats  # (F, G)
    heat_c_per_w: Floats  # (F, G)
    heat_tau_s: Floats  # (F, G)
    ambient_c: Floats  # (F, G)
    trip_c: Floats  # (F, G)
    n_opps: Ints  # (F, G)
    relative_speed: Floats  # (F, G, K) g(k), slowest first
    dynamic_w: Floats  # (F, G, K)

    @property
    def shape(self) -> tuple[int, int]:
        """(F, G)."""
        return self.active.shape[0], self.active.shape[1]

    def native(self) -> Rows:
        """Classic federated learning: the last way at the fastest OPP, (F, G)."""
        return Rows(np.broadcast_to(self.n_ways[:, None] - 1, self.shape), self.n_opps - 1)


@dataclass(frozen=True)
class Conditions:
    """What changes from round to round, as it is."""

    speed: Floats  # (F, G) reference cores at the fastest OPP, load taken off
    up_bps: Floats  # (F, G) payload
    down_bps: Floats  # (F, G)
    rtt_s: Floats  # (F, G)
    temp_c: Floats  # (F, G)
    server_speed: Floats  # (F,) reference cores, load taken off


@dataclass(frozen=True)
class FleetState(Conditions):
    """The conditions as estimated, how fresh they are, and the rows in use."""

    speed_age: Floats  # (F, G) rounds since measured
    up_age: Floats  # (F, G)
    down_age: Floats  # (F, G)
    volatility: Floats  # (F, G) EWMA of |log change| of the uplink per round
    speed_volatility: Floats  # (F, G) the same of the speed
    usual_speed: Floats  # (F, G) slow EWMA, what it may return to
    usual_up_bps: Floats  # (F, G)
    usual_down_bps: Floats  # (F, G)
    usual_server_speed: Floats  # (F,)
    way: Ints  # (F, G) row of the last round
    opp: Ints  # (F, G)
    native_s: Floats  # (F,) modelled native round at the episode's reset
    native_j: Floats  # (F,)

    @property
    def rows(self) -> Rows:
        """The rows of the last round, (F, G)."""
        return Rows(self.way, self.opp)

    def under(self, at: Conditions) -> "FleetState":
        """As if these conditions had been estimated."""
        return replace(self, **vars(at))


@dataclass(frozen=True)
class Outcome:
    """One round, as measured. NaN in a rate is "not measured"."""

    way: Ints  # (F, G) as applied
    opp: Ints  # (F, G) as applied at the start
    opp_left: Ints  # (F, G) as it still ran at the end, at most ``opp``
    device_s: Floats  # (F, G)
    uplink_s: Floats  # (F, G)
    server_s: Floats  # (F, G)
    downlink_s: Floats  # (F, G)
    sync_s: Floats  # (F, G)
    total_s: Floats  # (F, G)
    energy_j: Floats  # (F, G) of all members
    temp_c: Floats  # (F, G)
    up_bps: Floats  # (F, G)
    down_bps: Floats  # (F, G)
    rtt_s: Floats  # (F, G)
    late: Ints  # (F, G) members that missed the deadline
    round_s: Floats  # (F,)
    server_speed: Floats  # (F,) measured


def build(
    profile: Profile, scenario: Scenario, boards: Sequence[Board], counts: Sequence[int]
) -> Fleet:
    """One fleet (F = 1) with a cluster for each board, ``counts`` devices in each.

    Raises ProfileError for a board whose class, or a codec, that the profile has no figures of.
    """
    columns: dict[str, Any] = {name: _column(boards, name) for name in _BOARD_FIELDS}
    work, goal = scenario.workload, scenario.objective
    each = Ways(profile, work).all
    n_opps = max(len(board.opps) for board in boards)
    return Fleet(
        **_dnn(profile, each, work.batch_size),
        one_pass=np.array([ONE_PASS[profile.mode]]),
        device_work_s=_device_work_s(profile, each, boards, work.batch_size),
        min_cut=np.array([min(work.min_cut, profile.native)]),
        energy_weight=np.array([goal.energy_weight]),
        heat_limit_c=np.array([goal.heat_limit_c]),
        active=np.ones((1, len(boards)), bool),
        count=np.array([counts], float),
        batches=np.full((1, len(boards)), float(work.batches)),
        memory_limit_bytes=_column(boards, "memory_mb") * 1e6,
        n_opps=np.array([[len(board.opps) for board in boards]]),
        relative_speed=_opps(boards, "relative_speed", n_opps),
        dynamic_w=_opps(boards, "dynamic_w", n_opps),
        **columns,
    )


def of_devices(profile: Profile, scenario: Scenario) -> Fleet:
    """The scenario's fleet (F = 1), a cluster for each device; raises ProfileError."""
    boards = [scenario.boards[group.board] for group in scenario.each_device()]
    return build(profile, scenario, boards, [1] * len(boards))


_BOARD_FIELDS = (
    "idle_w", "radio_w", "heat_c_per_w", "heat_tau_s", "ambient_c", "trip_c",
)  # fmt: skip


def _device_work_s(
    profile: Profile, each: Sequence[Way], boards: Sequence[Board], batch_size: int
) -> Floats:
    """(1, G, W), each board by the seconds of its class."""
    classes = [board.device_class for board in boards]
    return np.array([[column(profile, each, "device_s", batch_size, name) for name in classes]])


def _dnn(profile: Profile, each: Sequence[Way], batch_size: int) -> dict[str, Any]:
    """Columns (1, W) of the ways ``each``."""

    def of_ways(name: str) -> Floats:
        return np.array([column(profile, each, name, batch_size)])

    names = ("up_bytes", "down_bytes", "sync_bytes", "memory_bytes")
    return {
        "server_work_s": of_ways("server_s"),
        "cut": np.array([[way.cut for way in each]]),
        "depth": np.array([[way.depth for way in each]], float),
        "n_ways": np.array([len(each)]),
        **{name: of_ways(name) for name in names},
    }


def _column(boards: Sequence[Board], name: str) -> Floats:
    return np.array([[getattr(board, name) for board in boards]], float)


def _opps(boards: Sequence[Board], name: str, n_opps: int) -> Floats:
    """(1, G, n_opps), padded with the fastest OPP's value."""
    tables = [[getattr(opp, name) for opp in board.opps] for board in boards]
    return np.array([[table + table[-1:] * (n_opps - len(table)) for table in tables]], float)


def take(arrays: T, which: Ints) -> T:
    """The fleets numbered ``which`` (n,), one after another; takes any dataclass of arrays."""
    taken = {f.name: getattr(arrays, f.name)[which] for f in fields(arrays)}  # type: ignore[arg-type]
    return replace(arrays, **taken)  # type: ignore[type-var]
