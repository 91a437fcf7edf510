"""The device's decisions: the policy's row, unless something is wrong: then a guard counts it."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from adaptoff import config, policy
from adaptoff import profile as profiles
from adaptoff.controller import GUARD_RATIO, Controller, decide, guard, translate
from adaptoff.figures import View, view
from adaptoff.foresight import foresee
from adaptoff.guards import Guards
from adaptoff.messages import FleetFigures, Row
from adaptoff.observation import FEATURES
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.table import Table

HEAVY = ("torch", "gymnasium", "sklearn", "stable_baselines3", "scipy", "pandas", "matplotlib")


def liking(feature: str, sign: float) -> Policy:
    """A policy that takes the row with the highest (or lowest) value of one feature."""
    weight = np.zeros((len(FEATURES), 1), np.float32)
    weight[FEATURES.index(feature)] = sign
    return Policy([(weight, np.zeros(1, np.float32))])


BEST = liking("cost_over_best", -1)
WORST = liking("cost_over_best", +1)


@pytest.fixture
def seen(scenario: Scenario, profile: Profile, figures: FleetFigures) -> View:
    return view(scenario, profile, figures)


def counted(controller: Controller) -> dict[str, int]:
    """What its guards did."""
    return {cause: count for cause, count in controller.guards.counts.items() if count}


def costs_of(seen: View) -> tuple[Table, Any]:
    """Predicted costs (F, G, R) beside the planned rows."""
    sight = foresee(seen.fleet, seen.state)
    return sight.table, sight.table.spread(sight.costs, np.inf)


def test_the_policy_decides(seen: View) -> None:
    table, costs = costs_of(seen)
    choice = decide(seen.fleet, seen.state, BEST)
    best = table.take(costs.argmin(2))
    np.testing.assert_array_equal(choice.rows.way, best.way)
    np.testing.assert_array_equal(choice.rows.opp, best.opp)
    assert not choice.guarded.any()


def test_the_guard_replaces_rows_over_twice_the_best(seen: View) -> None:
    table, costs = costs_of(seen)
    worst = np.where(table.valid, costs, -np.inf).argmax(2)
    assert (costs.max(2, where=table.valid, initial=0) > GUARD_RATIO * costs.min(2)).any()
    choice = decide(seen.fleet, seen.state, WORST)
    bad = np.take_along_axis(costs, worst[..., None], 2)[..., 0] > GUARD_RATIO * costs.min(2)
    np.testing.assert_array_equal(choice.guarded, bad)
    wanted = table.take(np.where(bad, costs.argmin(2), worst))
    np.testing.assert_array_equal(choice.rows.way, wanted.way)
    np.testing.assert_array_equal(choice.rows.opp, wanted.opp)


def test_the_guard_leaves_rows_just_below_the_line(seen: View) -> None:
    table, costs = costs_of(seen)
    fine = np.where(costs <= GUARD_RATIO * costs.min(2, keepdims=True), costs, -np.inf).argmax(2)
    choice = guard(foresee(seen.fleet, seen.state), fine)
    assert not choice.guarded.any()
    np.testing.assert_array_equal(choice.rows.way, table.take(fine).way)


def test_members_of_a_cluster_decide_alike(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    first, second, other = (
        Controller(i, scenario, profile, BEST).next(4, figures) for i in range(3)
    )
    assert first.row == second.row
    assert (first.device, second.device, other.device) == (0, 1, 2)
    assert (first.round, first.source) == (4, "policy")


def test_the_guard_names_itself(
    scenario: Scenario, profile: Profile, figures: FleetFigures, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = decide_guarded(scenario, profile, figures)
    device = figures.clusters.index(guarded)
    with caplog.at_level(logging.WARNING):
        controller = Controller(device, scenario, profile, WORST)
        decision = controller.next(4, figures)
        again = controller.next(4, figures)
    assert decision.source == again.source == "planner"
    assert counted(controller) == {"replaced": 2}
    assert caplog.text.count("guard replaced: round 4") == 1


def decide_guarded(scenario: Scenario, profile: Profile, figures: FleetFigures) -> int:
    seen = view(scenario, profile, figures)
    return int(np.flatnonzero(decide(seen.fleet, seen.state, WORST).guarded[0])[0])


def broken(figures: FleetFigures) -> dict[str, FleetFigures]:
    def prior(**changes: list[float]) -> FleetFigures:
        return replace(figures, prior=figures.prior | changes)

    def telemetry(**changes: Any) -> FleetFigures:
        return replace(figures, telemetry=[replace(t, **changes) for t in figures.telemetry])

    return {
        "no estimates": replace(figures, prior={}),
        "another cluster's estimates": prior(speed=[0.2]),
        "fewer clusters": replace(figures, prior={k: v[:1] for k, v in figures.prior.items()}),
        "no speed": prior(speed=[0.0, 0.0]),
        "negative rate": prior(up_bps=[-1.0, 1e6]),
        "a speed that is no number": prior(speed=[0.2, np.nan]),
        "a temperature that is no number": prior(temp_c=[np.nan, 55.0]),
        "an endless rate": prior(up_bps=[np.inf, 1e6]),
        "telemetry that is no number": telemetry(device_s=np.nan),
        "an endless round": replace(figures, round_s=np.inf),
        "a negative time": telemetry(uplink_s=-1.0),
        "hotter than the sun": telemetry(temp_c=6000.0),
        "no server": replace(figures, server_speed=0.0),
        "not a number at all": telemetry(total_s="long"),
        "no round": replace(figures, round=None),
        "unknown device": telemetry(device=99),
        "unknown cut": telemetry(cut=63),
        "unknown OPP": telemetry(opp=63),
        "device not listed": replace(figures, clusters=[0]),
        "device gone": replace(figures, clusters=[255, 0, 1]),
    }


CASES = (
    "no estimates", "another cluster's estimates", "fewer clusters", "no speed", "negative rate",
    "a speed that is no number", "a temperature that is no number", "an endless rate",
    "telemetry that is no number", "an endless round", "a negative time", "hotter than the sun",
    "no server", "not a number at all", "no round", "unknown device", "unknown cut", "unknown OPP",
    "device not listed", "device gone",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_broken_figures_keep_the_last_row(
    scenario: Scenario, profile: Profile, figures: FleetFigures, case: str
) -> None:
    device = 1 if case == "device not listed" else 0
    controller = Controller(device, scenario, profile, BEST)
    before = controller.next(4, figures)
    assert before.row != controller.native
    after = controller.next(4, broken(figures)[case])
    assert (after.row, after.source, after.round) == (before.row, "kept", 4)
    assert counted(controller) == {"broken": 1}


def test_a_silent_server_means_native(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    controller = Controller(2, scenario, profile, BEST)
    controller.next(4, figures)
    decision = controller.next(5, None)
    assert (decision.row, decision.source) == (Row(cut=3, opp=2), "native")
    assert counted(controller) == {"server-gone": 1}
    assert controller.next(4, broken(figures)["no estimates"]).row == Row(cut=3, opp=2)


def test_stale_figures_keep_the_row(
    scenario: Scenario, profile: Profile, figures: FleetFigures
) -> None:
    controller = Controller(0, scenario, profile, BEST)
    chosen = controller.next(figures.round + 1, figures)
    controller.policy = WORST
    late = controller.next(figures.round + 2, figures)
    assert (late.row, late.source) == (chosen.row, "kept")
    assert counted(controller) == {"stale": 1}


def test_guards_can_be_shared(scenario: Scenario, profile: Profile) -> None:
    guards = Guards()
    Controller(0, scenario, profile, BEST, guards).next(1, None)
    assert guards.counts["server-gone"] == 1


def test_translate_takes_the_nearest_relative_speed(scenario: Scenario) -> None:
    slow, fast = scenario.boards["slow"], scenario.boards["fast"]
    assert translate(Row(cut=2, opp=0), slow, fast) == Row(cut=2, opp=0)  # 0.5: 0.4, not 0.7
    assert translate(Row(cut=2, opp=1), fast, slow) == Row(cut=2, opp=0)  # 0.7: 0.5, not 1.0
    assert translate(Row(cut=2, opp=1), slow, fast) == Row(cut=2, opp=2)
    for opp in range(3):
        assert translate(Row(cut=1, opp=opp), fast, fast) == Row(cut=1, opp=opp)


CHILD = """
import sys
from pathlib import Path
import msgspec
from adaptoff import config, policy, profile
from adaptoff.table import Table
from adaptoff.controller import Controller
from adaptoff.messages import FleetFigures

files = Path(sys.argv[1])
figures = msgspec.msgpack.decode((files / "figures").read_bytes(), type=FleetFigures)
controller = Controller(
    0,
    config.load(str(files / "small.toml")),
    profile.load(files / "toy.json"),
    policy.load(files / "policy.safetensors"),
)
print(controller.next(4, figures).source)
print(*sorted(m for m in sys.argv[2:] if m in sys.modules), file=sys.stderr)
"""


def test_the_controller_loads_nothing_heavy(
    scenario_text: str, profile: Profile, figures: FleetFigures, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(scenario_text)
    (tmp_path / "figures").write_bytes(msgspec.msgpack.encode(figures))
    profiles.save(profile, tmp_path / "toy.json")
    policy.save(BEST, tmp_path / "policy.safetensors")
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), *HEAVY],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (child.stdout, child.stderr.strip()) == ("policy\n", "")


def test_the_shipped_scenarios_make_controllers() -> None:
    for name in config.shipped():
        scenario = config.load(name)
        profile = config.profile_of(scenario)
        decision = Controller(0, scenario, profile, BEST).next(0, None)
        assert decision.row.cut == profile.native
