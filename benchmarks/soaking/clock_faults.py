"""What goes wrong with the files that set clocks."""

import errno
from collections.abc import Iterator
from pathlib import Path

from benchmarks.soaking.kernel import USERSPACE, USUAL
from benchmarks.soaking.site import Site

WRITTEN = ("scaling_governor", "scaling_setspeed", "scaling_min_freq", "scaling_max_freq")


def _leading(at: Site) -> Path | None:
    """Half of the time, the file by which the fast clock is mostly set."""
    path = at.device.kernel.cpufreq / "policy0" / "scaling_setspeed"
    return path if at.rng.random() < 0.5 else None


def files_missing(at: Site) -> Iterator[None]:
    """One file, or a whole policy."""
    path = _leading(at) or at.pick()
    paths = [path] if at.rng.random() < 0.7 else list(path.parent.iterdir())
    yield from _hidden(at, paths)


def _hidden(at: Site, paths: list[Path]) -> Iterator[None]:
    at.device.kernel.hide(paths)
    yield
    at.device.kernel.bring_back(paths)


def _refused(at: Site, path: Path, number: int) -> Iterator[None]:
    at.device.kernel.refuses[path] = number
    yield
    at.device.kernel.refuses.pop(path, None)


def not_allowed(at: Site) -> Iterator[None]:
    """EACCES."""
    yield from _refused(at, _leading(at) or at.pick(*WRITTEN), errno.EACCES)


def not_valid(at: Site) -> Iterator[None]:
    """EINVAL."""
    yield from _refused(at, _leading(at) or at.pick(*WRITTEN), errno.EINVAL)


def other_table(at: Site) -> Iterator[None]:
    """The steps named are fewer, others, none, or no numbers."""
    clock = list(at.device.kernel.clocks)[at.rng.integers(2)]
    steps = at.device.kernel.clocks[clock].steps
    said = [
        " ".join(map(str, steps[:-2])), " ".join(str(step - step // 50) for step in steps), "",
        "<unsupported>", f"{steps[0]} {'9' * 4000}", f"{steps[0]} nan -1 {steps[-1]}",
    ]  # fmt: skip
    at.device.kernel.clocks[clock].said = said[at.rng.integers(len(said))]
    yield
    at.device.kernel.clocks[clock].said = " ".join(map(str, steps))


def snapping(at: Site) -> Iterator[None]:
    """The hardware only has each third step."""
    for clock in at.device.kernel.clocks.values():
        clock.snaps = 3
    yield
    for clock in at.device.kernel.clocks.values():
        clock.snaps = 1


def capped(at: Site) -> Iterator[None]:
    """The firmware lowers the clock: too little voltage."""
    clock = at.device.kernel.clocks["policy0"]
    clock.cap = clock.steps[0]
    yield
    clock.cap = clock.steps[-1]


def no_userspace(at: Site) -> Iterator[None]:
    """A kernel without that governor is booted; nothing is to be put back then."""
    clock = at.device.kernel.clocks["policy0"]
    at.device.reboot()
    clock.governors = [USUAL]
    yield
    at.device.reboot()
    clock.governors = [USUAL, USERSPACE]


def governor_taken(at: Site) -> Iterator[None]:
    """Another program sets its own, once."""
    at.device.kernel.clocks["policy0"].governor = USUAL
    yield
