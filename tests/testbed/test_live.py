"""Whole rounds over real sockets: a server and two devices, each in a thread of its own."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import gymnasium
import numpy as np
import pytest

from adaptoff import config, figures
from adaptoff.controller import Controller, decide, guard
from adaptoff.envs.episode import Episode
from adaptoff.errors import AdaptoffError, LinkError, Malformed, RunError
from adaptoff.fleet import Rows
from adaptoff.messages import (
    GONE,
    PROTOCOL,
    Bye,
    Decision,
    Hello,
    RoundStart,
    Row,
    RunRound,
    Telemetry,
)  # fmt: skip
from adaptoff.observation import FEATURES
from adaptoff.policy import Policy
from adaptoff.scenario import Board, Devices, Link, Opp, Scenario, Step, Workload
from adaptoff.testbed import data, device, federate, models
from adaptoff.testbed.link import Link as Wire
from adaptoff.testbed.live import LiveFleet
from adaptoff.testbed.server import Server
from adaptoff.testbed.session import Session, Shapes
from adaptoff.testbed.split import State, export_state, load_state, single_thread, train_unsplit
from tests.envs.contract import check_backend

SEED = 5


def scenario() -> Scenario:
    opps = [
        Opp(mhz=600, relative_speed=0.5, dynamic_w=1.0),
        Opp(mhz=1200, relative_speed=1.0, dynamic_w=4.0),
    ]
    return Scenario(
        name="two",
        workload=Workload(batch_size=4, batches=2, min_cut=0),
        boards={"a": Board(speed=0.8, opps=opps), "b": Board(speed=0.4, opps=opps)},
        links={"l": Link(steps=[Step(up_mbps=400, down_mbps=400)])},
        devices=[Devices(board="a", link="l"), Devices(board="b", link="l")],
    )


def greedy() -> Policy:
    """Scores a row by its predicted cost alone."""
    weight = np.zeros((len(FEATURES), 1), np.float32)
    weight[FEATURES.index("cost_over_best_if_others_stay")] = -1
    return Policy([(weight, np.zeros(1, np.float32))])


class Bed:
    """The processes of a testbed, as threads."""

    def __init__(self) -> None:
        single_thread()
        self.scenario = scenario()
        self.server = Server(self.scenario, config.profile_of(self.scenario))
        self.threads = [self._start(self.server.serve)]
        self.live: LiveFleet

    def join(self, *numbers: int) -> None:
        for number in numbers:
            self.threads.append(
                self._start(lambda n=number: device.run(self.server.endpoint, n, greedy()))
            )

    def weights(self) -> State:
        return [array.copy() for array in export_state(self.server._rounds._model)]

    def _start(self, work: object) -> threading.Thread:
        def quiet() -> None:
            with suppress(LinkError, RunError):
                work()  # type: ignore[operator]

        thread = threading.Thread(target=quiet, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        if hasattr(self, "live"):
            self.live.close()
        self.server.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def bed() -> Iterator[Bed]:
    testbed = Bed()
    yield testbed
    testbed.close()


@pytest.fixture
def both(bed: Bed) -> Bed:
    bed.join(0, 1)
    bed.live = LiveFleet(bed.server.endpoint)
    return bed


def everywhere(live: LiveFleet, cut: int, opp: int = 1) -> Rows:
    shape = live.fleet.shape
    return Rows(np.full(shape, cut), np.full(shape, opp))


def reference(rounds: int) -> State:
    """The same federated training without wire, server or cut, warm-up included."""
    work = scenario().workload
    train, _ = data.load(work.dataset)
    shards = data.shards(train.labels, 2, 0)
    state = export_state(models.build(work.model, SEED))
    for round_ in range(rounds + 1):
        states = []
        for number in range(2):
            model = models.build(work.model, 0)
            load_state(model, state)
            shard = train.take(shards[number])
            batches = data.batches(shard, SEED, number, round_, work.batch_size, work.batches)
            train_unsplit(model, batches, work.learning_rate, work.momentum)
            states.append(export_state(model))
        state = federate.average(states, [1, 1])
    return state


def assert_equal(got: State, wanted: State) -> None:
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)


def test_every_cut_over_the_wire_trains_the_same_weights(both: Bed) -> None:
    wanted = reference(rounds=1)
    for cut in range(8):
        both.live.reset(SEED, restart=True)
        both.live.apply(everywhere(both.live, cut))
        assert [t.cut for t in both.live.report.telemetry] == [cut, cut]
        assert_equal(both.weights(), wanted)


def test_changing_cuts_between_rounds_changes_no_weight(both: Bed) -> None:
    both.live.reset(SEED, restart=True)
    for cuts in ([1, 5], [7, 0], [3, 3]):
        both.live.apply(Rows(np.array([cuts]), np.array([[1, 0]])))
    assert_equal(both.weights(), reference(rounds=3))


def test_a_round_tells_what_was_measured(both: Bed) -> None:
    outcome = both.live.reset(SEED)
    report = both.live.report
    assert report.round == 0
    assert [t.samples for t in report.telemetry] == [8, 8]
    assert (outcome.device_s > 0).all()
    parts = outcome.device_s + outcome.uplink_s + outcome.server_s + outcome.downlink_s
    assert (parts + outcome.sync_s <= outcome.total_s * 1.01).all()
    assert outcome.round_s[0] >= outcome.total_s.max() * 0.99
    assert outcome.up_bps == pytest.approx(400e6, rel=0.3)
    assert (outcome.energy_j > 0).all()


def test_an_offloading_round_has_link_and_server_seconds(both: Bed) -> None:
    both.live.reset(SEED)
    outcome = both.live.apply(everywhere(both.live, 2))
    for seconds in (outcome.uplink_s, outcome.server_s, outcome.downlink_s):
        assert (seconds > 0).all()


def test_devices_decide_what_the_server_would(both: Bed) -> None:
    both.live.reset(SEED)
    for _ in range(2):
        told = both.live.report.figures
        seen = figures.view(both.scenario, both.live.welcome.profile, told)
        rows = decide(seen.fleet, seen.state, greedy()).rows
        both.live.apply_local()
        decisions = sorted(both.live.report.decisions, key=lambda d: d.device)
        assert {d.source for d in decisions} <= {"policy", "planner"}
        assert [d.row.cut for d in decisions] == rows.cut[0, told.clusters].tolist()
        assert [d.row.opp for d in decisions] == rows.opp[0, told.clusters].tolist()


def test_a_device_that_dies_in_a_round_does_not_end_it(bed: Bed) -> None:
    bed.join(0)
    with Wire.connect(bed.server.endpoint) as mortal:
        mortal.send(Hello(protocol=PROTOCOL, version="", role="device", device=1))
        mortal.recv(30)
        bed.live = LiveFleet(bed.server.endpoint)
        ends = threading.Thread(target=_die_in_first_round, args=(mortal,))
        ends.start()
        bed.live.reset(SEED)
        ends.join()
    assert [t.device for t in bed.live.report.telemetry] == [0]
    bed.live.apply(everywhere(bed.live, 7))
    assert [t.device for t in bed.live.report.telemetry] == [0]


def _die_in_first_round(mortal: Wire) -> None:
    while True:
        message = mortal.recv(30).message
        mortal.send(message) if not isinstance(message, RoundStart) else None
        if isinstance(message, RoundStart):
            row = Row(cut=7, opp=1)
            mortal.send(Decision(device=1, round=0, row=row, source="server"))
            mortal.recv(30)
            mortal.close()
            return


def test_a_late_device_is_left_out_and_comes_back(bed: Bed) -> None:
    bed.join(0, 1)
    bed.live = LiveFleet(bed.server.endpoint)
    bed.live.reset(SEED)
    rounds = bed.server._rounds
    rounds._deadline_s = lambda: 0.0  # type: ignore[method-assign]
    bed.live.apply(everywhere(bed.live, 7))
    assert bed.live.report.late == [0, 1]
    assert bed.live.report.telemetry == []
    del rounds._deadline_s  # type: ignore[misc]
    bed.live.apply(everywhere(bed.live, 7))
    assert [t.round for t in bed.live.report.telemetry] == [2, 2]


def test_a_device_that_left_may_come_back(bed: Bed) -> None:
    bed.join(0)
    with Wire.connect(bed.server.endpoint) as mortal:
        mortal.send(Hello(protocol=PROTOCOL, version="", role="device", device=1))
        mortal.recv(30)
        bed.live = LiveFleet(bed.server.endpoint)
        ends = threading.Thread(target=_die_in_first_round, args=(mortal,))
        ends.start()
        bed.live.reset(SEED)
        ends.join()
    bed.join(1)
    while 1 not in bed.server._devices:
        bed.live.apply(everywhere(bed.live, 7))
    for _ in range(2):
        bed.live.apply(everywhere(bed.live, 2))
    assert [t.cut for t in bed.live.report.telemetry] == [2, 2]
    assert GONE not in bed.live.report.figures.clusters


@pytest.mark.parametrize(
    "lie", [{"device": 1}, {"opp": 9}, {"cut": 3}, {"samples": 1}, {"samples": 2**31 - 1}]
)
def test_telemetry_that_cannot_be_true_is_refused(lie: dict[str, int]) -> None:
    work = scenario().workload
    model = models.build(work.model, 0)
    session = Session(0, 2, model, Shapes(model, work.batch_size), work)
    start = export_state(models.build(work.model, 1))
    weights = session.begin(
        Decision(device=0, round=1, row=Row(cut=7, opp=1), source="policy"), start
    )
    session.finish(7, weights)
    told = {"device": 0, "cut": 7, "opp": 1, "samples": work.batches * work.batch_size}
    with pytest.raises(Malformed):
        session.report(telemetry(**told | lie))
    session.report(telemetry(**told))
    assert session.done


def telemetry(**told: int) -> Telemetry:
    seconds = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s", "total_s", "energy_j")
    return Telemetry(
        **told,
        **dict.fromkeys(seconds, 1.0),
        round=1,
        up_bps=None,
        down_bps=None,
        temp_c=30.0,
        energy_source="modelled",
    )


@pytest.mark.parametrize("row", [Row(cut=8, opp=0), Row(cut=7, opp=2)])
def test_decisions_outside_the_tables_are_refused(row: Row) -> None:
    work = scenario().workload
    model = models.build(work.model, 0)
    session = Session(0, 2, model, Shapes(model, work.batch_size), work)
    decision = Decision(device=0, round=1, row=row, source="policy")
    with pytest.raises(Malformed):
        session.begin(decision, export_state(model))


def test_a_cut_outside_the_table_is_the_drivers_error_alone(both: Bed) -> None:
    both.live.reset(SEED)
    with pytest.raises(RunError, match="0 to 7"):
        both.live.apply(everywhere(both.live, 8))
    both.live.apply(everywhere(both.live, 2))
    assert [t.cut for t in both.live.report.telemetry] == [2, 2]


def test_a_server_that_goes_ends_the_run(both: Bed) -> None:
    both.live.reset(SEED)
    both.server.close()
    with pytest.raises(LinkError, match=r"server is gone|closed"):
        both.live.apply(everywhere(both.live, 7))


def test_strangers_are_refused(both: Bed) -> None:
    both.live.reset(SEED)
    with pytest.raises(RunError, match="driver already"):
        LiveFleet(both.server.endpoint)
    with pytest.raises(RunError, match="0 to 1"):
        device.run(both.server.endpoint, 2, greedy())
    with pytest.raises(RunError, match="here already"):
        device.run(both.server.endpoint, 1, greedy())


def test_a_peer_that_is_no_driver_commands_nothing(both: Bed) -> None:
    both.live.reset(SEED)
    with Wire.connect(both.server.endpoint) as stranger:
        stranger.send(RunRound(rows=None))
        stranger.send(Bye())
        both.live.apply(everywhere(both.live, 7))
    assert both.live.report.round == 1


def test_watch_is_asked_while_waiting(both: Bed) -> None:
    class ChildDied(AdaptoffError):
        pass

    def died() -> None:
        raise ChildDied

    both.live.reset(SEED)
    both.live._watch = died
    with pytest.raises(ChildDied):
        both.live.apply_local()


def test_a_live_fleet_has_nothing_to_say_before_its_reset(both: Bed) -> None:
    with pytest.raises(RunError, match="before its first reset"):
        _ = both.live.fleet


def test_the_live_fleet_keeps_the_contract_of_backends(bed: Bed) -> None:
    bed.join(0, 1)
    bed.live = LiveFleet(bed.server.endpoint)
    check_backend(bed.live)


def test_the_live_environment_runs_an_episode(bed: Bed) -> None:
    bed.join(0, 1)
    made = gymnasium.make("adaptoff/LiveFleet-v0", endpoint=bed.server.endpoint, rounds=2)
    seen, _ = made.reset(seed=SEED, options={"restart": True})
    assert made.observation_space.contains(seen)
    rewards, ends = [], []
    for _ in range(2):
        seen, reward, terminated, truncated, _ = made.step(made.action_space.sample())
        assert made.observation_space.contains(seen)
        rewards.append(reward)
        ends.append((terminated, truncated))
    assert all(reward < 0 for reward in rewards)
    assert ends == [(False, False), (False, True)]
    made.close()


def test_the_environment_and_a_device_choose_alike(both: Bed) -> None:
    episode = Episode(both.live, guard=True)
    episode.reset(SEED)
    policy = greedy()
    for _ in range(2):
        index = policy.choose(episode.observe(), episode.table.valid)
        table, told = episode.table, both.live.report.figures
        rows = guard(episode.fleet, episode.state, table, index).rows
        decisions = [
            Controller(number, both.scenario, both.live.welcome.profile, policy).next(
                told.round + 1, told
            )
            for number in range(2)
        ]
        assert [d.row.cut for d in decisions] == rows.cut[0, told.clusters].tolist()
        assert [d.row.opp for d in decisions] == rows.opp[0, told.clusters].tolist()
        episode.step(index)
