"""Pacing, on a made-up clock."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff.testbed.pace import LATE_S, Pacer, choose_chunk_bytes

KB = 1024


def drive(pacer, sizes, ready_s, late_s=0.0):
    """Send chunks as the link does; returns when each one left."""
    now_s, left = ready_s, []
    for nbytes in sizes:
        pacer.start(nbytes, ready_s, now_s)
        while pacer.due_s(now_s) > now_s:
            now_s = pacer.wake_s(now_s) + late_s
        left.append(now_s)
    return left


def test_last_bytes_leave_at_the_rate():
    left = drive(Pacer(8e6), [100_000] * 5, ready_s=10.0)
    assert left == pytest.approx([10.1, 10.2, 10.3, 10.4, 10.5])


def test_late_wake_ups_do_not_add_up():
    left = drive(Pacer(8e6), [100_000] * 50, ready_s=0.0, late_s=0.005)
    assert left[-1] == pytest.approx(5.005)


def test_an_idle_link_saves_no_credit():
    pacer = Pacer(8e6)
    drive(pacer, [100_000], ready_s=0.0)
    assert drive(pacer, [100_000], ready_s=50.0) == pytest.approx([50.1])


def test_a_very_late_sender_is_not_paid_back():
    pacer = Pacer(8e6)
    pacer.start(100_000, 0.0, 3.0)
    assert pacer.due_s(3.0) == pytest.approx(3.1 - LATE_S)


def test_set_rate_counts_from_now():
    pacer = Pacer(8e6)
    pacer.start(1_000_000, 0.0, 0.0)
    pacer.set_rate(4e6, 0.5)
    assert pacer.due_s(0.5) == pytest.approx(1.5)


def test_rate_by_time_is_integrated():
    pacer = Pacer(lambda at_s: 8e6 if at_s < 0.5 else 2e6)
    assert drive(pacer, [1_000_000], ready_s=0.0) == pytest.approx([2.5], rel=0.02)


def test_an_outage_holds_back_and_ends():
    pacer = Pacer(lambda at_s: 0.0 if at_s < 2.0 else 8e6)
    assert drive(pacer, [100_000], ready_s=0.0) == pytest.approx([2.1], rel=0.01)
    stopped = Pacer(0.0)
    stopped.start(1, 0.0, 0.0)
    assert stopped.due_s(100.0) == math.inf
    stopped.set_rate(8.0, 100.0)
    assert stopped.due_s(100.0) == pytest.approx(101.0)


@given(
    st.lists(st.integers(1, 1 << 22), min_size=1, max_size=20),
    st.floats(1e5, 1e9),
    st.floats(0, 0.01),
)
def test_never_faster_than_the_rate(sizes, rate_bps, late_s):
    left = drive(Pacer(rate_bps), sizes, ready_s=1.0, late_s=late_s)
    wire_s = 8 * sum(sizes) / rate_bps
    assert left[-1] - 1.0 >= wire_s * (1 - 1e-9)
    assert left == sorted(left)


@pytest.mark.parametrize(
    ("rate_bps", "total_bytes", "chunk_bytes"),
    [
        (None, 10**7, 64 * KB),
        (1e6, 10**7, 64 * KB),
        (100e6, 10**8, 625_000),
        (100e9, 10**8, 4096 * KB),
        (100e9, 1_000_000, 250_000),
        (100e9, 100_000, 64 * KB),
    ],
)
def test_chunks_are_50_ms_within_bounds(rate_bps, total_bytes, chunk_bytes):
    assert choose_chunk_bytes(rate_bps, total_bytes) == chunk_bytes


@given(st.one_of(st.none(), st.floats(1, 1e12)), st.integers(256 * KB + 1, 1 << 28))
def test_large_messages_have_four_chunks(rate_bps, total_bytes):
    chunk_bytes = choose_chunk_bytes(rate_bps, total_bytes)
    assert 64 * KB <= chunk_bytes <= 4096 * KB
    assert math.ceil(total_bytes / chunk_bytes) >= 4
