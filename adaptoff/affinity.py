"""The CPUs that this process may run on while its clocks are set: the fast ones.

The OPP table's MHz are those of the fastest frequency domain. A training thread that is put on a
small core runs at a speed of which neither the table nor the telemetry knows.
"""

import logging
import os
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

from adaptoff.domains import Domain
from adaptoff.sysfs import whole

log = logging.getLogger(__name__)

AS_FAST = 0.9
"""of the fastest domain's top speed; a domain that reaches it is as fast"""
FILES = ("affected_cpus", "related_cpus")
"""who shares the clock: those that are online, and all"""


class Scheduler:
    """The kernel's, thread by thread; tests put another in its place."""

    def threads(self) -> list[int]:
        """Of this process."""
        return [int(path.name) for path in Path("/proc/self/task").iterdir()]

    def allowed(self, thread: int) -> set[int]:
        """CPUs that it may run on; 0 is the calling thread. Raises OSError."""
        return os.sched_getaffinity(thread)

    def allow(self, thread: int, cpus: Set[int]) -> None:
        """Let it run on these. Raises OSError."""
        os.sched_setaffinity(thread, cpus)


def fast_cpus(domains: Sequence[Domain]) -> frozenset[int]:
    """CPUs of the fastest domains; none where the kernel does not name them all."""
    tops_hz = {d: (d.range_hz() or (0, 0))[1] for d in domains if d.kind == "cpu"}
    most_hz = max(tops_hz.values(), default=0)
    named = [_cpus(domain) for domain, hz in tops_hz.items() if hz >= AS_FAST * most_hz]
    return frozenset().union(*named) if all(named) else frozenset()


@contextmanager
def pinned(cpus: Set[int], scheduler: Scheduler) -> Iterator[None]:
    """All threads run on ``cpus`` alone, as far as they are allowed to; put back on the way out.

    Threads that begin meanwhile are pinned as well: then they get what the calling one had. Without
    any such CPU, or if the kernel refuses, nothing is pinned, which is logged.
    """
    own = scheduler.allowed(0)
    before = _masks(scheduler)
    if not own & cpus:
        log.warning("not pinned: none of CPUs %s is ours", sorted(cpus))
        yield
        return
    try:
        _allow(scheduler, {thread: mask & cpus or mask for thread, mask in before.items()})
        yield
    finally:
        _allow(scheduler, {thread: before.get(thread, own) for thread in scheduler.threads()})


def _masks(scheduler: Scheduler) -> dict[int, set[int]]:
    masks = {}
    for thread in scheduler.threads():
        with suppress(ProcessLookupError):  # it ended just now
            masks[thread] = scheduler.allowed(thread)
    return masks


def _allow(scheduler: Scheduler, masks: dict[int, set[int]]) -> None:
    refused = None
    for thread, mask in masks.items():
        try:
            scheduler.allow(thread, mask)
        except ProcessLookupError:  # it ended just now
            pass
        except OSError as error:
            refused = error.strerror
    if refused:
        log.warning("not all threads are pinned, or put back: %s", refused)


def _cpus(domain: Domain) -> set[int]:
    for file in FILES:
        numbers = {whole(word) for word in domain.sysfs.words(domain.path(file))}
        if cpus := {number for number in numbers if number is not None and number >= 0}:
            return cpus
    return set()
