"""The decisions of one board, without sockets: rounds in, rows and clocks out."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from adaptoff import cost, policy
from adaptoff import fleet as fleets
from adaptoff.controller import Controller
from adaptoff.errors import Malformed
from adaptoff.fleet import Conditions, Rows
from adaptoff.guards import Guards
from adaptoff.local import Answer, Measured
from adaptoff.local_messages import Ask, decode_reply, encode
from adaptoff.messages import Decision, FleetFigures, Row, Telemetry
from adaptoff.power_meter import PowerMeter
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.sensors import Thermometer, Zone
from adaptoff.sysfs import Sysfs
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.control import Control
from adaptoff.testbed.free_board import FreeBoard
from adaptoff.testbed.lone_fleet import LoneFleet
from adaptoff.testbed.rig import Rig, scaled
from adaptoff.testbed.server_speed import SLOWEST, estimated
from tests import boards
from tests.testbed.loops import SERVER_SPEED, lived

DEVICE = 2


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Watched(LoneFleet):
    """Keeps what it was told and what it said; says nothing while ``is_gone``."""

    def __init__(self, scenario: Scenario, profile: Profile) -> None:
        super().__init__(scenario, profile)
        self.seen: list[Telemetry] = []
        self.said: list[FleetFigures | None] = []
        self.rows: list[Decision] = []
        self.is_gone, self.why = False, "it is gone"
        self.waits: Callable[[], None] = lambda: None

    def report(  # type: ignore[override]
        self, seen: Telemetry, server_speed: float | None
    ) -> FleetFigures | None:
        self.seen.append(seen)
        self.waits()
        figures = super().report(seen, server_speed)
        self.said.append(None if self.is_gone else figures)
        return self.said[-1]

    def decided(self, decision: Decision) -> None:
        self.rows.append(decision)


class Loop:
    """A control and the loop that asks it."""

    def __init__(self, scenario: Scenario, profile: Profile, *, clocks: bool = True) -> None:
        self.scenario, self.profile, self.clock = scenario, profile, Time()
        self.controller = Controller(DEVICE, scenario, profile, policy.default())
        self.fleet, said = Watched(scenario, profile), scenario.board_of(DEVICE)
        guards, power = self.controller.guards, PowerMeter(None, self.clock)
        self.board: EmulatedBoard | FreeBoard = (
            EmulatedBoard(said, self.clock())
            if clocks
            else FreeBoard(said, None, self.clock(), guards)
        )
        self.rig = Rig(self.board, power, guards)
        self.control = Control(self.controller, self.rig, self.fleet, self.clock)

    def measure(self, source: Any) -> None:
        """Power is measured from now on."""
        rig = dataclasses.replace(self.rig, power=PowerMeter(source, self.clock))
        self.control = Control(self.controller, rig, self.fleet, self.clock)

    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    def ask(self, measured: Measured | None) -> Answer:
        return self.control.answer(Ask(number=1, measured=measured))

    def round(self, answer: Answer, **changes: Any) -> Measured:
        """What the loop says of a round with that answer, which takes its time."""
        measured = replace(self.lived(answer), **changes)
        self.clock.now_s += measured.total_s
        return measured

    def lived(self, answer: Answer) -> Measured:
        return replace(lived(self.scenario, self.profile, DEVICE, answer), cut=answer.cut)


@pytest.fixture
def loop(scenario: Scenario, profile: Profile) -> Loop:
    return Loop(scenario, profile)


def test_the_first_round_is_native(loop: Loop) -> None:
    answer = loop.ask(None)
    assert (answer.cut, answer.opp, answer.mhz) == (3, 2, 1500)
    assert (answer.round, answer.source) == (0, "native")
    assert loop.fleet.seen == []
    assert not any(loop.control.guards.counts.values())


def test_decisions_are_those_of_the_controller_on_the_same_figures(loop: Loop) -> None:
    answer, answers = loop.ask(None), []
    for number in range(8):
        bps = 1e9 if number < 5 else 2e6
        measured = loop.round(answer, up_bps=bps, down_bps=bps, server_speed=8.0)
        answer = loop.ask(measured)
        answers.append((answer, loop.control.decision))
    judge = Controller(DEVICE, loop.scenario, loop.profile, policy.default())
    rows = [judge.next(i + 1, figures) for i, figures in enumerate(loop.fleet.said)]
    assert [decision for _, decision in answers] == rows
    assert [(a.cut, a.opp, a.source) for a, _ in answers] == [
        (d.row.cut, d.row.opp, d.source) for d in rows
    ]
    assert {d.source for d in rows} == {"policy"}
    assert len({d.row.cut for d in rows}) > 1
    assert [a.round for a, _ in answers] == list(range(1, 9))


def test_telemetry_is_what_was_measured_at_the_row_that_was_answered(loop: Loop) -> None:
    answer = loop.ask(None)
    first = loop.round(answer)
    answer = loop.ask(first)
    loop.ask(loop.round(answer, rtt_s=0.02))
    native, later = loop.fleet.seen
    assert (native.cut, native.opp, native.opp_left) == (3, 2, 2)
    assert (native.device, native.round, native.samples) == (DEVICE, 0, 200)
    names = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s", "total_s", "up_bps")
    for name in names:
        assert getattr(native, name) == getattr(first, name)
    assert (later.cut, later.opp, later.round) == (answer.cut, answer.opp, 1)
    assert later.rtt_s == 0.02


def test_energy_and_heat_are_those_of_the_round_alone(loop: Loop) -> None:
    answer, said = loop.ask(None), loop.scenario.board_of(DEVICE)
    measured = loop.round(answer)
    loop.ask(measured)
    seen, top = loop.fleet.seen[0], said.opps[-1]
    wanted_j = top.dynamic_w * measured.device_s + said.radio_w * measured.sync_s
    assert seen.energy_j == pytest.approx(wanted_j + said.idle_w * measured.total_s)
    assert (seen.energy_source, seen.temp_source) == ("modelled", "modelled")
    cool_c = said.ambient_c + said.heat_c_per_w * said.idle_w
    assert seen.temp_c > cool_c


def test_a_pause_of_the_loop_is_idle_time(loop: Loop) -> None:
    measured = loop.round(loop.ask(None))
    loop.clock.now_s += 1000.0
    loop.ask(measured)
    said = loop.scenario.board_of(DEVICE)
    assert loop.fleet.seen[0].energy_j > said.idle_w * 1000


class TenWatts:
    """A sensor."""

    def __init__(self, clock: Time) -> None:
        self._since_s = clock()

    def joules_since_last(self, now_s: float) -> float:
        seconds, self._since_s = now_s - self._since_s, now_s
        return 10.0 * seconds


@pytest.mark.parametrize("is_measured", [False, True])
def test_waiting_for_the_fleet_is_no_part_of_a_round(
    scenario: Scenario, profile: Profile, is_measured: bool
) -> None:
    loops = Loop(scenario, profile), Loop(scenario, profile)
    for loop, waits_s in zip(loops, (0.0, 500.0), strict=True):
        if is_measured:
            loop.measure(TenWatts(loop.clock))
        loop.fleet.waits = lambda loop=loop, waits_s=waits_s: loop.wait(waits_s)  # type: ignore[misc]
        answer = loop.ask(None)
        for _ in range(2):
            answer = loop.ask(loop.round(answer))
    at_once, later = (loop.fleet.seen[-1] for loop in loops)
    assert later.energy_j == pytest.approx(at_once.energy_j)
    assert later.energy_source == ("measured" if is_measured else "modelled")
    if is_measured:
        assert later.energy_j == pytest.approx(10.0 * later.total_s)


def test_what_was_used_counts_not_what_was_answered(loop: Loop) -> None:
    loop.ask(loop.round(loop.ask(None), cut=2))
    assert loop.fleet.seen[0].cut == 2


@pytest.mark.parametrize("cut", [None, 0, 4, 63])
def test_a_cut_that_cannot_be_is_refused_and_changes_nothing(loop: Loop, cut: int | None) -> None:
    answer = loop.ask(None)
    before = loop.control.decision
    with pytest.raises(
        Malformed, match=r"^measured(\.cut is missing|: cut \d+: min_cut allows 1 to 3)"
    ):
        loop.ask(loop.round(answer, cut=cut))
    assert (loop.control.decision, loop.control.done, loop.fleet.seen) == (before, None, [])
    assert loop.ask(loop.round(answer)).source == "policy"


def test_without_figures_it_is_native_and_later_the_policy_s_again(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    answer = loop.ask(loop.round(loop.ask(None)))
    loop.fleet.is_gone = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            answer = loop.ask(loop.round(answer))
            assert (answer.cut, answer.opp, answer.source) == (3, 2, "native")
            assert answer.reason == "native: it is gone"
    assert loop.control.guards.counts["server-gone"] == 3
    assert caplog.text.count("no figures: it is gone") == 1
    loop.fleet.is_gone = False
    assert loop.ask(loop.round(answer)).source == "policy"


def test_a_long_reason_is_cut_so_that_it_can_be_read(loop: Loop) -> None:
    answer = loop.ask(None)
    loop.fleet.is_gone, loop.fleet.why = True, "x" * 2000
    answer = loop.ask(loop.round(answer))
    assert decode_reply(encode(answer)) == answer
    assert answer.reason.startswith("native: xxx")


def test_a_round_that_failed_is_followed_by_a_native_one(loop: Loop) -> None:
    answer = loop.ask(loop.round(loop.ask(None)))
    again = loop.ask(None)
    assert (again.cut, again.source, again.round) == (3, "native", answer.round)
    assert loop.control.guards.counts["server-gone"] == 0
    assert loop.ask(loop.round(again)).source == "policy"
    assert [seen.round for seen in loop.fleet.seen] == [0, 1]


def test_figures_that_do_not_fit_keep_the_row(loop: Loop) -> None:
    answer = loop.ask(loop.round(loop.ask(None)))
    report = loop.fleet.report

    def broken(seen: Telemetry, server_speed: float | None) -> FleetFigures | None:
        figures = report(seen, server_speed)
        return figures and replace(figures, prior={})

    loop.fleet.report = broken  # type: ignore[method-assign]
    kept = loop.ask(loop.round(answer))
    assert (kept.cut, kept.opp, kept.source) == (answer.cut, answer.opp, "kept")
    assert loop.control.guards.counts["broken"] == 1


def test_clocks_that_are_left_alone_are_reported_as_the_fastest(
    scenario: Scenario, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(scenario, profile, clocks=False)
    monkeypatch.setattr(
        loop.controller, "next",
        lambda round_, _: Decision(
            device=DEVICE, round=round_, row=Row(cut=2, opp=0), source="policy"
        ),
    )  # fmt: skip
    answer = loop.ask(loop.round(loop.ask(None)))
    loop.ask(loop.round(answer))
    assert (answer.opp, answer.mhz) == (2, 1500)
    assert loop.control.decision.row.opp == 0
    assert [seen.opp for seen in loop.fleet.seen] == [2, 2]
    assert [decision.row.opp for decision in loop.fleet.rows] == [2, 2, 2]
    assert loop.fleet.seen[1].opp_left is None
    assert not any(loop.control.guards.counts.values())


def test_a_clock_that_the_board_does_not_take_is_told(loop: Loop) -> None:
    said = loop.scenario.board_of(DEVICE)
    answer = loop.ask(None)
    measured = loop.round(answer)
    loop.board.temp_c = said.trip_c + 200.0  # type: ignore[misc]
    answer = loop.ask(measured)
    assert answer.opp < loop.control.decision.row.opp
    loop.ask(loop.round(answer))
    assert loop.fleet.seen[1].opp == answer.opp


def test_the_heat_of_a_board_left_alone_is_measured_where_it_can_be(
    scenario: Scenario, tmp_path: Any
) -> None:
    clock, said = Time(), scenario.board_of(DEVICE)
    folder = boards.files(tmp_path / "thermal_zone0", type="cpu", temp=61_000)
    guards = Guards()
    board = FreeBoard(said, Thermometer(Zone(folder, Sysfs()), clock), clock(), guards)
    assert (board.temp_c, board.temp_source) == (61.0, "measured")
    (folder / "temp").unlink()
    clock.now_s += 5
    board.idle_until(clock())
    assert (board.temp_source, guards.counts["sensor"]) == ("modelled", 1)
    assert said.ambient_c < board.temp_c < 61.0
    assert board.set_opp(0) == board.opp == 2


def test_done_is_the_round_that_is_over(loop: Loop) -> None:
    answer = loop.ask(None)
    asked = loop.control.decision
    loop.ask(loop.round(answer))
    assert loop.control.done is not None
    assert loop.control.done[:2] == (loop.fleet.seen[0], asked)
    assert loop.control.done.decision_s is None  # nobody decided on the first one
    second = loop.control.decision
    loop.ask(loop.round(answer))
    assert loop.control.done.decision == second
    assert (loop.control.done.decision_s or 0) > 0


# --- other numbers of samples


def test_seconds_are_scaled_to_the_workload() -> None:
    measured = Measured(
        device_s=1.0, uplink_s=2.0, server_s=3.0, downlink_s=4.0, sync_s=5.0, total_s=15.0,
        samples=100,
    )  # fmt: skip
    half = scaled(measured, 50)
    assert (half.device_s, half.uplink_s, half.server_s, half.downlink_s) == (0.5, 1, 1.5, 2)
    assert (half.sync_s, half.total_s, half.samples) == (5.0, 10.0, 50)
    assert scaled(measured, 100) == measured
    assert scaled(replace(measured, device_s=1e7, samples=1), 10**6).device_s == 1e7


@pytest.mark.parametrize("share", [0.25, 1, 3])
def test_a_loop_with_other_samples_is_decided_alike(
    scenario: Scenario, profile: Profile, share: float
) -> None:
    loop = Loop(scenario, profile)
    answer = loop.ask(None)
    for _ in range(3):
        whole = loop.round(answer)
        answer = loop.ask(scaled(whole, int(share * whole.samples)))
    assert [seen.samples for seen in loop.fleet.seen] == [200] * 3
    assert loop.fleet.seen[-1].device_s == pytest.approx(loop.lived(answer).device_s, rel=1e-9)


# --- the server's speed


def test_alone_the_server_is_as_fast_as_its_answers_say(loop: Loop) -> None:
    answer = loop.ask(None)
    assert speed(loop, answer) == loop.scenario.server.speed  # it was not needed yet
    answer = loop.ask(loop.round(answer, cut=2, server_s=0.03 * 4 / 2 / SERVER_SPEED))
    assert speed(loop, answer, cut=2, server_s=0.06 / 5.0) == pytest.approx(5.0)
    assert speed(loop, answer, cut=3, server_s=0.0) == pytest.approx(5.0)  # as it was
    assert speed(loop, answer, cut=2, server_speed=7.0) == 7.0
    assert speed(loop, answer, cut=2, server_speed=1e-300) == SLOWEST


def speed(loop: Loop, answer: Answer, **changes: Any) -> float:
    loop.ask(loop.round(answer, **changes))
    assert loop.fleet.said[-1] is not None
    return loop.fleet.said[-1].server_speed


@pytest.mark.parametrize("server_speed", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("cuts", [(1, 1, 1), (2, 1, 3), (1, 3, 3)])
def test_a_shared_server_s_speed_is_found_again(
    scenario: Scenario, profile: Profile, cuts: tuple[int, ...], server_speed: float
) -> None:
    """From what the cost model makes of it; its own fixed point is a few per cent off."""
    fleet = fleets.of_devices(profile, scenario)
    rows = Rows(np.array([cuts]), fleet.native().opp)
    at = conditions(fleet.shape, server_speed)
    columns = cost.joint(fleet, at, rows)
    seen = [telemetry(i, cut, columns) for i, cut in enumerate(cuts)]
    assert estimated(scenario.workload, profile, seen) == pytest.approx(server_speed, rel=0.05)


def test_nobody_at_the_server_tells_nothing(scenario: Scenario, profile: Profile) -> None:
    fleet = fleets.of_devices(profile, scenario)
    columns = cost.joint(fleet, conditions(fleet.shape, 1.0), fleet.native())
    seen = [telemetry(i, 3, columns) for i in range(3)]
    assert estimated(scenario.workload, profile, seen) is None


def conditions(shape: tuple[int, int], server_speed: float) -> Conditions:
    return Conditions(
        speed=np.full(shape, 0.3), up_bps=np.full(shape, 20e6), down_bps=np.full(shape, 20e6),
        rtt_s=np.zeros(shape), temp_c=np.full(shape, 40.0),
        server_speed=np.array([server_speed]),
    )  # fmt: skip


def telemetry(device: int, cut: int, columns: Any) -> Telemetry:
    stages: dict[str, Any] = {
        name: float(getattr(columns, name)[0, device])
        for name in ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s", "total_s")
    }
    return Telemetry(
        device=device, round=0, cut=cut, opp=1, samples=200, up_bps=None, down_bps=None,
        temp_c=40.0, energy_j=1.0, energy_source="modelled", **stages,
    )  # fmt: skip
