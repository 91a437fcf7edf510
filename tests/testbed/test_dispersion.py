"""Rates of chunks that arrive on a made-up link, and of those that only seem to."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff.testbed.dispersion import CLOCKS_S, LEAST_BPS, MOST_BPS, Dispersion, Least, Recent
from adaptoff.testbed.wire import Data

KB = 1024
OFFSET_S = 777.0
"""between the clocks of sender and receiver"""


@dataclass
class Made:
    """A link of ``rate_bps`` with a queue, its clocks apart; ``measured`` are bytes and rates."""

    rate_bps: float = 8e6
    latency_s: float = 0.02
    free_s: float = 0.0

    def __post_init__(self):
        self.dispersion, self.measured = Dispersion(), []

    def carry(self, queued_s, nbytes, chunks=1, resent=False):
        for number in range(chunks):
            part = nbytes // chunks
            self.free_s = max(self.free_s, queued_s) + 8 * part / self.rate_bps
            data = Data(1, 0, 0, number * part, 1, nbytes, None if resent else queued_s)
            self.dispersion.add(data, part, self.free_s + self.latency_s + OFFSET_S)
        self.measured += filter(None, [self.dispersion.take()])

    @property
    def rates(self):
        return [rate_bps for _, rate_bps in self.measured]


def test_a_train_of_short_messages_has_the_links_rate():
    link = Made()
    for number in range(20):
        link.carry(0.001 * number, 30 * KB)
    assert len(link.rates) >= 8
    assert link.rates == pytest.approx([8e6] * len(link.rates))


def test_short_messages_add_up_until_they_are_enough():
    link = Made()
    for _ in range(5):
        link.carry(0.0, 10 * KB)
    assert link.measured == [(40 * KB, pytest.approx(8e6))]


@pytest.mark.parametrize("pause_s", [1e-3, 0.1, 60.0])
def test_messages_with_pauses_tell_nothing(pause_s):
    link, at_s = Made(), 0.0
    for _ in range(50):
        link.carry(at_s, 30 * KB)
        at_s = link.free_s + pause_s
    assert link.rates == []


def test_the_short_ends_of_messages_tell_nothing():
    link = Made()
    for number in range(50):
        link.carry(number, 24 * KB, chunks=2)
    assert link.rates == []


@pytest.mark.parametrize("latency_s", [0.0, 0.5])
def test_pauses_between_trains_do_not_count(latency_s):
    link = Made(latency_s=latency_s)
    for batch in range(10):
        for _ in range(4):
            link.carry(batch, 30 * KB)
    assert link.rates == pytest.approx([8e6] * len(link.rates))
    assert sum(nbytes for nbytes, _ in link.measured) >= 10 * 2 * 30 * KB


def test_messages_that_are_made_faster_than_they_travel_tell_it():
    link = Made()
    link.carry(0.0, 100)
    for number in range(8):
        link.carry(1.0 + 0.025 * number, 30 * KB)  # each takes 31 ms
    assert link.rates == pytest.approx([8e6] * 3)


def test_a_rate_that_falls_is_seen_where_the_old_one_left_pauses():
    link = Made(rate_bps=80e6)
    for number in range(60):
        link.rate_bps = 80e6 if number < 30 else 2e6
        link.carry(0.02 * number, 30 * KB)  # 3 ms, then 123 ms
    assert len(link.rates) >= 12
    assert link.rates == pytest.approx([2e6] * len(link.rates))


def test_a_long_message_tells_its_own_rate():
    link = Made()
    link.carry(0.0, 640 * KB, chunks=10)
    assert link.measured == [(9 * 64 * KB, pytest.approx(8e6))]


def test_a_short_one_right_behind_a_long_one_counts_whole():
    link = Made()
    link.carry(0.0, 100)
    link.carry(1.0, 640 * KB, chunks=10)
    link.carry(1.1, 40 * KB)
    assert link.measured[1] == (40 * KB, pytest.approx(8e6))


def test_tiny_messages_are_no_measure():
    link = Made()
    for _ in range(10_000):
        link.carry(0.0, 100)
    assert link.rates == []


def test_a_chunk_that_is_sent_again_voids_what_was_counted_and_its_message():
    link = Made()
    for _ in range(2):
        link.carry(0.0, 30 * KB)
    link.carry(0.0, 640 * KB, chunks=10, resent=True)
    assert link.rates == []
    for _ in range(3):
        link.carry(0.0, 30 * KB)
    assert link.measured == [(60 * KB, pytest.approx(8e6))]


def test_what_was_lost_voids_the_rest_of_its_message():
    dispersion = Dispersion()
    dispersion.add(Data(1, 0, 0, 0, 1, 640 * KB, 0.0), 64 * KB, 0.0)
    dispersion.disturb()
    for number in range(1, 10):
        dispersion.add(Data(1, number, 0, number * 64 * KB, 1, 640 * KB, 0.0), 64 * KB, number)
    assert dispersion.take() is None


def test_a_new_way_is_believed_when_the_old_one_is_forgotten():
    link = Made(latency_s=0.0)
    link.carry(0.0, 30 * KB)
    link.latency_s, at_s = 0.1, 0.1
    while at_s < 2.5 * CLOCKS_S:
        link.carry(at_s, 30 * KB)
        at_s += 0.05
    before = len(link.rates)
    assert before
    for number in range(100):
        link.carry(at_s + 0.05 * number, 30 * KB)
    assert len(link.rates) == before


def test_the_least_is_of_the_last_seconds():
    least = Least()
    assert least.value == math.inf
    least.add(1.0, 0.0)
    least.add(3.0, 0.9 * CLOCKS_S)
    assert least.value == 1.0
    least.add(4.0, 1.1 * CLOCKS_S)
    assert least.value == 1.0
    least.add(5.0, 2.2 * CLOCKS_S)
    assert least.value == 4.0
    least.add(6.0, 9.0 * CLOCKS_S)
    assert least.value == 6.0


def test_a_burst_after_a_stall_moves_the_recent_rate_little():
    recent = Recent()
    assert recent.add(500 * KB, 5e6) == pytest.approx(5e6)
    assert recent.add(32 * KB, 1e6) < 4e6
    assert recent.add(128 * KB, 3e9) < 10e6


def test_the_recent_rate_follows_a_change():
    recent = Recent()
    recent.add(500 * KB, 5e6)
    for _ in range(100):
        rate_bps = recent.add(64 * KB, 80e6)
    assert rate_bps == pytest.approx(80e6, rel=0.1)


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.floats(LEAST_BPS, MOST_BPS)), min_size=1))
def test_the_recent_rate_lies_between_those_measured(measured):
    recent = Recent()
    found = [recent.add(nbytes, rate_bps) for nbytes, rate_bps in measured]
    rates = [rate_bps for _, rate_bps in measured]
    assert min(rates) * 0.999 <= min(found)
    assert max(found) <= max(rates) * 1.001


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(0, 1e9),
            st.integers(0, 1 << 20),
            st.booleans(),
            st.floats(0, 1e-6) | st.floats(0, 1e6),
        )
    )
)
def test_whatever_a_peer_claims_a_rate_is_one_that_can_be_said(claims):
    dispersion, now_s = Dispersion(), 0.0
    for queued_s, nbytes, first, later_s in claims:
        now_s += later_s
        dispersion.add(Data(1, 0, 0, 0 if first else 1, 1, 1, queued_s), nbytes, now_s)
        measured = dispersion.take()
        if measured:
            assert measured[0] > 0
            assert LEAST_BPS <= measured[1] <= MOST_BPS


def test_who_hides_pauses_only_looks_slower():
    link = Made()
    for number in range(20):
        link.free_s = max(link.free_s, 0.1 * number)
        link.carry(0.0, 30 * KB)
    assert max(link.rates) < link.rate_bps
