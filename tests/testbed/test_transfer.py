"""Transfers on a made-up clock and a made-up, lossy link."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptoff.errors import Malformed, Oversize
from adaptoff.messages import Activations, Welcome
from adaptoff.profile import Cut, Profile
from adaptoff.scenario import Devices, Link, Scenario, Step
from adaptoff.testbed.transfer import MAX_BACKOFF, MIN_WINDOW_BYTES, Config, Receiver, Sender
from adaptoff.testbed.wire import Ack, Data, Limits, encode

KB = 1024


def message(number, nbytes):
    array = np.random.default_rng(number).integers(0, 255, nbytes).astype(np.uint8)
    return Activations(round=0, batch=number), array


def push(sender, number, nbytes, now_s=0.0):
    body, array = message(number, nbytes)
    return sender.push(encode(body, [array]), now_s)


class Pipe:
    """Sender and receiver with ``lose(kind)`` between them; one step is 10 ms."""

    def __init__(self, lose=lambda kind: False, admit=lambda nbytes: True):
        self.sender, self.receiver = Sender(Config()), Receiver(Limits())
        self.lose, self.admit = lose, admit
        self.now_s, self.got = 0.0, []

    def step(self):
        self.now_s += 0.01
        self.sender.check(self.now_s)
        chunk = self.sender.next_chunk()
        if chunk:
            self.sender.sent(self.now_s)
            if not self.lose("chunk"):
                self.carry(chunk)

    def carry(self, chunk):
        data, parts = chunk.envelope(1), chunk.parts()
        delivery = self.receiver.on_data(data, parts, self.now_s, self.admit)
        if delivery:
            self.got.append(delivery)
        if not self.lose("ack"):
            measured = (delivery.rate_bps, delivery.spread_bytes) if delivery else ()
            self.sender.on_ack(Ack(1, self.receiver.expected, None, *measured), self.now_s)

    def run(self, messages, until_s=600.0):
        while self.sender.acked_messages < messages and self.now_s < until_s:
            self.step()

    def check_got(self, sizes):
        assert [d.message.batch for d in self.got] == list(range(len(sizes)))
        for number, (delivery, nbytes) in enumerate(zip(self.got, sizes, strict=True)):
            assert np.array_equal(delivery.arrays[0], message(number, nbytes)[1])


SIZES = [10, 300 * KB, 0, 1000 * KB, 64 * KB]


def test_messages_arrive_in_order_and_are_acknowledged():
    pipe = Pipe()
    for number, nbytes in enumerate(SIZES):
        assert push(pipe.sender, number, nbytes) == number
    pipe.run(len(SIZES))
    pipe.check_got(SIZES)
    assert pipe.sender.queued_bytes == 0
    assert pipe.sender.resend_at_s() == math.inf
    assert pipe.sender.resends == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.4))
def test_losses_of_chunks_and_acks_are_made_good(seed, share):
    dice = np.random.default_rng(seed)
    pipe = Pipe(lose=lambda kind: dice.random() < share)
    for number, nbytes in enumerate(SIZES):
        push(pipe.sender, number, nbytes)
    pipe.run(len(SIZES), until_s=1e5)
    pipe.check_got(SIZES)
    assert pipe.sender.queued_bytes == 0


def test_one_lost_chunk_costs_one_resend():
    lost = iter([False, True])
    pipe = Pipe(lose=lambda kind: kind == "chunk" and next(lost, False))
    push(pipe.sender, 0, 500 * KB)
    pipe.run(1)
    pipe.check_got([500 * KB])
    assert pipe.sender.resends == 1


def test_a_disturbed_message_gives_no_rate():
    lost = iter([False, False, True])
    pipe = Pipe(lose=lambda kind: kind == "chunk" and next(lost, False))
    push(pipe.sender, 0, 500 * KB)
    push(pipe.sender, 1, 500 * KB)
    pipe.run(2)
    assert pipe.got[0].rate_bps is None
    assert pipe.got[1].rate_bps is not None


def test_rate_is_bytes_after_the_first_chunk_over_their_time():
    pipe = Pipe()
    push(pipe.sender, 0, 640 * KB)
    pipe.run(1)
    (delivery,) = pipe.got
    chunks = math.ceil(delivery.nbytes / (64 * KB))
    assert delivery.spread_bytes == delivery.nbytes - 64 * KB
    assert delivery.rate_bps == pytest.approx(8 * delivery.spread_bytes / (0.01 * (chunks - 1)))
    assert pipe.sender.rate_bps == pytest.approx(delivery.rate_bps)


def test_short_messages_give_no_rate():
    pipe = Pipe()
    push(pipe.sender, 0, 70 * KB)
    pipe.run(1)
    assert pipe.got[0].rate_bps is None
    assert pipe.sender.rate_bps is None


def test_short_messages_in_a_row_give_a_rate():
    pipe = Pipe()
    for number in range(10):
        push(pipe.sender, number, 30 * KB)
    pipe.run(10)
    pipe.check_got([30 * KB] * 10)
    measured = [d for d in pipe.got if d.rate_bps]
    assert len(measured) >= 4
    for delivery in measured:
        assert delivery.rate_bps == pytest.approx(8 * delivery.nbytes / 0.01)
        assert delivery.spread_bytes >= 32 * KB
    assert pipe.sender.rate_bps == pipe.receiver.rate_bps
    assert pipe.sender.rate_bps == pytest.approx(measured[-1].rate_bps)


def test_short_messages_with_pauses_give_no_rate():
    pipe = Pipe()
    for number in range(10):
        push(pipe.sender, number, 30 * KB, pipe.now_s + 0.001)
        pipe.run(number + 1)
    assert len(pipe.got) == 10
    assert pipe.receiver.rate_bps is None


def test_the_wait_for_a_resend_counts_in_no_rate():
    lost = iter([False, False, True])
    pipe = Pipe(lose=lambda kind: kind == "chunk" and next(lost, False))
    for number in range(3):
        push(pipe.sender, number, 30 * KB)
    pipe.run(3)
    assert pipe.sender.resends == 1
    assert pipe.receiver.rate_bps is None
    for number in range(3, 9):
        push(pipe.sender, number, 30 * KB, pipe.now_s)
    pipe.run(9)
    pipe.check_got([30 * KB] * 9)
    assert pipe.receiver.rate_bps == pytest.approx(8 * pipe.got[-1].nbytes / 0.01)


def test_chunks_say_when_their_message_was_queued_unless_sent_again():
    sender = Sender(Config())
    push(sender, 0, 70 * KB, 5.0)
    push(sender, 1, 10 * KB, 5.25)
    said = [sender.next_chunk().envelope(1).queued_s for _ in range(3)]
    assert said == [0.0, 0.0, 0.25]
    sender.on_ack(Ack(1, 1), 5.5)
    sender.check(1e6)
    said = [sender.next_chunk().envelope(1).queued_s for _ in range(2)]
    assert said == [None, 0.25]


def test_the_window_bounds_what_is_outstanding():
    sender = Sender(Config())
    push(sender, 0, 20 * MIN_WINDOW_BYTES)
    sent = 0
    while chunk := sender.next_chunk():
        sent += chunk.nbytes
    assert MIN_WINDOW_BYTES <= sent < MIN_WINDOW_BYTES + 128 * KB
    sender.on_ack(Ack(1, 1), 0.1)
    assert sender.next_chunk() is not None


def test_resends_wait_for_the_outstanding_bytes_and_back_off():
    config = Config(dilation=2.0)
    sender = Sender(config)
    push(sender, 0, 10 * KB)
    chunk = sender.next_chunk()
    sender.sent(5.0)
    wait_s = 2.0 * config.resend_s + 8 * chunk.nbytes / (config.floor_bps / 2.0)
    assert sender.resend_at_s() == pytest.approx(5.0 + wait_s)
    sender.check(5.0 + wait_s - 0.001)
    assert sender.next_chunk() is None
    for attempt in range(1, 10):
        sender.check(1e6)
        assert sender.next_chunk() == chunk
        sender.sent(5.0)
        backoff = min(2**attempt, MAX_BACKOFF)
        assert sender.resend_at_s() == pytest.approx(5.0 + wait_s * backoff)


def test_refused_messages_come_again():
    room = iter([False, False, True])
    pipe = Pipe(admit=lambda nbytes: next(room))
    push(pipe.sender, 0, 200 * KB)
    pipe.run(1)
    pipe.check_got([200 * KB])


def test_an_acknowledgement_of_the_future_is_malformed():
    sender = Sender(Config())
    push(sender, 0, 10)
    sender.next_chunk()
    with pytest.raises(Malformed):
        sender.on_ack(Ack(1, 2), 0.0)


def test_an_acknowledgement_of_nothing_measured_says_no_rate():
    sender = Sender(Config())
    push(sender, 0, 10)
    sender.next_chunk()
    sender.on_ack(Ack(1, 1, 0, 1e13, 0), 0.0)
    assert sender.rate_bps is None


def test_an_old_acknowledgement_does_nothing():
    pipe = Pipe()
    push(pipe.sender, 0, 200 * KB)
    pipe.run(1)
    assert pipe.sender.on_ack(Ack(1, 0), pipe.now_s) == 0
    assert pipe.sender.acked_messages == 1


def test_an_oversize_claim_is_refused_for_good():
    claim = Data(1, 0, 0, 0, 10, 1 << 40)
    with pytest.raises(Oversize):
        Receiver(Limits()).on_data(claim, [bytes(10)], 0.0, lambda nbytes: False)


def test_a_header_larger_than_a_chunk_travels_whole():
    body = Welcome(
        scenario=Scenario(
            name="long",
            boards={},
            links={"l": Link(steps=[Step(round=i, up_mbps=1, down_mbps=1) for i in range(1000)])}
            | {f"{i:040d}": Link() for i in range(1000)},
            devices=[Devices(board="b", link="l")],
        ),
        profile=Profile("p", 1, "none", [Cut("a", 1, 1, 1, 1, 1, 1), Cut("b", 1, 1, 1, 1, 1, 1)]),
        dilation=1.0,
        paced=True,
    )
    pipe = Pipe()
    encoded = encode(body, [np.arange(9, dtype=np.int64)])
    assert encoded.header_bytes > 64 * KB
    pipe.sender.push(encoded, 0.0)
    pipe.run(1)
    assert pipe.got[0].message == body
    assert np.array_equal(pipe.got[0].arrays[0], np.arange(9))
