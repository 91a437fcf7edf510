"""Whole rounds over real sockets: a server and two devices, each in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import gymnasium
import numpy as np
import pytest
from msgspec import structs

from adaptoff import config, controller, cost, figures
from adaptoff.controller import Controller, decide, guard
from adaptoff.envs.episode import Episode
from adaptoff.errors import AdaptoffError, LinkError, Malformed, RunError
from adaptoff.fleet import Floats, Rows
from adaptoff.foresight import foresee
from adaptoff.messages import (
    GONE,
    PROTOCOL,
    Bye,
    Decision,
    Hello,
    Reset,
    RoundStart,
    Row,
    RunRound,
    Telemetry,
)  # fmt: skip
from adaptoff.observation import FEATURES, observe
from adaptoff.policy import Policy
from adaptoff.policy_store import PolicyStore
from adaptoff.scenario import Board, Devices, Link, Opp, Scenario, Step, Workload
from adaptoff.testbed import data, device, federate, models, played, rounds, server
from adaptoff.testbed.link import Link as Wire
from adaptoff.testbed.live import LiveFleet
from adaptoff.testbed.server import Server
from adaptoff.testbed.session import Session, Shapes
from adaptoff.testbed.split import State, export_state, load_state, single_thread, train_unsplit
from adaptoff.testbed.tracker import Clusterer, OwnCluster
from adaptoff.ways import Ways
from tests.envs.contract import check_backend

SEED = 5
PATIENCE_S = 30.0


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
    weight[FEATURES.index("cost_over_best")] = -1
    return Policy([(weight, np.zeros(1, np.float32))])


class OneCluster:
    """Unlike boards in one cluster."""

    def assign(self, features: Floats) -> Sequence[int]:
        return [0] * len(features)


class Bed:
    """The processes of a testbed, as threads; one that ends as it should not fails the test."""

    def __init__(
        self, clusterer: Callable[[], Clusterer], dilation: float,
        policies: PolicyStore | None = None,
    ) -> None:  # fmt: skip
        single_thread()
        self.scenario = scenario()
        profile = config.profile_of(self.scenario)
        self.server = Server(
            self.scenario, profile, dilation, clusterer=clusterer, policies=policies
        )
        self.threads: list[threading.Thread] = []
        self.failures: list[Exception] = []
        self.live: LiveFleet
        self.start(self._serve)

    def join(self, *numbers: int) -> None:
        """Start devices and wait until they are known: one that never met its server waits on."""
        for number in numbers:
            self.start(lambda n=number: device.run(self.server.endpoint, n, greedy()))
        until(lambda: self.server._devices.keys() >= set(numbers))

    def drive(self) -> LiveFleet:
        self.live = LiveFleet(self.server.endpoint)
        return self.live

    def weights(self) -> State:
        return [array.copy() for array in export_state(self.server._rounds._model)]

    def start(self, work: Callable[[], None]) -> None:
        def watched() -> None:
            try:
                work()
            except RunError:
                pass  # peers that go, on purpose
            except Exception as error:
                self.failures.append(error)

        thread = threading.Thread(target=watched, daemon=True)
        thread.start()
        self.threads.append(thread)

    def _serve(self) -> None:
        # a server that is left open after an error would go on beating, and the others waiting
        with self.server:
            self.server.serve()

    def close(self) -> None:
        # in threads of their own: what hangs in here must fail the test, not hang with it
        if hasattr(self, "live"):
            self.start(self.live.close)
            self.threads[-1].join(PATIENCE_S)
        self.start(self.server.close)
        until(lambda: not any(thread.is_alive() for thread in self.threads))
        assert self.failures == []


@pytest.fixture
def lay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bed]]:
    """Makes testbeds in which no device is late because this host is busy."""
    monkeypatch.setattr(rounds, "DEADLINE_MARGIN_S", PATIENCE_S)
    made: list[Bed] = []

    def make(clusterer: Callable[[], Clusterer] = OwnCluster, dilation: float = 1.0) -> Bed:
        made.append(Bed(clusterer, dilation))
        return made[-1]

    yield make
    for testbed in made:
        testbed.close()


@pytest.fixture
def bed(lay: Callable[..., Bed]) -> Bed:
    return lay()


@pytest.fixture
def both(bed: Bed) -> Bed:
    bed.join(0, 1)
    bed.drive()
    return bed


@pytest.fixture
def bereaved(bed: Bed) -> Bed:
    """Device 1 has died in the warm-up round."""
    bed.join(0)
    bed.start(lambda: die_in_first_round(bed.server.endpoint))
    bed.drive().reset(SEED)
    return bed


def die_in_first_round(endpoint: str) -> None:
    with Wire.connect(endpoint) as mortal:
        mortal.send(Hello(protocol=PROTOCOL, version="", role="device", device=1))
        while not isinstance(message := mortal.recv(PATIENCE_S).message, RoundStart):
            if isinstance(message, Reset):
                mortal.send(message)
        row = Row(cut=7, opp=1)
        mortal.send(Decision(device=1, round=0, row=row, source="server"))
        mortal.recv(PATIENCE_S)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def everywhere(driver: LiveFleet, cut: int, opp: int = 1) -> Rows:
    shape = driver.fleet.shape
    return Rows(np.full(shape, cut), np.full(shape, opp))


def reference(rounds: int) -> State:
    """The same federated training without wire, server or cut, warm-up included."""
    return trained([(0, 1)] * (rounds + 1), SEED)


def trained(rounds: Sequence[Sequence[int]], seed: int) -> State:
    """Weights of this seed after rounds of the devices named."""
    work = scenario().workload
    train, _ = data.load(work.dataset)
    shards = data.shards(train.labels, 2, 0)
    state = export_state(models.build(work.model, seed))
    for round_, present in enumerate(rounds):
        states = []
        for number in present:
            model = models.build(work.model, 0)
            load_state(model, state)
            shard = train.take(shards[number])
            batches = data.batches(shard, SEED, number, round_, work.batch_size, work.batches)
            train_unsplit(model, batches, work.learning_rate, work.momentum)
            states.append(export_state(model))
        state = federate.average(states, [1] * len(states))
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
    # a busy host blurs so short a transfer; how exact rates are is tested on a made-up clock
    assert (np.abs(np.log10(outcome.up_bps / 400e6)) < 1).all()
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
        assert [d.row.cut for d in decisions] == rows.way[0, told.clusters].tolist()
        assert [d.row.opp for d in decisions] == rows.opp[0, told.clusters].tolist()


def test_a_device_that_dies_in_a_round_does_not_end_it(bereaved: Bed) -> None:
    assert [t.device for t in bereaved.live.report.telemetry] == [0]
    bereaved.live.apply(everywhere(bereaved.live, 7))
    assert [t.device for t in bereaved.live.report.telemetry] == [0]


def test_a_late_device_is_left_out_and_comes_back(
    both: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.live.reset(SEED)
    with monkeypatch.context() as hasty:
        hasty.setattr(both.server._rounds, "_deadline_s", lambda: 0.0)
        both.live.apply(everywhere(both.live, 7))
    assert both.live.report.late == [0, 1]
    assert both.live.report.telemetry == []
    both.live.apply(everywhere(both.live, 7))
    assert [t.round for t in both.live.report.telemetry] == [2, 2]


def test_a_late_device_is_taken_for_as_slow_as_the_round_it_missed(
    both: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.live.reset(SEED)
    monkeypatch.setattr(both.server._rounds, "_deadline_s", lambda: 2.0)
    monkeypatch.setattr(Session, "report", lambda session, seen: None)
    both.live.apply(everywhere(both.live, 2))
    report, profile = both.live.report, both.live.welcome.profile
    assert report.late == [0, 1]
    told = [(t.cut, t.opp, t.total_s) for t in report.figures.telemetry]
    assert told == [(2, 1, report.round_s)] * 2  # the rows that came before they were late
    seen = figures.view(both.scenario, profile, report.figures)
    expected_s = cost.joint(seen.fleet, seen.state, seen.state.rows).total_s
    assert (expected_s >= 0.99 * report.round_s).all()


def test_who_leaves_or_joins_changes_what_is_averaged_alone(bereaved: Bed) -> None:
    assert_equal(bereaved.weights(), trained([(0,)], 0))
    bereaved.join(1)
    bereaved.live.apply(everywhere(bereaved.live, 2))
    assert_equal(bereaved.weights(), trained([(0,), (0, 1)], 0))


def test_a_round_too_much_for_this_host_is_run_again_from_the_same_weights(
    both: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.live.reset(SEED, restart=True)
    monkeypatch.setattr(played, "TOLERANCE", -1.0)
    both.live.apply(everywhere(both.live, 3))
    report = both.live.report
    assert (report.valid, report.attempts, report.round) == (False, rounds.ATTEMPTS, 1)
    assert_equal(both.weights(), reference(rounds=1))
    monkeypatch.setattr(played, "TOLERANCE", 1e6)
    both.live.apply(everywhere(both.live, 3))
    report = both.live.report
    assert (report.valid, report.attempts, report.round) == (True, 1, 2)


def test_a_device_that_left_may_come_back(bereaved: Bed) -> None:
    bereaved.join(1)
    for _ in range(2):
        bereaved.live.apply(everywhere(bereaved.live, 2))
    assert [t.cut for t in bereaved.live.report.telemetry] == [2, 2]
    assert GONE not in bereaved.live.report.figures.clusters


@pytest.mark.parametrize(
    "lie", [{"device": 1}, {"opp": 9}, {"cut": 3}, {"samples": 1}, {"samples": 2**31 - 1}]
)
def test_telemetry_that_cannot_be_true_is_refused(lie: dict[str, int]) -> None:
    work = scenario().workload
    model = models.build(work.model, 0)
    session = Session(
        0, 2, model, Shapes(model, work.batch_size), Ways(config.find_profile(work.model), work)
    )
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
    session = Session(
        0, 2, model, Shapes(model, work.batch_size), Ways(config.find_profile(work.model), work)
    )
    decision = Decision(device=0, round=1, row=row, source="policy")
    with pytest.raises(Malformed):
        session.begin(decision, export_state(model))


def test_a_cut_outside_the_table_is_the_drivers_error_alone(both: Bed) -> None:
    both.live.reset(SEED)
    with pytest.raises(RunError, match="0 to 7"):
        both.live.apply(everywhere(both.live, 8))
    both.live.apply(everywhere(both.live, 2))
    assert [t.cut for t in both.live.report.telemetry] == [2, 2]


def test_devices_of_one_cluster_may_be_given_rows_of_their_own(lay: Callable[..., Bed]) -> None:
    bed = lay(OneCluster)
    bed.join(0, 1)
    bed.drive().reset(SEED)
    bed.live.apply_each(Rows(np.array([[1, 5]]), np.array([[0, 1]])))
    assert [(t.cut, t.opp) for t in bed.live.report.telemetry] == [(1, 0), (5, 1)]
    with pytest.raises(RunError, match="1 rows for device 1"):
        bed.live.apply_each(Rows(np.array([[1]]), np.array([[0]])))


def test_a_late_answer_is_not_taken_for_the_next_one(both: Bed) -> None:
    both.live.reset(SEED)
    both.live._watch = give_up
    rows = everywhere(both.live, 7)
    for opp in (0, 9):  # the second answer will be a fault
        with pytest.raises(GaveUp):
            both.live.apply(Rows(rows.way, np.full_like(rows.opp, opp)))
    both.live._watch = lambda: None
    both.live.apply(everywhere(both.live, 2))
    assert both.live.report.round == 2
    assert [t.cut for t in both.live.report.telemetry] == [2, 2]


def test_who_did_not_come_is_named(
    lay: Callable[..., Bed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "JOIN_S", 0.1)
    bed = lay(dilation=2.0)
    bed.join(1)
    with pytest.raises(RunError, match=r"devices 0 did not join within 0\.2 s"):
        bed.drive().reset(SEED)


def test_an_answer_to_an_earlier_reset_does_not_count(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "JOIN_S", 2.0)
    bed.start(lambda: answer_reset(bed.server.endpoint, 0))
    bed.start(lambda: answer_reset(bed.server.endpoint, 1, late_by=1))
    with pytest.raises(RunError, match="devices 1 did not reset within"):
        bed.drive().reset(SEED)


def answer_reset(endpoint: str, number: int, late_by: int = 0) -> None:
    with Wire.connect(endpoint) as link:
        link.send(Hello(protocol=PROTOCOL, version="", role="device", device=number))
        while not isinstance(message := link.recv(PATIENCE_S).message, Reset):
            pass
        link.send(structs.replace(message, command=message.command - late_by))
        link.recv(PATIENCE_S)  # stay until the server goes


def test_a_server_that_goes_ends_the_run(both: Bed) -> None:
    both.live.reset(SEED)
    both.server.close()
    with pytest.raises(LinkError, match=r"server is gone|closed"):
        both.live.apply(everywhere(both.live, 7))


def test_strangers_are_refused(both: Bed) -> None:
    both.live.reset(SEED)
    with pytest.raises(RunError, match="driver already"):
        LiveFleet(both.server.endpoint)
    with pytest.raises(RunError, match=r"^device 2: the server refused: device 2: .* 0 to 1$"):
        device.run(both.server.endpoint, 2, greedy())
    with pytest.raises(RunError, match="here already"):
        device.run(both.server.endpoint, 1, greedy())


def test_a_peer_that_is_no_driver_commands_nothing(both: Bed) -> None:
    both.live.reset(SEED)
    with Wire.connect(both.server.endpoint) as stranger:
        stranger.send(RunRound(command=9))
        stranger.send(Bye())
        both.live.apply(everywhere(both.live, 7))
    assert both.live.report.round == 1


class GaveUp(AdaptoffError):
    pass


def give_up() -> None:
    raise GaveUp


def test_watch_is_asked_while_waiting(both: Bed) -> None:
    both.live.reset(SEED)
    both.live._watch = give_up
    with pytest.raises(GaveUp):
        both.live.apply_local()


def test_a_live_fleet_has_nothing_to_say_before_its_reset(both: Bed) -> None:
    with pytest.raises(RunError, match="before its first reset"):
        _ = both.live.fleet


def test_the_live_fleet_keeps_the_contract_of_backends(both: Bed) -> None:
    check_backend(both.live)


def test_the_live_environment_runs_an_episode(bed: Bed) -> None:
    bed.join(0, 1)
    options = {"endpoint": bed.server.endpoint, "rounds": 2}
    with closing(gymnasium.make("adaptoff/LiveFleet-v0", **options)) as made:
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


@pytest.mark.parametrize("clusterer", [OwnCluster, OneCluster])
def test_the_driver_sees_what_a_device_sees(
    lay: Callable[..., Bed], clusterer: Callable[[], Clusterer]
) -> None:
    bed = lay(clusterer)
    bed.join(0, 1)
    episode = Episode(bed.drive())
    episode.reset(SEED)
    for _ in range(2):
        seen = figures.view(bed.scenario, bed.live.welcome.profile, bed.live.report.figures)
        theirs = observe(foresee(seen.fleet, seen.state))
        np.testing.assert_array_equal(episode.observe(), theirs)
        mine = decide(episode.fleet, episode.state, greedy()).rows
        clusters = bed.live.report.figures.clusters
        bed.live.apply_local()
        decisions = sorted(bed.live.report.decisions, key=lambda d: d.device)
        assert [d.row.cut for d in decisions] == mine.way[0, clusters].tolist()
        assert [d.row.opp for d in decisions] == mine.opp[0, clusters].tolist()
        episode.run(mine)


def test_the_environment_and_a_device_choose_alike(
    both: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for changes of little gain, which a device does not make."""
    monkeypatch.setattr(controller, "LEAST_GAIN", -np.inf)
    episode = Episode(both.live, guard=True)
    episode.reset(SEED)
    policy = greedy()
    for _ in range(2):
        index = policy.choose(episode.observe(), episode.table.valid)
        told = both.live.report.figures
        rows = guard(episode.sight, index).rows
        decisions = [
            Controller(number, both.scenario, both.live.welcome.profile, policy).next(
                told.round + 1, told
            )
            for number in range(2)
        ]
        assert [d.row.cut for d in decisions] == rows.way[0, told.clusters].tolist()
        assert [d.row.opp for d in decisions] == rows.opp[0, told.clusters].tolist()
        episode.step(index)
