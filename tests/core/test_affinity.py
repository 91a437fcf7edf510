"""Where the clock that the table means ticks, there the process runs; and afterwards anywhere."""

import errno
import logging
import os
import threading
from collections.abc import Set
from pathlib import Path

import pytest

from adaptoff.affinity import Scheduler, fast_cpus, pinned
from adaptoff.domains import discover
from tests import boards

LITTLE, BIG = {0, 1, 2, 3}, {64, 65}
"""no host of these tests has the big ones"""


class FakeScheduler(Scheduler):
    """Three threads, of which the last may not run on big cores."""

    def __init__(self) -> None:
        self.masks = {7: LITTLE | BIG, 8: LITTLE | BIG, 9: {0, 1}}
        self.refuses: dict[int, type[OSError]] = {}

    def threads(self) -> list[int]:
        return list(self.masks)

    def allowed(self, thread: int) -> set[int]:
        if error := self.refuses.get(thread):
            raise error(errno.ESRCH, os.strerror(errno.ESRCH))
        return set(self.masks[thread or 7])

    def allow(self, thread: int, cpus: Set[int]) -> None:
        if error := self.refuses.get(thread):
            raise error(errno.EPERM, os.strerror(errno.EPERM))
        self.masks[thread] = set(cpus)


def domain(
    root: Path, number: int, khz: list[int], cpus: set[int], file: str = "affected_cpus"
) -> None:
    boards.files(boards.policy(root, number, khz), **{file: " ".join(map(str, sorted(cpus)))})


@pytest.mark.parametrize("file", ["affected_cpus", "related_cpus"])
def test_the_fastest_domain_s_cpus_are_found(tmp_path: Path, file: str) -> None:
    domain(tmp_path, 0, boards.LITTLE_KHZ, LITTLE, file)
    domain(tmp_path, 4, [500_000, 2_000_000], BIG, file)
    boards.gpu(tmp_path / "devfreq", [500_000_000, 2_500_000_000])
    assert fast_cpus(discover(tmp_path, tmp_path / "devfreq")) == BIG


def test_cores_that_are_switched_off_do_not_count(tmp_path: Path) -> None:
    domain(tmp_path, 0, boards.PI_KHZ, {0, 2})
    domain(tmp_path, 0, boards.PI_KHZ, {0, 1, 2, 3}, "related_cpus")
    assert fast_cpus(discover(tmp_path, tmp_path)) == {0, 2}


def test_cores_with_a_clock_each_are_all_fast_if_they_are_alike(tmp_path: Path) -> None:
    for cpu, top_khz in enumerate([4_900_000, 5_000_000, 3_800_000]):
        domain(tmp_path, cpu, [800_000, top_khz], {cpu})
    assert fast_cpus(discover(tmp_path, tmp_path)) == {0, 1}


def test_a_domain_that_does_not_name_its_cpus_leaves_all_open(tmp_path: Path) -> None:
    domain(tmp_path, 0, [500_000, 2_000_000], BIG)
    boards.policy(tmp_path, 4, [500_000, 2_100_000])
    assert fast_cpus(discover(tmp_path, tmp_path)) == set()


def test_all_threads_are_pinned_and_put_back() -> None:
    scheduler = FakeScheduler()
    before = dict(scheduler.masks)
    with pinned(BIG, scheduler):
        assert scheduler.masks == {7: BIG, 8: BIG, 9: {0, 1}}
        scheduler.masks[10] = BIG  # begun meanwhile
        del scheduler.masks[8]
        del before[8]
    assert scheduler.masks == before | {10: LITTLE | BIG}


def test_they_are_put_back_after_an_exception() -> None:
    scheduler = FakeScheduler()
    before = dict(scheduler.masks)
    with pytest.raises(ZeroDivisionError), pinned(BIG, scheduler):
        raise ZeroDivisionError
    assert scheduler.masks == before


@pytest.mark.parametrize("cpus", [{70, 71}, set()])
def test_cpus_that_are_not_there_pin_nothing(
    cpus: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = FakeScheduler()
    before = dict(scheduler.masks)
    with caplog.at_level(logging.WARNING), pinned(cpus, scheduler):
        assert scheduler.masks == before
    assert "not pinned" in caplog.text


def test_what_the_kernel_refuses_is_said_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler = FakeScheduler()
    with caplog.at_level(logging.WARNING), pinned(BIG, scheduler):
        scheduler.refuses[7] = PermissionError
    assert "Operation not permitted" in caplog.text
    assert scheduler.masks[8] == LITTLE | BIG


def test_a_thread_that_ends_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = FakeScheduler()
    scheduler.refuses[8] = ProcessLookupError
    with caplog.at_level(logging.WARNING), pinned(BIG, scheduler):
        assert scheduler.masks[7] == BIG
    assert not caplog.records


def test_the_kernel_pins_every_thread() -> None:
    scheduler, end = Scheduler(), threading.Event()
    own = scheduler.allowed(0)
    if len(own) < 2:
        pytest.skip("this process may run on one CPU only")
    with_one = {max(own)}
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pinned(with_one, scheduler):
            masks = [scheduler.allowed(number) for number in scheduler.threads()]
            assert len(masks) >= 2
            assert all(mask == with_one for mask in masks)
        assert scheduler.allowed(thread.native_id or 0) == scheduler.allowed(0) == own
    finally:
        end.set()
        thread.join()
