"""observe(): pinned by a golden array, bounded, and blind to scale.

``pytest tests/core/test_observation.py --write`` records the golden array anew; a change of it
asks for another ``SCHEMA``.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import candidates, estimate, figures
from adaptoff.fleet import Fleet, FleetState
from adaptoff.foresight import foresee
from adaptoff.messages import FleetFigures
from adaptoff.observation import FEATURES, LIMIT, SCHEMA, Observation, observe
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from tests.worlds import of_clusters

MakeWorld = Callable[..., tuple[Fleet, FleetState]]
SEEDS = st.integers(0, 2**32 - 1)
GOLDEN = Path(__file__).parents[1] / "golden" / "observation.npy"


def look(fleet: Fleet, state: FleetState) -> Observation:
    return observe(foresee(fleet, state))


def column(seen: Observation, name: str) -> Observation:
    return seen[..., FEATURES.index(name)]


def test_golden(
    scenario: Scenario, profile: Profile, figures: FleetFigures, request: pytest.FixtureRequest
) -> None:
    now = view_of(scenario, profile, figures)
    if request.config.getoption("--write"):
        np.save(GOLDEN, now, allow_pickle=False)
    golden = np.load(GOLDEN, allow_pickle=False)
    assert golden.dtype == np.float32
    np.testing.assert_allclose(now, golden, rtol=1e-4, atol=1e-5)
    assert SCHEMA == 3, "record the golden array anew for another schema"


def view_of(scenario: Scenario, profile: Profile, told: FleetFigures) -> Observation:
    seen = figures.view(scenario, profile, told)
    return look(seen.fleet, seen.state)


@given(seed=SEEDS, span=st.floats(0, 4))
def test_features_are_bounded_in_extreme_states(world: MakeWorld, seed: int, span: float) -> None:
    """``span`` 4: every figure strays by a factor of up to 10,000 either way."""
    fleet, state = world(seed, fleets=2, clusters=4, padded=True, span=span)
    table = candidates.build(fleet, state)
    seen = observe(foresee(fleet, state, table))
    assert seen.shape == (*table.valid.shape, len(FEATURES))
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    assert (np.abs(seen) <= LIMIT).all()
    assert (seen[~table.valid] == 0).all()
    assert (column(seen, "valid") == table.valid & fleet.active[..., None]).all()
    assert (column(seen, "is_current").sum(2) <= 1).all()
    assert (column(seen, "is_planned").sum(2) == 1).all()


def test_a_fleet_without_power_figures_is_seen_all_the_same(world: MakeWorld) -> None:
    fleet, state = world(1)
    fleet = replace(
        fleet, idle_w=fleet.idle_w * 0, radio_w=fleet.radio_w * 0, dynamic_w=fleet.dynamic_w * 0
    )
    seen = look(fleet, estimate.with_reference(fleet, state))
    assert np.isfinite(seen).all()
    assert len(np.unique(column(seen, "cost_over_best"))) > 2


def test_a_lone_cluster_has_no_others(world: MakeWorld) -> None:
    seen = look(*world(2, clusters=1))
    assert (column(seen, "log_total_over_slowest_other") == 0).all()
    assert (column(seen, "server_occupancy") == 0).all()
    assert (column(seen, "slowed_over_round") == 0).all()


@given(seed=SEEDS)
def test_shares_sum_to_one_and_the_best_row_scores_zero(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed)
    table = candidates.build(fleet, state)
    seen = observe(foresee(fleet, state, table))
    shares = [column(seen, f) for f in FEATURES if f.startswith("share_")]
    piped = fleet.depth[:, :1] > 1  # micro-batches overlap: shares of a shorter time
    whole = np.where(piped, np.inf, 1)
    assert (np.sum(shares, 0)[table.valid] >= 1 - 1e-5).all()
    assert (np.sum(shares, 0) <= whole[..., None] + 1e-5).all()
    for name in (n for n in FEATURES if "cost_over_best" in n):
        values = np.where(table.valid, column(seen, name), np.inf)
        np.testing.assert_allclose(values.min(2), 0, atol=1e-6)


RATES = (
    "speed", "up_bps", "down_bps", "server_speed",
    "usual_speed", "usual_up_bps", "usual_down_bps", "usual_server_speed",
)  # fmt: skip


def more_work_for_faster_machines(
    fleet: Fleet, state: FleetState, k: float
) -> tuple[Fleet, FleetState]:
    """Works, bytes and rates all ``k`` times as much: the same seconds."""
    works = ("device_work_s", "server_work_s", "up_bytes", "down_bytes", "sync_bytes")
    rates = RATES
    return (
        replace(fleet, **{name: getattr(fleet, name) * k for name in works}),
        replace(state, **{name: getattr(state, name) * k for name in rates}),
    )


def slower(fleet: Fleet, state: FleetState, k: float) -> tuple[Fleet, FleetState]:
    """Everything takes ``k`` times as long, warming included: the same ratios."""
    rates = RATES
    times = ("rtt_s", "native_s", "native_j")
    return (
        replace(fleet, heat_tau_s=fleet.heat_tau_s * k),
        replace(
            state,
            **{name: getattr(state, name) / k for name in rates},
            **{name: getattr(state, name) * k for name in times},
        ),
    )


@pytest.mark.parametrize("scale", [more_work_for_faster_machines, slower])
@given(seed=SEEDS, k=st.floats(0.01, 100))
def test_features_are_blind_to_scale(
    world: MakeWorld, scale: Callable[..., tuple[Fleet, FleetState]], seed: int, k: float
) -> None:
    fleet, state = world(seed)
    np.testing.assert_allclose(look(*scale(fleet, state, k)), look(fleet, state), atol=1e-4)


@given(seed=SEEDS)
def test_a_cluster_is_seen_alike_wherever_it_stands(world: MakeWorld, seed: int) -> None:
    fleet, state = world(seed, clusters=3)
    order = [2, 0, 1]
    turned = [of_clusters(arrays, order) for arrays in (fleet, state)]
    np.testing.assert_allclose(look(*turned), look(fleet, state)[:, order], atol=1e-5)
