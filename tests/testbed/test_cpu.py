"""Emulated clocks, on a fake clock and once on the real one."""

import time

import pytest

from adaptoff.testbed.cpu import PacedCpu, choose_dilation, free_cores


class Host:
    """A fake host: computing advances both clocks, waiting only the wall's."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.wall_s = 100.0
        self.cpu_s = 5.0
        self.late_s = late_s

    def compute(self, cpu_s: float, stolen_s: float = 0.0) -> None:
        self.cpu_s += cpu_s
        self.wall_s += cpu_s + stolen_s

    def sleep(self, span_s: float) -> None:
        self.wall_s += span_s + self.late_s

    def cpu(self, speed: float, dilation: float = 1.0) -> PacedCpu:
        return PacedCpu(speed, dilation, lambda: self.wall_s, lambda: self.cpu_s, self.sleep)


@pytest.mark.parametrize(("speed", "dilation"), [(0.25, 1.0), (0.25, 3.0), (1.0, 2.0), (0.5, 1.5)])
def test_a_block_takes_what_the_slow_core_would(speed, dilation):
    host = Host()
    cpu = host.cpu(speed, dilation)
    for _ in range(3):
        with cpu.block():
            host.compute(0.2)
    assert host.wall_s - 100.0 == pytest.approx(3 * 0.2 * dilation / speed)
    busy = cpu.take()
    assert busy.cpu_s == pytest.approx(0.6)
    assert busy.wall_s == pytest.approx(0.6 / speed)
    assert busy.error == pytest.approx(1.0)


def test_profiled_work_does_not_depend_on_what_it_took_here():
    host = Host()
    cpu = host.cpu(0.5)
    for taken_s in (0.1, 0.15):
        with cpu.block(work_s=0.2):
            host.compute(taken_s)
    assert cpu.charged_s == 0.2
    busy = cpu.take()
    assert busy.wall_s == pytest.approx(0.8)
    assert busy.error == pytest.approx(1.0)


def test_time_stolen_within_the_sleep_does_no_harm():
    host = Host()
    cpu = host.cpu(0.5)
    with cpu.block():
        host.compute(0.1, stolen_s=0.05)
    assert cpu.take().error == pytest.approx(1.0)


def test_an_overloaded_host_shows_as_error():
    host = Host()
    cpu = host.cpu(0.5)
    with cpu.block():
        host.compute(0.1, stolen_s=0.2)
    busy = cpu.take()
    assert busy.error == pytest.approx(0.3 / 0.2)
    assert busy.wall_s == pytest.approx(0.3)


def test_late_sleeps_show_as_error():
    host = Host(late_s=0.02)
    cpu = host.cpu(0.5)
    with cpu.block():
        host.compute(0.1)
    assert cpu.take().error == pytest.approx(1.1)


def test_a_late_sleep_is_made_up_for_once():
    host = Host(late_s=0.02)
    cpu = host.cpu(1.0)
    with cpu.block(0.01):
        host.compute(0.002)
    host.late_s = 0.0
    for _ in range(20):
        with cpu.block(0.01):
            host.compute(0.002)
    busy = cpu.take()
    assert busy.wall_s == pytest.approx(0.21)  # all in all as asked
    assert busy.error == pytest.approx(1.0)
    with cpu.block(0.01):
        host.compute(0.002)
    assert cpu.take().wall_s == pytest.approx(0.01)  # and nothing is owed any more


def test_speed_changes_from_the_next_block_on():
    host = Host()
    cpu = host.cpu(1.0)
    with cpu.block():
        host.compute(0.1)
    cpu.speed = 0.1
    with cpu.block():
        host.compute(0.1)
    assert cpu.take().wall_s == pytest.approx(1.1)


def test_take_starts_anew():
    host = Host()
    cpu = host.cpu(0.5)
    with cpu.block():
        host.compute(0.1)
    cpu.take()
    assert cpu.take() == (0.0, 0.0, 1.0)


def test_a_block_that_raises_is_not_counted():
    host = Host()
    cpu = host.cpu(0.1)
    with pytest.raises(KeyError), cpu.block():
        {}[host.compute(0.1)]
    assert host.wall_s == pytest.approx(100.1)
    assert cpu.take().cpu_s == 0.0


def test_on_the_real_clock():
    cpu = PacedCpu(0.2)
    start_s = time.perf_counter()
    with cpu.block():
        sum(range(200_000))
    wall_s = time.perf_counter() - start_s
    busy = cpu.take()
    assert busy.cpu_s > 0
    assert busy.cpu_s / 0.2 * (1 - 1e-6) <= busy.wall_s <= wall_s


@pytest.mark.parametrize(
    ("total_speed", "server_speed", "cores", "dilation"),
    [(0.5, 1.0, 2, 1.0), (3.0, 1.0, 2, 4 / 1.7), (3.0, 1.0, 0.5, 4 / 0.425)],
)
def test_dilation_fits_the_demand(total_speed, server_speed, cores, dilation):
    assert choose_dilation(total_speed, server_speed, cores) == pytest.approx(dilation)


def test_free_cores_is_within_the_host():
    assert 0.0 <= free_cores(0.05) <= 4096
