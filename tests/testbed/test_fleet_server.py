"""Fleets that control themselves: rounds without sockets, then servers and devices with them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adaptoff import policy
from adaptoff.adopting import Adoption
from adaptoff.commands import keys as command
from adaptoff.controller import Controller
from adaptoff.errors import Deadline, LinkError, Malformed, RunError
from adaptoff.local_messages import Answer, Ask
from adaptoff.messages import (
    GONE,
    PROTOCOL,
    AnyMessage,
    Bye,
    Decision,
    Fault,
    FleetFigures,
    Hello,
    Report,
    Reset,
    RoundStart,
    Row,
    Telemetry,
    Welcome,
)  # fmt: skip
from adaptoff.policy_store import PolicyStore
from adaptoff.power_meter import PowerMeter
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario
from adaptoff.testbed import fleet_link
from adaptoff.testbed.control import Control
from adaptoff.testbed.fleet_link import FleetLink
from adaptoff.testbed.fleet_rounds import FleetRound, FleetRounds
from adaptoff.testbed.fleet_server import FleetServer
from adaptoff.testbed.free_board import FreeBoard
from adaptoff.testbed.keys import ClientKeys, load_client, load_server
from adaptoff.testbed.link import Link
from adaptoff.testbed.rig import Rig
from adaptoff.testbed.tracker import OwnCluster
from tests.testbed.loops import lived

PATIENCE_S = 10.0
DEADLINE_S = 20.0


def native(device: int, round_: int, device_s: float = 0.64) -> Telemetry:
    return Telemetry(
        device=device, round=round_, cut=3, opp=2 if device == 2 else 1, samples=200,
        device_s=device_s, uplink_s=0.0, server_s=0.0, downlink_s=0.0, sync_s=0.1,
        total_s=device_s + 0.1, up_bps=30e6, down_bps=30e6, temp_c=40.0, energy_j=3.0,
        energy_source="modelled",
    )  # fmt: skip


# --- rounds, without sockets


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def rounds(scenario: Scenario, profile: Profile, clock: Time) -> FleetRounds:
    """All three are there."""
    made = FleetRounds(scenario, profile, OwnCluster(), DEADLINE_S, clock)
    for device in range(3):
        made.admit(device)
    return made


def reported(rounds: FleetRounds, *devices: int, round_: int = 0) -> None:
    for device in devices:
        rounds.report(device, native(device, round_))


def test_a_round_is_over_when_all_have_reported(rounds: FleetRounds) -> None:
    assert rounds.start == RoundStart(round=0, seed=0, row=None, figures=None)
    assert (rounds.left_s(), rounds.is_over()) == (None, False)
    reported(rounds, 0, 2)
    assert not rounds.is_over()
    reported(rounds, 1)
    assert rounds.is_over()
    done = rounds.close()
    assert (done.round, done.round_s, done.late) == (0, 0.74, [])
    assert rounds.start == RoundStart(round=1, seed=0, row=None, figures=done.figures)
    assert (rounds.left_s(), rounds.is_over()) == (None, False)


def test_who_does_not_report_in_time_is_late_once(rounds: FleetRounds, clock: Time) -> None:
    reported(rounds, 0, 1, 2)
    rounds.close()
    clock.now_s += 1000  # a pause of all is nobody's fault
    reported(rounds, 0, round_=1)
    clock.now_s += 5
    reported(rounds, 1, round_=1)
    assert rounds.left_s() == DEADLINE_S - 5
    assert not rounds.is_over()
    clock.now_s += DEADLINE_S - 5
    assert rounds.is_over()
    done = rounds.close()
    assert (done.late, done.round_s) == ([2], 0.74 + DEADLINE_S)
    assert done.figures.clusters == [0, 1, 2]
    assert done.figures.telemetry[2].samples == 0
    reported(rounds, 0, 1, round_=2)
    assert rounds.is_over()  # it is not awaited again
    assert rounds.close().figures.clusters == [0, 1, GONE]


def test_who_was_late_is_awaited_again_once_it_reports(rounds: FleetRounds, clock: Time) -> None:
    reported(rounds, 0, 1)
    clock.now_s += DEADLINE_S
    rounds.close()
    reported(rounds, 2, round_=0)  # too late: it counts for nothing but being there
    assert rounds.left_s() is None
    reported(rounds, 0, 1, round_=1)
    assert not rounds.is_over()
    reported(rounds, 2, round_=1)
    assert rounds.close().figures.clusters == [0, 1, 2]


def test_the_row_of_a_late_device_is_the_one_it_said(rounds: FleetRounds, clock: Time) -> None:
    reported(rounds, 0, 1, 2)
    rounds.close()
    rounds.decided(2, Decision(device=2, round=1, row=Row(cut=1, opp=0), source="policy"))
    reported(rounds, 0, 1, round_=1)
    clock.now_s += DEADLINE_S
    late = rounds.close().figures.telemetry[2]
    assert (late.cut, late.opp) == (1, 0)


def test_a_second_report_replaces_the_first(rounds: FleetRounds) -> None:
    reported(rounds, 0, 1)
    rounds.report(0, native(0, 0, device_s=3.0))
    reported(rounds, 2)
    assert rounds.close().figures.telemetry[0].device_s == 3.0


def test_who_has_left_is_not_awaited(rounds: FleetRounds) -> None:
    reported(rounds, 0, 1)
    rounds.forget(2)
    assert rounds.is_over()
    assert rounds.close().figures.clusters == [0, 1, GONE]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": 1}, "another device"),
        ({"samples": 100}, "100 samples"),
        ({"cut": 0}, "cut 0: min_cut allows 1 to 3"),
        ({"cut": 2, "codec": "uint8"}, "codec uint8: allowed: float32"),
        ({"cut": 4}, "cut 4: min_cut allows 1 to 3"),
        ({"opp": 2}, "OPP 2: 2 exist"),
    ],
)
def test_telemetry_that_cannot_be_is_malformed(
    rounds: FleetRounds, change: dict[str, int], words: str
) -> None:
    with pytest.raises(Malformed, match=words):
        rounds.report(0, replace(native(0, 0), **change))
    assert rounds.left_s() is None


@pytest.mark.parametrize("row", [Row(cut=0, opp=0), Row(cut=4, opp=0), Row(cut=2, opp=2)])
def test_a_row_that_cannot_be_is_malformed(rounds: FleetRounds, row: Row) -> None:
    for device, number in ((0, 0), (1, 0)):
        with pytest.raises(Malformed):
            rounds.decided(device, Decision(device=number, round=0, row=row, source="policy"))


# --- with sockets


@contextmanager
def serving(server: FleetServer) -> Iterator[FleetServer]:
    def serve() -> None:
        with contextlib.suppress(LinkError):
            server.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


@pytest.fixture(params=["plain", "keys"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    if request.param == "plain":
        return None
    made = tmp_path / "keys"
    command.new(["server", "device-0", "device-2"], made)
    return made


def key(directory: Path | None, device: int) -> ClientKeys | None:
    return load_client(directory, f"device-{device}") if directory else None


class Board:
    """A device of the fleet: its control, and what it was told."""

    def __init__(self, endpoint: str, device: int, keys: ClientKeys | None = None) -> None:
        self.fleet = FleetLink(endpoint, device, keys, PATIENCE_S)
        task = self.fleet.join()
        self.task, self.device, self.said = task, device, list[FleetFigures | None]()
        self.controller = Controller(device, task.scenario, task.profile, policy.default())
        guards, power = self.controller.guards, PowerMeter(None, time.monotonic)
        board = FreeBoard(task.scenario.board_of(device), None, time.monotonic(), guards)
        rig = Rig(board, power, guards)
        self.control = Control(self.controller, rig, self.fleet)
        report = self.fleet.report

        def noted(seen: Telemetry, server_speed: float | None) -> FleetFigures | None:
            self.said.append(report(seen, server_speed))
            return self.said[-1]

        self.fleet.report = noted  # type: ignore[method-assign]

    def is_told(self) -> bool:
        """Whether it is in the fleet, now that it has heard what came."""
        self.fleet.tend()
        return self.fleet._start is not None

    def live(self, rounds: int) -> list[Answer]:
        """A loop of so many rounds."""
        answers = [self.control.answer(Ask(number=0, measured=None))]
        for number in range(rounds):
            measured = lived(self.task.scenario, self.task.profile, self.device, answers[-1])
            measured = replace(measured, cut=answers[-1].cut)
            answers.append(self.control.answer(Ask(number=number, measured=measured)))
        return answers


@contextmanager
def boards(endpoint: str, directory: Path | None = None) -> Iterator[list[Board]]:
    """Devices 0 and 2."""
    with contextlib.ExitStack() as stack:
        made = []
        for device in (0, 2):
            made.append(Board(endpoint, device, key(directory, device)))
            stack.callback(made[-1].fleet.close)
        yield made


def together(boards: list[Board], rounds: int) -> list[list[Answer]]:
    """Their loops, side by side."""
    answers: list[list[Answer]] = [[] for _ in boards]

    def live(index: int) -> None:
        answers[index] = boards[index].live(rounds)

    threads = [threading.Thread(target=live, args=(i,)) for i in range(len(boards))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE_S)
    return answers


def test_all_get_the_same_figures_and_decide_as_their_controller(
    scenario: Scenario, profile: Profile, directory: Path | None
) -> None:
    keys = load_server(directory) if directory else None
    heard: list[FleetRound] = []
    with serving(FleetServer(scenario, profile, keys=keys)) as server:
        server.on_round = heard.append
        with boards(server.endpoint, directory) as both:
            answers = together(both, 4)
            assert server.present == {0, 2}
        until(lambda: not server.present)
    assert both[0].said == both[1].said == [done.figures for done in heard]
    assert [done.round for done in heard] == [0, 1, 2, 3]
    assert heard[-1].figures.clusters == [0, GONE, 1]
    for board, mine in zip(both, answers, strict=True):
        assert [answer.round for answer in mine] == [0, 1, 2, 3, 4]
        assert [answer.source for answer in mine] == ["native"] + ["policy"] * 4
        judge = Controller(board.device, scenario, profile, policy.default())
        rows = [judge.next(i + 1, figures).row for i, figures in enumerate(board.said)]
        assert [answer.cut for answer in mine[1:]] == [row.cut for row in rows]
    assert heard[-1].decisions
    assert not any(both[0].control.guards.counts.values())


def test_a_policy_reaches_all_boards_before_one_uses_it(
    scenario: Scenario, profile: Profile, tmp_path: Path
) -> None:
    store = PolicyStore(tmp_path / "policies")
    own = policy.default()
    policy.save(replaced(own, provenance={"name": "other"}), tmp_path / "other")
    names: list[list[object]] = []
    with (
        serving(FleetServer(scenario, profile, policies=store)) as server,
        boards(server.endpoint) as both,
    ):
        for board in both:
            board.fleet.adoption = Adoption(board.controller)
        together(both, 1)
        store.take((tmp_path / "other").read_bytes())
        for _ in range(3):
            together(both, 1)
            names.append([board.controller.policy.provenance.get("name") for board in both])
    assert names == [[None, None], ["other", "other"], ["other", "other"]]


def test_a_device_that_waits_for_nobody_is_not_held_up(
    scenario: Scenario, profile: Profile
) -> None:
    with (
        serving(FleetServer(scenario, profile, deadline_s=0.1)) as server,
        boards(server.endpoint) as (first, second),
    ):
        assert [a.source for a in first.live(3)] == ["native", "policy", "policy", "policy"]
        assert first.said[0] is not None  # the other one had never reported
        assert first.said[0].clusters == [0, GONE, GONE]
        together([first, second], 2)
        assert second.said[-1] is not None
        assert second.said[-1].clusters[2] != GONE


def test_a_silent_server_means_native_in_time(scenario: Scenario, profile: Profile) -> None:
    with (
        serving(FleetServer(scenario, profile, deadline_s=3 * PATIENCE_S)) as server,
        boards(server.endpoint) as (first, _),
    ):
        first.fleet._patience_s = 0.1
        answers = first.live(2)
        assert [answer.source for answer in answers] == ["native"] * 3
        assert "the server said nothing within 0.1 s" in answers[-1].reason
    assert first.control.guards.counts["server-gone"] == 2


def test_a_server_that_comes_back_is_joined_again(
    scenario: Scenario, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_link, "RETRY_S", 0.05)
    with contextlib.ExitStack() as stack:
        with serving(FleetServer(scenario, profile, deadline_s=0.1)) as server:
            endpoint = server.endpoint
            board = Board(endpoint, 0)
            stack.callback(board.fleet.close)
            assert board.live(2)[-1].source == "policy"
        *_, gone = answers = board.live(2)
        assert [answer.round for answer in answers] == [2, 3, 4]
        assert (gone.source, gone.cut, gone.opp) == ("native", 3, 1)
        assert "no figures" not in gone.reason
        assert board.fleet.heard_s is None
        with serving(FleetServer(scenario, profile, endpoint, deadline_s=0.1)) as again:
            until(lambda: board.is_told() and again.present == {0})
            back = board.live(2)
    assert [(answer.round, answer.source) for answer in back] == [
        (0, "native"), (1, "policy"), (2, "policy"),
    ]  # fmt: skip


def test_a_server_with_another_task_is_none(
    scenario: Scenario, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_link, "RETRY_S", 0.05)
    with contextlib.ExitStack() as stack:
        with serving(FleetServer(scenario, profile, deadline_s=0.1)) as server:
            board = Board(server.endpoint, 0)
            stack.callback(board.fleet.close)
        other = replace(scenario, name="other")
        with serving(FleetServer(other, profile, server.endpoint, deadline_s=0.1)):
            until(lambda: not board.is_told() and "another task" in board.fleet.why)
            assert [answer.source for answer in board.live(1)] == ["native", "native"]


TASK = {"dilation": 1.0, "paced": False}


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (Reset(command=0, seed=0, restart=False), "serve --figures-only"),
        (TASK | {"paced": True}, "serve --figures-only"),
        (TASK | {"dilation": 2.0}, "serve --figures-only"),
        (Fault(reason="not today"), "refused: not today"),
        (Bye(), "said goodbye"),
    ],
    ids=["trains", "paces", "is slow", "refuses", "leaves"],
)
def test_other_servers_are_refused(
    scenario: Scenario, profile: Profile, first: AnyMessage | dict[str, Any], words: str
) -> None:
    with Link.bind() as server:

        def answer() -> None:
            peer, said = server.recv(PATIENCE_S).peer, first
            if isinstance(said, dict):
                said = Welcome(scenario=scenario, profile=profile, **said)
            server.send(said, to=peer)

        thread = threading.Thread(target=answer)
        thread.start()
        fleet = FleetLink(server.endpoint, 0, None, PATIENCE_S)
        with contextlib.closing(fleet), pytest.raises(RunError, match=words):
            fleet.join()
        thread.join(PATIENCE_S)


def test_a_server_without_rounds_is_waited_for_no_longer_than_any(
    scenario: Scenario, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_link, "JOIN_S", 0.5)
    with Link.bind() as server:
        welcome = Welcome(scenario=scenario, profile=profile, **TASK)  # type: ignore[arg-type]
        answer = threading.Thread(
            target=lambda: server.send(welcome, to=server.recv(PATIENCE_S).peer)
        )
        answer.start()
        fleet = FleetLink(server.endpoint, 0, None, PATIENCE_S)
        with contextlib.closing(fleet), pytest.raises(Deadline, match="began no round"):
            fleet.join()
        answer.join(PATIENCE_S)


def test_without_a_server_joining_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fleet_link, "JOIN_S", 0.05)
    fleet = FleetLink(f"ipc://{tmp_path}/nobody", 0, None, PATIENCE_S)
    with contextlib.closing(fleet), pytest.raises(Deadline, match="is the server up"):
        fleet.join()


# --- who is sent away


HELLO = Hello(protocol=PROTOCOL, version="test", role="device", device=1)


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        (replace(HELLO, device=3), "the scenario has 0 to 2"),
        (replace(HELLO, role="driver"), "nothing to drive"),
        (replace(HELLO, protocol=PROTOCOL - 1), f"speaks {PROTOCOL}"),
        (replace(HELLO, device=0), "is here already"),
    ],
)
def test_who_may_not_take_part_is_told_why(
    scenario: Scenario, profile: Profile, hello: Hello, words: str
) -> None:
    with (
        serving(FleetServer(scenario, profile)) as server,
        contextlib.closing(FleetLink(server.endpoint, 0, None, PATIENCE_S)) as fleet,
        Link.connect(server.endpoint) as link,
    ):
        fleet.join()
        link.send(hello)
        answer = link.recv(PATIENCE_S).message
        assert isinstance(answer, Fault)
        assert words in answer.reason
        assert (set(server.present), server.refused) == ({0}, 1)


def test_a_peer_is_one_device_alone(scenario: Scenario, profile: Profile) -> None:
    with serving(FleetServer(scenario, profile)) as server:
        with Link.connect(server.endpoint) as link:
            for device in (1, 2):
                link.send(replace(HELLO, device=device))
            until(lambda: 1 in server.present)
        until(lambda: server.present == set())  # none of them is here for ever


def test_a_key_opens_its_own_name_alone(
    scenario: Scenario, profile: Profile, tmp_path: Path
) -> None:
    directory = tmp_path / "keys"
    command.new(["server", "device-0", "device-2"], directory)
    with serving(FleetServer(scenario, profile, keys=load_server(directory))) as server:
        fleet = FleetLink(server.endpoint, 1, load_client(directory, "device-2"), PATIENCE_S)
        with contextlib.closing(fleet), pytest.raises(RunError, match="listed as device-2"):
            fleet.join()
        assert server.present == set()


def test_a_device_that_lies_is_sent_away_and_the_others_go_on(
    scenario: Scenario, profile: Profile
) -> None:
    with (
        serving(FleetServer(scenario, profile)) as server,
        Link.connect(server.endpoint) as link,
    ):
        link.send(HELLO)
        assert isinstance(link.recv(PATIENCE_S).message, Welcome)
        assert isinstance(link.recv(PATIENCE_S).message, RoundStart)
        with boards(server.endpoint) as both:
            link.send(Report(telemetry=native(0, 0)))
            answer = link.recv(PATIENCE_S).message
            assert isinstance(answer, Fault)
            assert "another device" in answer.reason
            until(lambda: server.present == {0, 2})
            assert together(both, 2)[0][-1].source == "policy"
