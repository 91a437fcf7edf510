"""Micro-batches: what they train, in whose turn, and what is refused."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from adaptoff import config
from adaptoff.errors import BadTensor, Deadline, Malformed, RunError
from adaptoff.fleet import Rows
from adaptoff.messages import (
    Activations,
    Decision,
    Fault,
    Gradient,
    RoundStart,
    Row,
    Telemetry,
)  # fmt: skip
from adaptoff.profile import Codec, CodecCosts, Coded, Profile
from adaptoff.scenario import Scenario, Workload
from adaptoff.testbed import data, federate, models, played, rounds, server_round, split
from adaptoff.testbed.codec import decode, encode
from adaptoff.testbed.cpu import PacedCpu
from adaptoff.testbed.link import Received
from adaptoff.testbed.pipeline import Pipeline
from adaptoff.testbed.server_round import ServerRound
from adaptoff.testbed.session import Array, Session
from adaptoff.testbed.shapes import Shapes
from adaptoff.testbed.split import (
    DeviceHalf,
    FloatArray,
    Labels,
    ServerHalf,
    State,
    export_state,
    load_state,
    micro_batches,
)  # fmt: skip
from adaptoff.testbed.tracker import OwnCluster
from adaptoff.testbed.turns import FIRST, Place, Turns
from adaptoff.ways import Ways
from tests.testbed import test_live
from tests.testbed.test_live import PATIENCE_S, SEED, Bed, assert_equal

Batch = tuple[FloatArray, Labels]
RATE = {"learning_rate": 0.05, "momentum": 0.9}
WORK = Workload(batch_size=6, batches=2, min_cut=0, depths=(1, 3), codecs=("float32", "uint8"))
TWO_DEVICES = test_live.scenario()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    split.single_thread()
    yield
    torch.set_num_threads(threads)


def batches(count: int, size: int) -> list[Batch]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((size, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, size))
        for _ in range(count)
    ]


def train(state: State, name: str, row: Row, work: Sequence[Batch]) -> State:
    """One round in micro-batches, in this process; all forwards of a batch come first."""
    model = models.build(name, 0)
    load_state(model, state)
    device, server = DeviceHalf(model, row.cut, **RATE), ServerHalf(model, row.cut, **RATE)
    for images, labels in work:
        parts = micro_batches(len(labels), row.depth)
        sent = [device.forward(images[part]) for part in parts]
        for number, (part, activations) in enumerate(zip(parts, sent, strict=True)):
            share, last = len(activations) / len(labels), number == row.depth - 1
            through = _there(row.codec, activations)
            gradient, _ = server.step(through, labels[part], share, last)
            device.backward(None if gradient is None else _there(row.codec, gradient), last)
    return [array.copy() for array in export_state(model)]


def _there(codec: Codec, values: FloatArray) -> FloatArray:
    return decode(codec, encode(codec, values), values.shape)


def fresh(name: str) -> State:
    return [array.copy() for array in export_state(models.build(name, 1))]


def distance(state: State, other: State) -> float:
    pairs = zip(state, other, strict=True)
    return max(float(np.abs(mine - theirs).max()) for mine, theirs in pairs)


@pytest.mark.parametrize(("size", "depth"), [(48, 1), (48, 5), (7, 3), (16, 16)])
def test_a_batch_is_split_as_numpy_splits_an_array(size: int, depth: int) -> None:
    samples = np.arange(size)
    parts = [samples[part].tolist() for part in micro_batches(size, depth)]
    assert parts == [part.tolist() for part in np.array_split(samples, depth)]


@pytest.mark.parametrize("cut", [0, 1, 4, 6])
@pytest.mark.parametrize("depth", [2, 3])
def test_without_batch_norm_the_parts_of_a_batch_train_what_the_batch_does(
    cut: int, depth: int
) -> None:
    start, work = fresh("vgg5-nobn"), batches(3, size=7)
    whole = train(start, "vgg5-nobn", Row(cut=cut, opp=0), work)
    parts = train(start, "vgg5-nobn", Row(cut=cut, opp=0, depth=depth), work)
    assert distance(start, whole) > 1e-3
    assert distance(whole, parts) < 1e-5


def test_with_batch_norm_each_part_has_its_own_statistics_at_every_cut_alike() -> None:
    start, work = fresh("vgg5"), batches(2, size=6)
    whole = train(start, "vgg5", Row(cut=2, opp=0), work)
    at_2 = train(start, "vgg5", Row(cut=2, opp=0, depth=3), work)
    at_5 = train(start, "vgg5", Row(cut=5, opp=0, depth=3), work)
    for mine, theirs in zip(at_2, at_5, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert distance(whole, at_2) > 1e-4


def test_a_bad_part_changes_no_weight_even_after_good_ones() -> None:
    model, (images, labels) = models.build("vgg5-nobn", 1), batches(1, 6)[0]
    half = ServerHalf(model, 0, **RATE)
    before = [array.copy() for array in export_state(model)]
    half.step(images[:3], labels[:3], 0.5, last=False)
    with pytest.raises(BadTensor, match="loss is nan"):
        half.step(np.full_like(images[3:], np.nan), labels[3:], 0.5)
    assert distance(before, export_state(model)) == 0


# --- the device


class Cpu:
    """Says what it was charged with; what is not profiled takes 1 s."""

    def __init__(self) -> None:
        self.charged_s = 0.0
        self.blocks: list[float] = []

    @contextmanager
    def block(self, work_s: float | None = None) -> Iterator[None]:
        yield
        self.charged_s = 1.0 if work_s is None else work_s
        self.blocks.append(self.charged_s)


def pipeline(row: Row, answers: Sequence[int], log: list[str]) -> Pipeline:
    """One whose link and server are a list: parts are answered in the order of ``answers``."""
    sent: list[list[Array]] = []
    left = deque(answers)

    def send(message: Activations, arrays: list[Array]) -> None:
        log.append(f"send {message.part}")
        sent.append(arrays)

    def answer() -> tuple[Received, Gradient]:
        part = left.popleft()
        log.append(f"take {part}")
        message = Gradient(round=1, batch=0, part=part, uplink_s=2.0, server_s=3.0)
        return _received(message, sent[part][:-1]), message

    parts: Any = SimpleNamespace(
        cpu=Cpu(), link=SimpleNamespace(send=send), work_s=lambda _: 10.0, dilation=2.0,
        now_s=lambda: 0.0,
    )  # fmt: skip
    meter: Any = SimpleNamespace(server_s=0.0, downlink_s=0.0, uplink_s=0.0)
    half = DeviceHalf(models.build("vgg5", 1), row.cut, **RATE)
    return Pipeline(parts, meter, half, row, 1, answer)


def _received(message: Any, arrays: list[Array], peer: int = 0, at_s: float = 0.0) -> Received:
    return Received(peer, message, arrays, 0, at_s, at_s, None, 8.0)


def test_all_parts_are_sent_before_the_first_answer_is_waited_for() -> None:
    log: list[str] = []
    line = pipeline(Row(cut=2, opp=0, depth=3), [0, 1, 2], log)
    line.train(0, *batches(1, 6)[0])
    assert log == ["send 0", "send 1", "send 2", "take 0", "take 1", "take 2"]


@pytest.mark.parametrize("depth", [1, 3])
def test_a_batch_is_charged_with_the_work_of_its_row(depth: int) -> None:
    line = pipeline(Row(cut=2, opp=0, depth=depth), range(depth), [])
    line.train(0, *batches(1, 6)[0])
    assert line.parts.cpu.blocks[:depth] == [1.0] * depth
    assert sum(line.parts.cpu.blocks) == pytest.approx(10.0)
    assert len(set(line.parts.cpu.blocks[depth:])) == 1


def test_in_a_pipeline_the_server_tells_the_uplinks_seconds() -> None:
    line = pipeline(Row(cut=2, opp=0, depth=3), [0, 1, 2], [])
    line.train(0, *batches(1, 6)[0])
    meter = line.meter
    assert (meter.uplink_s, meter.server_s, meter.downlink_s) == (6.0, 9.0, 12.0)


def test_an_answer_out_of_order_ends_the_round() -> None:
    line = pipeline(Row(cut=2, opp=0, depth=3), [1, 0, 2], [])
    with pytest.raises(RunError, match="part 1 of batch 0, expected part 0 of batch 0"):
        line.train(0, *batches(1, 6)[0])


# --- the server


def session(row: Row, device: int = 0, work: Workload = WORK) -> Session:
    made = Session(
        device, 1, models.build("vgg5", 0), Shapes(models.build("vgg5", 0), work.batch_size),
        Ways(config.find_profile("vgg5"), work),
    )  # fmt: skip
    made.begin(Decision(device=device, round=1, row=row, source="server"), fresh("vgg5"))
    return made


def sent(row: Row, part: int = 0, size: int = 2) -> list[Array]:
    """What a device with this row would send."""
    shape = (size, *models.activation_shapes(models.build("vgg5", 0))[row.cut])
    values = np.random.default_rng(part).random(shape, np.float32)
    return [*encode(row.codec, values), np.zeros(size, np.int64)]


@contextmanager
def unpaced(row: Row, share: float) -> Iterator[None]:
    yield


DEEP = Row(cut=2, opp=0, depth=3)


@pytest.mark.parametrize("codec", ["float32", "uint8"])
def test_parts_and_batches_in_order_are_trained(codec: Codec) -> None:
    row = replace(DEEP, codec=codec)
    made = session(row)
    for batch in range(2):
        for part in range(3):
            made.arrive(Place(batch, part), sent(row, part))
        assert made.batches == batch
        for part in range(3):
            gradient = made.train(Place(batch, part), sent(row, part), unpaced)
            assert [a.dtype for a in gradient] == [a.dtype for a in sent(row)[:-1]]
    assert made.batches == 2
    made.finish(2, export_state(made.model[:2]))


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (0, (0, 1)),  # the first is missing
        (1, (0, 0)),  # twice
        (1, (0, 2)),
        (1, (1, 1)),
        (3, (0, 3)),  # one more than the depth
        (3, (1, 0)),  # of a batch that waits for the step
    ],
)
def test_parts_out_of_order_are_refused(before: int, then: tuple[int, int]) -> None:
    made = session(DEEP)
    for part in range(before):
        made.arrive(Place(0, part), sent(DEEP))
    with pytest.raises(Malformed, match=f"part {then[1]} of batch {then[0]} out of order"):
        made.arrive(Place(*then), sent(DEEP))


def test_no_batch_is_trained_beyond_the_last_and_weights_need_all_parts() -> None:
    made, row = session(replace(DEEP, depth=1)), replace(DEEP, depth=1)
    for batch in range(2):
        with pytest.raises(Malformed, match="before the last batch"):
            made.finish(2, export_state(made.model[:2]))
        made.arrive(Place(batch, 0), sent(row, size=6))
        made.train(Place(batch, 0), sent(row, size=6), unpaced)
    with pytest.raises(Malformed, match="out of order"):
        made.arrive(Place(2, 0), sent(row, size=6))


def test_what_waits_is_bounded_by_the_batch() -> None:
    too_much = [np.zeros((6, 32, 32, 32), np.float32), np.zeros(6, np.int64)]
    with pytest.raises(Malformed, match="bytes of activations"):
        session(DEEP).arrive(FIRST, too_much)


@pytest.mark.parametrize(
    "arrays",
    [
        sent(DEEP, size=3),
        sent(DEEP)[:1],
        sent(DEEP)[1:],
        [*sent(DEEP), np.zeros(1, np.float32)],
        [sent(DEEP)[0], np.zeros(3, np.int64)],
        [sent(DEEP)[0], np.zeros(2, np.float32)],
        [sent(DEEP)[0] * np.nan, np.zeros(2, np.int64)],
        sent(replace(DEEP, codec="uint8")),
    ],
)
def test_parts_of_another_size_kind_or_codec_change_no_weight(arrays: list[Array]) -> None:
    made = session(DEEP)
    with pytest.raises((Malformed, BadTensor)):
        made.train(FIRST, arrays, unpaced)
    assert distance(export_state(made.model), fresh("vgg5")) == 0


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (Row(cut=2, opp=0, depth=2), "depth 2: allowed: 1, 3, 4"),
        (Row(cut=2, opp=0, depth=4), "depth 4: a batch has 6 samples"),
        (Row(cut=2, opp=0, codec="float16"), "codec float16: allowed: float32, uint8"),
        (Row(cut=7, opp=0, depth=3), "native"),
        (Row(cut=7, opp=0, codec="uint8"), "native"),
    ],
)
def test_ways_that_the_scenario_does_not_have_are_refused(row: Row, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        session(row, work=replace(WORK, depths=(1, 3, 4)))


def test_a_codec_that_the_task_leaves_out_is_refused_though_the_scenario_names_it() -> None:
    """Nothing says what it costs there: figures that hold it could not be read."""
    work = replace(WORK, max_accuracy_drop=0.0, codecs=("float32", "float16"))
    with pytest.raises(Malformed, match="codec float16: allowed: float32"):
        session(Row(cut=2, opp=0, codec="float16"), work=work)


@pytest.mark.parametrize("lie", [{"depth": 1}, {"codec": "uint8"}])
def test_telemetry_of_another_way_is_refused(lie: dict[str, Any]) -> None:
    made = session(DEEP, work=replace(WORK, batches=0))
    made.finish(2, export_state(made.model[:2]))
    names = ("device_s", "uplink_s", "server_s", "downlink_s", "sync_s", "total_s", "energy_j")
    seen = Telemetry(
        device=0, round=1, cut=2, opp=0, depth=3, samples=0, up_bps=None, down_bps=None,
        temp_c=30.0, energy_source="modelled", **dict.fromkeys(names, 1.0),
    )  # fmt: skip
    with pytest.raises(Malformed, match="another device or row"):
        made.report(replace(seen, **lie))
    made.report(seen)
    assert made.done


def test_the_device_that_was_served_least_is_next() -> None:
    turns = Turns()
    for device in (0, 0, 0, 1, 2, 2):
        turns.add(device, _received(None, []))
    order = []
    while turns:
        device, _ = turns.take()
        turns.served(device, {0: 1.0, 1: 1.0, 2: 5.0}[device])
        order.append(device)
        if order == [0, 1]:
            turns.add(1, _received(None, []))  # served as little as 0, but it came later
    assert order == [0, 1, 2, 0, 1, 0, 2]


class Script:
    """A link to devices that have said all they say; what is after None comes a turn later."""

    def __init__(self, said: Sequence[Received | None]) -> None:
        self.said = deque(said)
        self.sent: list[tuple[int, Any]] = []

    def recv(self, timeout_s: float) -> Received:
        got = self.said.popleft() if self.said else None
        if got is None:
            raise Deadline("silence")
        return got

    def send(self, message: Any, arrays: Sequence[Array] = (), to: int = 0) -> None:
        if isinstance(message, Gradient | Fault):
            self.sent.append((to, message))


def serve(
    monkeypatch: pytest.MonkeyPatch, said: Sequence[Received | None], depth: int = 3
) -> Script:
    """A round of devices 0 and 1, peers 10 and 11, who say this; ``depth`` is that of 1."""
    clock = iter(range(1000))
    monkeypatch.setattr(server_round, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    link: Any = Script(said)
    sessions = {0: session(DEEP, 0), 1: session(replace(DEEP, depth=depth), 1)}
    start = RoundStart(round=1, seed=0, row=None, figures=None)
    ServerRound(
        number=1, link=link, cpu=PacedCpu(1.0, sleep=lambda _: None), dilation=2.0,
        work_s=lambda _: 3.0, weights=[], sessions=sessions, peers={0: 10, 1: 11},
        other=lambda _: None,
    ).run(dict.fromkeys(sessions, start), 500.0)  # fmt: skip
    script: Script = link
    return script


def said(device: int, part: int, batch: int = 0, size: int = 2) -> Received:
    message = Activations(round=1, batch=batch, part=part)
    return _received(message, sent(DEEP, part, size), peer=10 + device)


def test_a_device_with_many_parts_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = serve(monkeypatch, [said(0, 0), said(0, 1), said(0, 2), said(1, 0), said(1, 1)])
    assert [(to, answer.part) for to, answer in link.sent] == [
        (10, 0), (11, 0), (10, 1), (11, 1), (10, 2),
    ]  # fmt: skip


def test_a_whole_batch_counts_as_much_as_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    later = [said(1, 0, batch=1, size=6), said(0, 1), said(0, 2)]
    link = serve(monkeypatch, [said(1, 0, size=6), said(0, 0), None, *later], depth=1)
    assert [to for to, _ in link.sent] == [11, 10, 10, 10, 11]


def test_an_answers_seconds_begin_with_the_answer_before(monkeypatch: pytest.MonkeyPatch) -> None:
    link = serve(monkeypatch, [said(0, part) for part in range(3)])
    answers = [answer for _, answer in link.sent]
    assert [answer.uplink_s for answer in answers] == [4.0] * 3
    # all came at once: what the third waited for the second is no part of its seconds
    assert answers[1].server_s == answers[2].server_s > 0


def test_who_sends_more_than_its_depth_is_sent_away_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flood = [said(0, part) for part in range(3)] + [said(0, 3), said(0, 0, batch=1)]
    link = serve(monkeypatch, [*flood, said(1, 0)])
    assert [(to, type(word).__name__) for to, word in link.sent] == [
        (10, "Fault"),
        (11, "Gradient"),
    ]


def test_what_is_quick_to_answer_waits_for_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Decision(device=1, round=1, row=DEEP, source="server")
    link = serve(monkeypatch, [said(0, 0), _received(again, [], peer=11)])
    assert [(to, type(word)) for to, word in link.sent] == [(11, Fault), (10, Gradient)]


# --- both, over sockets


def scenario() -> Scenario:
    return replace(TWO_DEVICES, workload=WORK)


def profile(_: Scenario) -> Profile:
    plain = config.find_profile("vgg5")
    costs = CodecCosts(cuts=[Coded(up_bytes=1e5, down_bytes=1e5)] * 8, accuracy_drop=0.0)
    return replace(plain, codecs={"uint8": costs})


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    monkeypatch.setattr(test_live, "scenario", scenario)
    monkeypatch.setattr(config, "profile_of", profile)
    monkeypatch.setattr(rounds, "DEADLINE_MARGIN_S", PATIENCE_S)
    monkeypatch.setattr(played, "TOLERANCE", 1e6)
    bed = Bed(OwnCluster, 1.0)
    bed.join(0, 1)
    bed.drive()
    yield bed
    bed.close()


def reference(row: Row) -> State:
    """The same rounds in this process: native warm-up, then one round of two devices."""
    images, _ = data.load(WORK.dataset)
    shards = data.shards(images.labels, 2, 0)
    state = export_state(models.build(WORK.model, SEED))
    for round_, levers in enumerate([Row(cut=0, opp=0), row]):
        states = []
        for number in range(2):
            drawn = data.batches(
                images.take(shards[number]), SEED, number, round_, WORK.batch_size, WORK.batches
            )
            states.append(_trained(state, levers, list(drawn)))
        state = federate.average(states, [1, 1])
    return state


def _trained(state: State, row: Row, drawn: list[Batch]) -> State:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RATE, "learning_rate", WORK.learning_rate)
        return train(state, WORK.model, row, drawn)


@pytest.mark.parametrize(
    "row",
    [
        Row(cut=0, opp=1, depth=3),
        Row(cut=3, opp=1, depth=3),
        Row(cut=3, opp=1, codec="uint8"),
        Row(cut=2, opp=1, depth=3, codec="uint8"),
    ],
)
def test_a_round_over_the_wire_trains_the_same_weights(both: Bed, row: Row) -> None:
    both.live.reset(SEED, restart=True)
    number = Ways(both.live.welcome.profile, WORK).number(row)
    both.live.apply_each(Rows(np.full((1, 2), number), np.ones((1, 2), np.int64)))
    for seen in both.live.report.telemetry:
        assert (seen.cut, seen.depth, seen.codec) == (row.cut, row.depth, row.codec)
        assert seen.server_s > 0
    assert_equal(both.weights(), reference(row))
