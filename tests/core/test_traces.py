"""Bandwidth traces: both formats, blanks, repeats, and what a broken one says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adaptoff import traces
from adaptoff.errors import TraceError
from adaptoff.traces import FLOOR_BPS, Trace

HEAD = "t_s,up_mbps,down_mbps\n"
REAL = Path(__file__).parents[2].parent / "shared/data"


def load(tmp_path: Path, text: str) -> Trace:
    path = tmp_path / "trace"
    path.write_text(text, encoding="utf-8")
    return traces.load(path)


def check(trace: Trace) -> None:
    for rates in (trace.up_bps, trace.down_bps):
        assert rates.shape == trace.t_s.shape
        assert np.isfinite(rates).all()
        assert (rates >= FLOOR_BPS).all()
    assert trace.t_s[0] == 0
    assert trace.period_s > trace.t_s[-1]


def test_rates_hold_until_the_next_line_and_repeat(tmp_path: Path) -> None:
    trace = load(tmp_path, HEAD + "10,1,2\n12,3,4\n14,5,6\n")
    assert trace.period_s == 6
    assert trace.at(0) == trace.at(1.9) == (1e6, 2e6)
    assert trace.at(2) == (3e6, 4e6)
    assert trace.at(5.9) == (5e6, 6e6)
    assert trace.at(6) == trace.at(60) == (1e6, 2e6)
    assert trace.at(8) == (3e6, 4e6)


def test_a_blank_takes_the_other_direction_or_the_rate_before(tmp_path: Path) -> None:
    trace = load(tmp_path, HEAD + "0,,\n1,,2\n2,3,\n3,,\n4, ,nan\n5,7,8\n")
    assert trace.up_bps.tolist() == [2e6, 2e6, 3e6, 3e6, 3e6, 7e6]
    assert trace.down_bps.tolist() == [2e6, 2e6, 3e6, 3e6, 3e6, 8e6]


def test_an_outage_is_a_trickle(tmp_path: Path) -> None:
    trace = load(tmp_path, HEAD + "0,0,0\n1,0.001,1\n")
    assert trace.at(0) == (FLOOR_BPS, FLOOR_BPS)
    assert trace.at(1) == (FLOOR_BPS, 1e6)


def test_mahimahi_counts_packets_per_second(tmp_path: Path) -> None:
    """Ten packets in second 0, none in second 1, one in second 2."""
    trace = load(tmp_path, "\n".join(["100"] * 10 + ["2999"]) + "\n")
    assert trace.period_s == 3
    assert trace.at(0.5) == (120e3, 120e3)
    assert trace.at(1) == (FLOOR_BPS, FLOOR_BPS)
    assert trace.at(2) == trace.at(5) == (12e3, 12e3)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "must ascend"),
        ("1\ntwo\n", "neither a CSV trace nor whole milliseconds"),
        ("1.5\n", "neither a CSV trace nor whole milliseconds"),
        ("9" * 400, "neither a CSV trace nor whole milliseconds"),
        ("5\n4\n", "must ascend"),
        ("-5\n4\n", "must ascend"),
        ("5\n4000000000\n", "at most 10^9"),
        ("time,up,down\n1,2,3\n", "line 1: must be t_s,up_mbps,down_mbps"),
        (HEAD, "at least one measured rate"),
        (HEAD + "0,,\n1,,\n", "at least one measured rate"),
        (HEAD + "0,1,2\n0,1,2\n", "ascending times"),
        (HEAD + "0,1,2\n1,1\n", "line 3: must be three numbers"),
        (HEAD + "0,1,2,3\n", "line 2: must be three numbers"),
        (HEAD + "0,one,2\n", "line 2: must be three numbers"),
        (HEAD + "\n\n0,-1,2\n", "line 4: needs a time, and rates from 0 to"),
        (HEAD + "0,1,2\n,1,2\n", "line 3: needs a time"),
        (HEAD + "0,1,inf\n", "line 2: needs a time, and rates from 0 to"),
        (HEAD + "0,1e300,1\n", "line 2: needs a time, and rates from 0 to"),
        (HEAD + "-1e308,1,1\n", "line 2: needs a time"),
        (HEAD + '0,1,"' + "2" * 200_000, "not CSV"),
    ],
    ids=lambda value: value[:24],
)
def test_a_broken_trace_names_the_line(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(TraceError) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "trace") in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["absent", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        traces.load(tmp_path / name)


@given(junk=st.binary(max_size=100))
@example(junk=b"t_s,up_mbps,down_mbps\n0,1,2\x00\n")
@example(junk=b"\n,")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_loads_well_or_is_a_trace_error(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk"
    path.write_bytes(junk)
    try:
        check(traces.load(path))
    except TraceError as error:
        assert str(path) in str(error)  # noqa: PT017


CELL = st.one_of(st.just(""), st.floats(0, 1e6).map(str))


@given(
    times=st.lists(st.integers(-1000, 10**6), unique=True, min_size=1, max_size=30).map(sorted),
    data=st.data(),
    when=st.floats(0, 1e9),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rates_are_positive_and_finite(
    tmp_path: Path, times: list[int], data: st.DataObject, when: float
) -> None:
    lines = [f"{t},{data.draw(CELL)},{data.draw(CELL)}" for t in times] + ["2000000,1,1"]
    trace = load(tmp_path, HEAD + "\n".join(lines))
    check(trace)
    up, down = trace.at(when)
    assert up in trace.up_bps
    assert down in trace.down_bps


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no measured traces at {REAL}")
def test_all_measured_traces_load() -> None:
    files = sorted(REAL.glob("traces*/*.csv"))
    assert len(files) > 200
    for path in files:
        check(traces.load(path))
