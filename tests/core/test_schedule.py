"""Rates of links by round and time."""

from pathlib import Path

from msgspec.structs import replace

from adaptoff import schedule
from adaptoff.scenario import Link, Scenario, Step
from adaptoff.schedule import Schedule


def test_steps_hold_until_the_next_one() -> None:
    steps = [Step(up_mbps=50, down_mbps=40), Step(round=5, up_mbps=5, down_mbps=4)]
    link = Schedule(Link(steps=steps))
    assert link.rates_bps(0) == link.rates_bps(4, elapsed_s=1e6) == (50e6, 40e6)
    assert link.rates_bps(5) == link.rates_bps(1000) == (5e6, 4e6)


def test_a_trace_starts_each_round_at_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("t_s,up_mbps,down_mbps\n0,1,1\n10,2,2\n20,3,3\n")
    link = Schedule(Link(trace=str(path), trace_round_s=10))
    assert [link.rates_bps(i)[0] for i in range(4)] == [1e6, 2e6, 3e6, 1e6]
    assert link.rates_bps(0, elapsed_s=12.0) == (2e6, 2e6)


def test_nominal_conditions_are_the_scenario_s(scenario: Scenario) -> None:
    at = schedule.nominal(scenario, schedule.of_devices(scenario), 6)
    assert at.speed.tolist() == [[0.25, 0.25, 1.0]]
    assert at.up_bps.tolist() == [[5e6, 5e6, 8e6]]
    assert at.down_bps.tolist() == [[10e6, 10e6, 20e6]]
    assert (at.temp_c == 25).all()


def test_nominal_round_trips_are_those_of_the_links(scenario: Scenario) -> None:
    wifi = replace(scenario.links["wifi"], rtt_ms=40.0)
    slower = replace(scenario, links=scenario.links | {"wifi": wifi})
    at = schedule.nominal(slower, schedule.of_devices(slower), 0)
    assert at.rtt_s.tolist() == [[0.04, 0.04, 0.0]]


def test_loss_bounds_what_a_link_carries(scenario: Scenario) -> None:
    """50 Mbit/s with 60 ms and 1 %: 2.4 Mbit/s by the formula; the testbed's relay gave 2.5."""
    wifi = replace(scenario.links["wifi"], rtt_ms=60.0, loss=0.01)
    lossy = replace(scenario, links=scenario.links | {"wifi": wifi})
    at = schedule.nominal(lossy, schedule.of_devices(lossy), 0)
    assert 2.2e6 < at.up_bps[0, 0] < 2.5e6
    assert at.up_bps[0, 2] == 8e6
