"""A board's real clocks as an Actuator: an OPP is asked for, and the one that runs is read back.

The OPP table's MHz are those of the fastest CPU domain: each OPP takes its nearest step. Another
domain (the small cores, the GPU) goes as far up its own range as that step is up the fastest one's.

Where the kernel has the governor ``userspace`` the speed is named; elsewhere floor and ceiling are
both put to it, within the limits that were there: a power budget (nvpmodel) is never exceeded.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from adaptoff import restore
from adaptoff.domains import CPU_ROOT, GPU_ROOT, Domain, discover, lead_of
from adaptoff.errors import RunError, ScenarioError
from adaptoff.scenario import MAX_OPPS
from adaptoff.sysfs import DryRun

log = logging.getLogger(__name__)

SAME_CLOCK = 0.1
"""relative; a table's MHz further from every step belong to another board"""
SETTLE_S, SETTLE_LOOKS = 0.02, 5
"""how long, and how often, to look for the new clock: some governors set it at their next tick"""
MHZ = 1_000_000


class Clocks:
    """Sets all domains of a board; an Actuator. ``held`` makes one that is put back."""

    def __init__(
        self, domains: Sequence[Domain], opps_mhz: Sequence[float],
        nap: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        """``opps_mhz``: (OPPs,) slowest first; ``nap`` waits for the clock to change.

        Raises RunError without a domain, ScenarioError if the table is another board's.
        """
        if not domains:
            raise RunError("clocks: no cpufreq policy here that says its range")
        self._nap, self.opp = nap, len(opps_mhz) - 1
        self._domains, self._opps_mhz = list(domains), list(opps_mhz)
        self._lead = lead_of(domains)
        self._bounds = {domain: domain.window() for domain in domains}
        for mhz in opps_mhz:
            if abs(self._lead.nearest_hz(mhz * MHZ) - mhz * MHZ) > SAME_CLOCK * mhz * MHZ:
                raise ScenarioError(f"opps: mhz = {mhz:g}: {_said(self._lead)}")

    def set_opp(self, opp: int) -> int:
        """Ask for an OPP (the fastest if there are fewer); returns the one that runs.

        What the kernel refuses is logged, and shows in what is returned.
        """
        asked = min(max(opp, 0), len(self._opps_mhz) - 1)
        refused = self._ask(asked)
        for error in refused:
            log.warning("%s: %s", error.filename, error.strerror)
        self.opp = self.running_opp() if refused else self._settled(asked)
        return self.opp

    def check(self) -> None:
        """Set the fastest OPP. Raises RunError if the kernel lets us not."""
        for error in self._ask(len(self._opps_mhz) - 1):
            raise RunError(
                f"{error.filename}: {error.strerror}; clocks are set by root, or a group that may"
            )

    def running_opp(self, expected: int | None = None) -> int:
        """The OPP whose step is nearest to the clock as it is now; heat may have lowered it.

        ``expected``, by default the one applied last, if it is as near as any, or if the kernel
        does not say.
        """
        likely, hz = self.opp if expected is None else expected, self._lead.running_hz()
        if hz is None:
            return likely
        steps = np.array([self._lead.nearest_hz(mhz * MHZ) for mhz in self._opps_mhz])
        away = np.abs(steps - hz)
        return likely if away[likely] == away.min() else int(away.argmin())

    def targets_hz(self, opp: int) -> list[int]:
        """What each domain is asked for, in the order of the domains."""
        lead_hz = self._lead.nearest_hz(self._opps_mhz[opp] * MHZ)
        least, most = self._lead.range_hz() or (lead_hz, lead_hz)
        share = (lead_hz - least) / (most - least) if most > least else 1.0
        return [lead_hz if domain is self._lead else _at(domain, share) for domain in self._domains]

    def _settled(self, asked: int) -> int:
        for _ in range(SETTLE_LOOKS):
            if self.running_opp(asked) == asked:
                break
            self._nap(SETTLE_S / SETTLE_LOOKS)
        return self.running_opp(asked)

    def _ask(self, opp: int) -> list[OSError]:
        refused = []
        for domain, hz in zip(self._domains, self.targets_hz(opp), strict=True):
            try:
                domain.ask(hz, self._bounds[domain])
            except OSError as error:
                error.filename = error.filename or str(domain.path(""))
                refused.append(error)
        return refused


@contextmanager
def held(
    opps_mhz: Sequence[float], directory: Path, machine: Sequence[Domain], *, gpu: bool = False,
    nap: Callable[[float], object] = time.sleep,
) -> Iterator[Clocks]:  # fmt: skip
    """Clocks at the fastest OPP, put back on the way out; first what a dead process left is.

    ``machine``: all domains there are (``discover()``); GPUs are left alone unless ``gpu``.
    ``directory`` keeps the file from which they are put back after a kill; ``nap`` is as in
    ``Clocks``. Raises RunError if another process has the clocks, the kernel refuses or there are
    none, ScenarioError if the table is another board's. Signals are the program's: SIGTERM must
    raise, as the CLI's does.
    """
    with restore.locked(directory):
        if back := restore.put_back(machine, directory):
            log.warning("a process that died had set the clocks; put back: %s", ", ".join(back))
        used = _used(machine, gpu=gpu)
        clocks = Clocks(used, opps_mhz, nap)
        restore.save(used, directory)
        try:
            clocks.check()
            yield clocks
        finally:
            restore.put_back(machine, directory)


def own_mhz(domains: Sequence[Domain], count: int = MAX_OPPS) -> list[float]:
    """(<= count,) MHz of the fastest domain, evenly over its range, for a board without a table."""
    lead = lead_of(domains)
    least, most = lead.range_hz() or (0, 0)
    asked = np.linspace(least, most, count)
    return [hz / MHZ for hz in sorted({lead.nearest_hz(hz) for hz in asked})]


def rehearsed(
    opps_mhz: Sequence[float], cpu_root: Path = CPU_ROOT, gpu_root: Path = GPU_ROOT,
    *, gpu: bool = False,
) -> list[tuple[Path, str]]:  # fmt: skip
    """(file, value) that each OPP would write now, slowest first; nothing is written."""
    dry = DryRun()
    clocks = Clocks(_used(discover(cpu_root, gpu_root, dry), gpu=gpu), opps_mhz, lambda _: None)
    for opp in range(len(opps_mhz)):
        clocks.set_opp(opp)
    return dry.would


def _used(machine: Sequence[Domain], *, gpu: bool) -> list[Domain]:
    return [domain for domain in machine if gpu or domain.kind == "cpu"]


def _at(domain: Domain, share: float) -> int:
    least, most = domain.range_hz() or (0, 0)
    return domain.nearest_hz(least + share * (most - least))


def _said(domain: Domain) -> str:
    steps = ", ".join(f"{hz / MHZ:g}" for hz in domain.steps_hz())
    least, most = domain.range_hz() or (0, 0)
    return f"{domain.name} runs at {steps or f'{least / MHZ:g} to {most / MHZ:g}'} MHz"
