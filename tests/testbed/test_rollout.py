"""A policy reaches all devices or none, and what is wrong with one is told."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptoff import config, policy
from adaptoff.adopting import Adoption
from adaptoff.controller import Controller
from adaptoff.messages import (
    AnyMessage,
    Bye,
    Decision,
    NewPolicy,
    PolicyAnswer,
    RoundStart,
    UsePolicy,
    Welcome,
)  # fmt: skip
from adaptoff.observation import FEATURES, SCHEMA
from adaptoff.policy_store import CURRENT, PolicyStore
from adaptoff.testbed import device, rounds
from adaptoff.testbed.link import Link
from adaptoff.testbed.rollout import Rollout
from adaptoff.testbed.tracker import OwnCluster
from tests.testbed.test_live import PATIENCE_S, SEED, Bed, greedy, scenario, until


def saved(path: Path, bias: float) -> bytes:
    """The shipped policy with another last bias."""
    own = policy.default()
    weight, _ = own.layers[-1]
    layers = [*own.layers[:-1], (weight, np.array([bias], np.float32))]
    policy.save(replace(own, layers=layers), path)
    return path.read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def first(tmp_path: Path) -> bytes:
    return saved(tmp_path / "first.safetensors", 1.0)


@pytest.fixture
def second(tmp_path: Path) -> bytes:
    return saved(tmp_path / "second.safetensors", 2.0)


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "policies")


class Fleet:
    """Devices that answer at once, as long as they are told nothing else."""

    def __init__(self, store: PolicyStore) -> None:
        self.rollout = Rollout(store, self._take)
        self.refusing: set[int] = set()
        self.silent: set[int] = set()
        self.offered: list[tuple[int, str]] = []
        self.used: list[tuple[int, str]] = []

    def _take(self, peer: int, message: AnyMessage, arrays: object) -> None:
        if isinstance(message, UsePolicy):
            self.used.append((peer, message.sha256))
        elif isinstance(message, NewPolicy):
            self.offered.append((peer, message.sha256))
            if peer not in self.silent:
                refused = "field schema" if peer in self.refusing else ""
                self.rollout.heard(peer, PolicyAnswer(sha256=message.sha256, refused=refused))


def test_all_use_what_all_could(store: PolicyStore, first: bytes) -> None:
    fleet = Fleet(store)
    fleet.rollout.tend([1, 2])
    assert fleet.offered == []  # there is nothing in the directory
    store.take(first)
    fleet.rollout.tend([1, 2])
    fleet.rollout.tend([1, 2])
    assert fleet.offered == fleet.used == [(1, digest(first)), (2, digest(first))]


def test_nobody_uses_what_one_has_not_answered(store: PolicyStore, first: bytes) -> None:
    fleet = Fleet(store)
    fleet.silent = {2}
    store.take(first)
    fleet.rollout.tend([1, 2])
    assert fleet.used == []
    fleet.rollout.heard(2, PolicyAnswer(sha256="0" * 64))  # of another policy
    fleet.rollout.tend([1, 2])
    assert fleet.used == []
    fleet.rollout.tend([1])  # the silent one is gone
    assert fleet.used == [(1, digest(first))]


def test_nobody_uses_what_one_refuses(store: PolicyStore, first: bytes, second: bytes) -> None:
    fleet = Fleet(store)
    store.take(first)
    fleet.rollout.tend([1, 2])
    store.take(second)
    fleet.refusing = {2}
    fleet.rollout.tend([1, 2])
    fleet.rollout.tend([1, 2, 3])  # who joins now is given what the others have
    assert digest(second) not in dict(fleet.used).values()
    assert (3, digest(first)) in fleet.used


def test_who_joins_late_and_refuses_stops_nobody(store: PolicyStore, first: bytes) -> None:
    fleet = Fleet(store)
    store.take(first)
    fleet.rollout.tend([1])
    fleet.refusing = {2}
    fleet.rollout.tend([1, 2])
    fleet.rollout.tend([1, 2, 3])
    assert fleet.used == [(1, digest(first)), (3, digest(first))]


def test_one_command_takes_it_back(store: PolicyStore, first: bytes, second: bytes) -> None:
    fleet = Fleet(store)
    for data in (first, second):
        store.take(data)
        fleet.rollout.tend([1])
    store.back()
    fleet.rollout.tend([1])
    assert [sha256 for _, sha256 in fleet.used] == [digest(first), digest(second), digest(first)]


def test_a_broken_file_is_not_offered(
    store: PolicyStore, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.take(first)
    (store.directory / CURRENT).write_bytes(first[:-1])
    fleet = Fleet(store)
    fleet.rollout.tend([1])
    fleet.rollout.tend([1])
    assert fleet.offered == []
    assert caplog.text.count("nothing new for the devices") == 1


@pytest.fixture
def controller() -> Controller:
    scenario = config.load("demo")
    return Controller(0, scenario, config.profile_of(scenario), policy.default())


def offer(data: bytes) -> tuple[NewPolicy, list[np.ndarray]]:
    return NewPolicy(sha256=digest(data)), [np.frombuffer(data, np.uint8)]


def test_a_policy_is_used_when_the_server_says_so(
    controller: Controller, store: PolicyStore, first: bytes
) -> None:
    adoption = Adoption(controller, store)
    before = controller.policy
    assert adoption.check(*offer(first)) == PolicyAnswer(sha256=digest(first))
    assert controller.policy is before
    adoption.use(UsePolicy(sha256="0" * 64))
    assert controller.policy is before
    adoption.use(UsePolicy(sha256=digest(first)))
    assert controller.policy.layers[-1][1] == 1.0
    assert store.current().layers[-1][1] == 1.0


def of_schema(*numbers: int) -> list[bytes]:
    return [f'"schema": "{number}"'.encode() for number in numbers]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda data: data[:-1], "not a policy file"),
        (lambda data: data.replace(*of_schema(SCHEMA, SCHEMA - 1)), "field schema"),
        (lambda data: data.replace(FEATURES[0].encode(), b"x" * len(FEATURES[0]), 1), "features"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "field sha256"),
        (lambda data: b"", "not a policy file"),
    ],
)
def test_what_is_no_policy_is_refused_and_counted(
    controller: Controller, first: bytes, spoil: Callable[[bytes], bytes], field: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    adoption, before = Adoption(controller), controller.policy
    spoilt = spoil(first)
    answers = [adoption.check(*offer(spoilt)) for _ in range(2)]
    assert all(field in answer.refused for answer in answers)
    adoption.use(UsePolicy(sha256=digest(spoilt)))
    assert controller.policy is before
    assert controller.guards.counts["policy-refused"] == 2
    assert caplog.text.count("guard policy-refused: the server's policy") == 1


def test_bytes_of_another_digest_or_type_are_refused(controller: Controller, first: bytes) -> None:
    adoption = Adoption(controller)
    message, arrays = offer(first)
    other = NewPolicy(sha256="0" * 64)
    assert "sha256" in adoption.check(other, arrays).refused
    assert adoption.check(message, []).refused
    assert adoption.check(message, [arrays[0].astype(np.float32)]).refused


@pytest.fixture
def bed(store: PolicyStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    """A server that hands out what is in ``store``; nobody is late."""
    monkeypatch.setattr(rounds, "DEADLINE_MARGIN_S", PATIENCE_S)
    laid = Bed(OwnCluster, 1.0, store)
    yield laid
    laid.close()


def test_devices_of_a_testbed_take_a_policy_and_give_it_back(
    bed: Bed, store: PolicyStore, tmp_path: Path, first: bytes, second: bytes
) -> None:
    boards = [PolicyStore(tmp_path / f"board-{number}") for number in range(2)]

    def start(number: int) -> Callable[[], None]:
        at, own = bed.server.endpoint, boards[number]
        return lambda: device.run(at, number, greedy(), store=own)

    def biases() -> list[float]:
        return [float(board.current().layers[-1][1][0]) for board in boards]

    store.take(first)
    for number in range(2):
        bed.start(start(number))
    driver = bed.drive()
    driver.reset(SEED)
    driver.apply_local()
    until(lambda: biases() == [1.0, 1.0])
    store.take(second)
    for _ in range(2):  # it is offered before the first, and used before the second
        driver.apply_local()
    assert biases() == [2.0, 2.0]
    store.back()
    for _ in range(2):
        driver.apply_local()
    assert biases() == [1.0, 1.0]
    assert [decision.source for decision in driver.report.decisions] == ["policy"] * 2


def test_a_late_device_is_told_as_well(store: PolicyStore, first: bytes) -> None:
    """It waits for weights that never come: the server has gone on to the next round."""
    task = scenario()
    welcome = Welcome(scenario=task, profile=config.profile_of(task), dilation=1.0, paced=False)
    with Link.bind() as server, ThreadPoolExecutor(1) as pool:
        late = pool.submit(device.run, server.endpoint, 0, greedy(), store=store)
        peer = server.recv(PATIENCE_S).peer
        server.send(welcome, to=peer)
        message, arrays = offer(first)
        server.send(message, arrays, to=peer)
        assert server.recv(PATIENCE_S).message == PolicyAnswer(sha256=digest(first))
        server.send(RoundStart(round=0, seed=0, row=None, figures=None), to=peer)
        assert isinstance(server.recv(PATIENCE_S).message, Decision)
        server.send(UsePolicy(sha256=digest(first)), to=peer)
        server.send(Bye(), to=peer)
        late.result(PATIENCE_S)
    assert store.current().layers[-1][1] == 1.0
