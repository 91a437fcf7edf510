"""The device under test: a real controller and a real board, as a process that starts and ends."""

import copy
import shutil
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from adaptoff import clock_state, dvfs
from adaptoff.adopting import Adoption
from adaptoff.controller import Controller
from adaptoff.errors import RunError, ScenarioError
from adaptoff.guards import Cause
from adaptoff.messages import FleetFigures
from adaptoff.policy_store import PolicyStore
from adaptoff.testbed import real_board
from adaptoff.testbed.parts import Hardware
from adaptoff.testbed.real_board import Machine
from adaptoff.wall_clock import StepWatch
from benchmarks.soaking.drawn import LIMIT_C
from benchmarks.soaking.kernel import Kernel
from benchmarks.soaking.play import Cpu, Link, Played, play
from benchmarks.soaking.surroundings import Surroundings


class Device:
    """Device 0."""

    def __init__(self, root: Path, around: Surroundings) -> None:
        """Its files are below ``root``."""
        self.around, self.world, self.kernel = around, around.world, around.kernel
        self.policies, self.state_dir = root / "policies", root / "state"
        self.machine = _machine(root, self.state_dir, self.kernel, around)
        self.first = {name: clock.settings() for name, clock in self.kernel.clocks.items()}
        self._counts: Counter[Cause] = Counter()
        """of lives that are over"""
        self._life: ExitStack | None = None

    @property
    def lives(self) -> bool:
        """Whether it was started."""
        return self._life is not None

    @property
    def counts(self) -> Counter[Cause]:
        """What the guards did in all lives."""
        here = self.controller.guards.counts if self.lives else {}
        return self._counts + Counter(here)

    def start(self) -> str | None:
        """A new process; says why it was refused."""
        with ExitStack() as life:
            life.enter_context(patch.object(real_board, "repeated", self.around.repeated))
            held = partial(dvfs.held, nap=self.world.nap)
            life.enter_context(patch.object(dvfs, "held", held))
            try:
                hardware = life.enter_context(self.machine.held(self.world.board, 1.0, LIMIT_C))
            except (RunError, ScenarioError) as error:
                return str(error)
            self._begin(hardware)
            self._life = life.pop_all()
        return None

    def _begin(self, hardware: Hardware) -> None:
        world, guards = self.world, hardware.guards
        store = PolicyStore(self.policies, guards)
        policy = store.current()
        self.controller = Controller(0, world.scenario, world.profile, policy, guards)
        self.adoption = Adoption(self.controller, store)
        self._watch = StepWatch(guards, world.wall_s, world.monotonic)
        self._parts: Any = SimpleNamespace(
            number=0, board=hardware.board, power=hardware.power, work=world.scenario.workload,
            dilation=1.0, now_s=world.monotonic, cpu=Cpu(), link=Link(),
            controller=self.controller,
        )  # fmt: skip

    def play(self, number: int, figures: FleetFigures | None) -> Played:
        """A round, from the word to start it to its telemetry."""
        self._watch.look()
        return play(self._parts, self.around, number, figures)

    def saved(self) -> dict[str, tuple[str, int, int]]:
        """What it has written down to be put back."""
        found = clock_state.read(self.state_dir)
        return {saved.name: (saved.governor, *saved.limits) for saved in found}

    def end(self) -> None:
        """As on SIGTERM. Raises RunError if the kernel refuses."""
        life, self._life = self._life, None
        if life:
            self._counts.update(self.controller.guards.counts)
            life.close()

    def kill(self) -> None:
        """As by ``kill -9``: it leaves behind what is there now."""
        clocks, aside = copy.deepcopy(self.kernel.clocks), self.state_dir.with_suffix(".killed")
        shutil.copytree(self.state_dir, aside)
        with suppress(RunError):
            self.end()
        shutil.rmtree(self.state_dir)
        aside.rename(self.state_dir)
        for name, clock in clocks.items():
            vars(self.kernel.clocks[name]).update(vars(clock))
        self.kernel.settle()

    def reboot(self) -> None:
        """The kernel forgets what was set; a file of an earlier boot counts for nothing."""
        if self.lives:
            self.kill()
        for name, clock in self.kernel.clocks.items():
            clock.governor, clock.floor, clock.ceiling = self.first[name]
        clock_state.remove(self.state_dir)
        self.kernel.settle()


def _machine(root: Path, state_dir: Path, kernel: Kernel, around: Surroundings) -> Machine:
    none = root / "none"
    return Machine(
        state_dir, cpu_root=kernel.cpufreq, gpu_root=none, thermal_root=kernel.thermal,
        hwmon_root=none, powercap_root=none, pin=False, sysfs=kernel,
        monotonic=around.world.monotonic,
    )  # fmt: skip
