"""Fixtures that all folders share: a small scenario, a small DNN, random fleets."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # must come before torch is first imported

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from adaptoff import config, estimate
from adaptoff import fleet as fleets
from adaptoff.figures import prior_of
from adaptoff.fleet import Fleet, FleetState
from adaptoff.messages import FleetFigures, Telemetry
from adaptoff.profile import Cut, Profile
from adaptoff.scenario import Scenario

settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True)
settings.load_profile("quick")

World = tuple[Fleet, FleetState]
MakeWorld = Callable[..., World]

SCENARIO = """
name = "small"

[workload]
batch_size = 50
batches = 4
min_cut = 1

[objective]
energy_weight = 0.1

[boards.slow]
speed = 0.25
memory_mb = 512
opps = [
  {mhz = 600, relative_speed = 0.5, dynamic_w = 1.0},
  {mhz = 1200, relative_speed = 1.0, dynamic_w = 3.0},
]

[boards.fast]
speed = 1.0
opps = [
  {mhz = 600, relative_speed = 0.4, dynamic_w = 1.5},
  {mhz = 1000, relative_speed = 0.7, dynamic_w = 2.5},
  {mhz = 1500, relative_speed = 1.0, dynamic_w = 5.0},
]

[links.wifi]
steps = [{up_mbps = 50, down_mbps = 50}, {round = 5, up_mbps = 5, down_mbps = 10}]

[links.lte]
steps = [{up_mbps = 8, down_mbps = 20}]

[[devices]]
board = "slow"
link = "wifi"
count = 2

[[devices]]
board = "fast"
link = "lte"
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--write`` records golden files anew; look at the difference before you commit it."""
    parser.addoption("--write", action="store_true", help="record the golden files anew")


@pytest.fixture(scope="session")
def scenario_text() -> str:
    """A valid scenario file: two boards, two links, three devices."""
    return SCENARIO


@pytest.fixture(scope="session")
def scenario(scenario_text: str, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """``scenario_text``, loaded."""
    path: Path = tmp_path_factory.mktemp("scenario") / "small.toml"
    path.write_text(scenario_text, encoding="utf-8")
    return config.load(str(path))


@pytest.fixture(scope="session")
def profile() -> Profile:
    """A DNN of four cuts in round numbers, profiled at batches of 100."""

    def cut(name: str, device_s: float, up: float, down: float, weights: float) -> Cut:
        return Cut(name, device_s, 0.08 - device_s, up, down, weights, memory_bytes=10e6 + weights)

    cuts = [
        cut("input", 0.0, 400e3, 0.0, 0.0),
        cut("block1", 0.02, 2e6, 2e6, 10e3),
        cut("block2", 0.05, 500e3, 500e3, 100e3),
        cut("all", 0.08, 0.0, 0.0, 1e6),
    ]
    return Profile("toy", 100, "made up", cuts)


@pytest.fixture(scope="session")
def figures(scenario: Scenario, profile: Profile) -> FleetFigures:
    """What the server says after a round: devices 0 and 1 offloaded at cut 2, device 2 at cut 1.

    Device 0 was the slower one of the first cluster; device 2 did not measure its downlink.
    """
    boards = [scenario.boards["slow"], scenario.boards["fast"]]
    fleet = fleets.build(profile, scenario, boards, [2, 1])
    shape = fleet.shape
    state = FleetState(
        speed=np.array([[0.2, 0.9]]),
        up_bps=np.array([[40e6, 9e6]]),
        down_bps=np.array([[50e6, 18e6]]),
        rtt_s=np.array([[0.01, 0.05]]),
        temp_c=np.array([[40.0, 55.0]]),
        server_speed=np.array([2.0]),
        speed_age=np.zeros(shape),
        up_age=np.zeros(shape),
        down_age=np.array([[0.0, 3.0]]),
        volatility=np.array([[0.1, 0.4]]),
        speed_volatility=np.array([[0.05, 0.2]]),
        usual_speed=np.array([[0.3, 0.8]]),
        usual_up_bps=np.array([[30e6, 10e6]]),
        usual_down_bps=np.array([[60e6, 18e6]]),
        usual_server_speed=np.array([1.9]),
        way=fleet.native().way,
        opp=fleet.native().opp,
        native_s=np.ones(1),
        native_j=np.ones(1),
    )
    return FleetFigures(
        epoch=0, round=3, clusters=[0, 0, 1], round_s=2.0, server_speed=1.8,
        telemetry=[_telemetry(0, 2, 1, 0.5), _telemetry(2, 1, 2, 0.05, down_bps=None)],
        prior=prior_of(estimate.with_reference(fleet, state)),
    )  # fmt: skip


def _telemetry(device: int, cut: int, opp: int, device_s: float, **changes: Any) -> Telemetry:
    values = {
        "uplink_s": 0.2, "server_s": 0.1, "downlink_s": 0.2, "sync_s": 0.1, "total_s": 2.0,
        "up_bps": 30e6, "down_bps": 45e6, "rtt_s": None, "temp_c": 50.0, "energy_j": 6.0,
        "energy_source": "modelled", "samples": 200, **changes,
    }  # fmt: skip
    return Telemetry(device=device, round=3, cut=cut, opp=opp, device_s=device_s, **values)


@pytest.fixture(scope="session")
def world() -> MakeWorld:
    """``draw_world``: random fleets and a state of theirs."""
    return draw_world


def draw_world(
    seed: int,
    *,
    fleets: int = 1,
    clusters: int = 3,
    cuts: int = 5,
    opps: int = 3,
    span: float = 1.0,
    padded: bool = False,
) -> World:
    """Random fleets; ``span`` is how many decades each figure strays from its usual value."""
    rng = np.random.default_rng(seed)
    fleet = Fleet(
        **_dnn(rng, (fleets, clusters), cuts, span),
        **_boards(rng, (fleets, clusters), opps, span, padded=padded),
    )
    return fleet, _state(rng, fleet, span)


def _around(rng: np.random.Generator, value: float, shape: tuple[int, ...], span: float) -> Any:
    return value * 10 ** rng.uniform(-span, span, shape)


def _dnn(
    rng: np.random.Generator, shape: tuple[int, int], cuts: int, span: float
) -> dict[str, Any]:
    fleets = shape[0]
    done = np.zeros((fleets, cuts))
    done[:, 1:] = rng.dirichlet(np.ones(cuts - 1), fleets).cumsum(1)
    work_s = _around(rng, 0.1, (fleets, 1), span)
    up_bytes = _around(rng, 500e3, (fleets, cuts), span)
    up_bytes[:, -1] = 0
    down_bytes = up_bytes.copy()
    down_bytes[:, 0] = 0
    return {
        "device_work_s": np.repeat((work_s * done)[:, None], shape[1], 1),
        "depth": np.repeat(rng.choice([1.0, 1.0, 4.0], (fleets, 1)), cuts, 1),
        "cut": np.repeat(np.arange(cuts)[None], fleets, 0),
        "one_pass": rng.choice([0.5, 1.0], fleets),
        "server_work_s": work_s * (1 - done).clip(0) * (np.arange(cuts) < cuts - 1),
        "up_bytes": up_bytes,
        "down_bytes": down_bytes,
        "sync_bytes": _around(rng, 1e6, (fleets, 1), span) * done,
        "memory_bytes": _around(rng, 50e6, (fleets, 1), span) * done,
        "n_ways": np.full(fleets, cuts),
        "min_cut": rng.integers(0, 2, fleets),
        "energy_weight": rng.choice([0.0, 0.1, 1.0], fleets),
        "heat_limit_c": np.full(fleets, 75.0),
    }


def _boards(
    rng: np.random.Generator, shape: tuple[int, int], opps: int, span: float, *, padded: bool
) -> dict[str, Any]:
    active = np.ones(shape, bool)
    active[:, 1:] &= not padded or rng.random((shape[0], shape[1] - 1)) < 0.5
    steps = (*shape, opps)
    return {
        "active": active,
        "count": rng.integers(1, 5, shape).astype(float),
        "batches": rng.integers(1, 20, shape).astype(float),
        "memory_limit_bytes": _around(rng, 500e6, shape, span),
        "idle_w": _around(rng, 2.0, shape, span),
        "radio_w": _around(rng, 1.0, shape, span),
        "heat_c_per_w": _around(rng, 5.0, shape, span / 3),
        "heat_tau_s": _around(rng, 60.0, shape, span / 3),
        "ambient_c": rng.uniform(0, 40, shape),
        "trip_c": np.full(shape, 80.0),
        "n_opps": rng.integers(1, opps + 1, shape),
        "relative_speed": np.sort(rng.uniform(0.2, 1.0, steps), 2),
        "dynamic_w": np.sort(_around(rng, 3.0, steps, span), 2),
    }


def _state(rng: np.random.Generator, fleet: Fleet, span: float) -> FleetState:
    shape = fleet.shape
    state = FleetState(
        speed=_around(rng, 0.3, shape, span),
        up_bps=_around(rng, 10e6, shape, span),
        down_bps=_around(rng, 20e6, shape, span),
        rtt_s=_around(rng, 0.01, shape, span),
        temp_c=fleet.ambient_c + rng.uniform(0, 50, shape),
        server_speed=_around(rng, 2.0, shape[:1], span),
        speed_age=rng.integers(0, 1000, shape).astype(float),
        up_age=rng.integers(0, 1000, shape).astype(float),
        down_age=rng.integers(0, 1000, shape).astype(float),
        volatility=rng.uniform(0, 2, shape),
        speed_volatility=rng.uniform(0, 2, shape),
        usual_speed=_around(rng, 0.3, shape, span),
        usual_up_bps=_around(rng, 10e6, shape, span),
        usual_down_bps=_around(rng, 20e6, shape, span),
        usual_server_speed=_around(rng, 2.0, shape[:1], span),
        way=rng.integers(fleet.min_cut[:, None], fleet.n_ways[:, None], shape),
        opp=rng.integers(0, fleet.n_opps, shape),
        native_s=np.ones(shape[0]),
        native_j=np.ones(shape[0]),
    )
    return estimate.with_reference(fleet, state)
