"""A device on a real board, made of files: its clocks, heat and energy, and what is put back."""

import errno
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from adaptoff import cli_bed, cli_clocks, dvfs, power, scenario
from adaptoff.affinity import Scheduler
from adaptoff.dvfs import Clocks
from adaptoff.errors import InputError, RunError, ScenarioError
from adaptoff.guards import Guards
from adaptoff.heat import warmed
from adaptoff.messages import Telemetry
from adaptoff.protocols import Board
from adaptoff.scenario import Opp
from adaptoff.sensors import MAX_AGE_S, Thermometer, find_zone
from adaptoff.testbed import device, real_board, rounds
from adaptoff.testbed.board import EmulatedBoard
from adaptoff.testbed.device import Device
from adaptoff.testbed.link import Link
from adaptoff.testbed.measured_cpu import MeasuredCpu
from adaptoff.testbed.real_board import Machine, RealBoard
from adaptoff.testbed.split import DeviceHalf
from adaptoff.testbed.tracker import OwnCluster
from adaptoff.wall_clock import StepWatch
from tests import boards
from tests.boards import FakeKernel
from tests.testbed.test_live import PATIENCE_S, SEED, Bed, everywhere, greedy, until

POWER_W = 50.0
"""of the fake sensors; the scenario's boards never draw more than 7"""
PROCESS = """
import sys
from functools import partial
from pathlib import Path
from adaptoff.cli import main
from adaptoff.commands import node  # annotates with the class itself
from adaptoff.testbed import real_board

root = Path(sys.argv.pop(1))
real_board.Machine = partial(
    real_board.Machine, cpu_root=root / "cpufreq", gpu_root=root / "devfreq"
)
main()
"""


class Kernel(FakeKernel):
    """Its energy counter counts ``POWER_W``."""

    def number(self, path: Path) -> int | None:
        if path.name == "energy_uj" and path.exists():
            return int(time.monotonic() * POWER_W * 1e6)
        return super().number(path)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One policy and a GPU that is left alone, without sensors."""
    boards.files(boards.policy(tmp_path / "cpufreq"), scaling_min_freq=boards.PI_KHZ[0])
    boards.gpu(tmp_path / "devfreq")
    return machine_at(tmp_path)


def machine_at(root: Path) -> Machine:
    return Machine(
        root / "state", cpu_root=root / "cpufreq", gpu_root=root / "devfreq",
        thermal_root=root / "thermal", hwmon_root=root / "hwmon",
        powercap_root=root / "powercap", sysfs=Kernel(),
    )  # fmt: skip


def settings(root: Path) -> list[dict[str, str]]:
    folders = root / "cpufreq" / "policy0", root / "devfreq" / "57000000.gpu"
    return [boards.settings(folder) for folder in folders]


def zone(root: Path, temp_c: float) -> None:
    boards.files(root / "thermal" / "thermal_zone0", type="cpu", temp=round(temp_c * 1000))


def counter(root: Path) -> None:
    boards.files(root / "powercap" / "intel-rapl:0", name="package-0", energy_uj=0)


def monitor(root: Path) -> None:
    boards.files(root / "hwmon" / "hwmon0", name="ina3221", in1_input=5000, curr1_input=10_000)


@pytest.fixture
def lay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], Bed]]:
    """Makes testbeds in which no device is late because this host is busy."""
    monkeypatch.setattr(rounds, "DEADLINE_MARGIN_S", PATIENCE_S)
    made: list[Bed] = []

    def make(dilation: float = 1.0) -> Bed:
        made.append(Bed(OwnCluster, dilation))
        return made[-1]

    yield make
    for testbed in made:
        testbed.close()


@pytest.fixture
def bed(lay: Callable[[], Bed]) -> Bed:
    return lay()


def begin(bed: Bed, machine: Machine) -> None:
    """Device 0 on a real board, device 1 emulated, and the warm-up round."""
    bed.start(lambda: device.run(bed.server.endpoint, 0, greedy(), machine=machine))
    bed.join(1)
    bed.drive().reset(SEED)


def told(bed: Bed, number: int = 0) -> Telemetry:
    return next(t for t in bed.live.report.telemetry if t.device == number)


def test_a_round_runs_at_the_clock_that_was_asked_for(bed: Bed, machine: Machine) -> None:
    root = machine.state_dir.parent
    before = settings(root)
    begin(bed, machine)
    for opp, khz in ((1, 1_200_000), (0, 600_000)):
        bed.live.apply(everywhere(bed.live, 7, opp))
        assert (told(bed).cut, told(bed).opp) == (7, opp)
        assert settings(root)[0]["scaling_setspeed"] == str(khz)
    assert bed.live.report.valid
    assert settings(root)[1] == before[1]


def test_what_the_board_really_runs_at_is_told(
    bed: Bed, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(machine.sysfs, Kernel)
    begin(bed, machine)
    assert "opp-refused" not in caplog.text
    machine.sysfs.cap_khz = 600_000
    bed.live.apply(everywhere(bed.live, 2, 1))
    assert caplog.text.count("guard opp-refused: the board runs OPP 0, not 1") == 1
    assert [(t.device, t.opp) for t in bed.live.report.telemetry] == [(0, 0), (1, 1)]
    assert next(d.row.opp for d in bed.live.report.decisions if d.device == 0) == 0


@pytest.mark.parametrize("sensor", [counter, monitor])
def test_energy_and_heat_are_measured_where_there_are_sensors(
    bed: Bed, machine: Machine, monkeypatch: pytest.MonkeyPatch, sensor: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(power, "MAX_GAP_S", PATIENCE_S)  # this host may be busy
    root = machine.state_dir.parent
    sensor(root)
    zone(root, 47.5)
    begin(bed, machine)
    first = told(bed)
    zone(root, 48.5)
    bed.live.apply(everywhere(bed.live, 2))
    for mine, temp_c in ((first, 47.5), (told(bed), 48.5)):
        assert mine.energy_source == "measured"
        assert mine.energy_j == pytest.approx(POWER_W * mine.total_s, rel=0.5)
        assert (mine.temp_c, mine.temp_source) == (temp_c, "measured")
        assert mine.opp == mine.opp_left
    assert told(bed, 1).energy_source == told(bed, 1).temp_source == "modelled"


def test_sensors_that_fail_are_replaced_by_the_model_and_counted(
    bed: Bed, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    root = machine.state_dir.parent
    counter(root)
    zone(root, 47.5)
    begin(bed, machine)
    assert "guard sensor" not in caplog.text
    (root / "powercap" / "intel-rapl:0" / "energy_uj").unlink()
    bed.live.apply(everywhere(bed.live, 2))
    assert (told(bed).energy_source, told(bed).temp_source) == ("modelled", "measured")
    assert caplog.text.count("guard sensor: energy of round 1 is modelled") == 1
    zone(root, 255)
    bed.live.apply(everywhere(bed.live, 2))
    assert told(bed).temp_source == "modelled"
    assert 25 < told(bed).temp_c < 60


def test_a_wall_clock_that_jumps_changes_no_figure_and_is_told(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jumping = count(start=1_000_000_000, step=-3600)
    monkeypatch.setattr(time, "time", lambda: float(next(jumping)))
    monkeypatch.setattr(device, "StepWatch", partial(StepWatch, wall=time.time))
    bed.join(0, 1)
    bed.drive().reset(SEED)
    for _ in range(2):
        bed.live.apply(everywhere(bed.live, 2))
        assert all(0 < t.device_s < t.total_s < PATIENCE_S for t in bed.live.report.telemetry)
    assert caplog.text.count("guard clock-step: the wall clock jumped by -") == 2  # devices


def test_energy_and_heat_are_modelled_where_there_are_none(bed: Bed, machine: Machine) -> None:
    begin(bed, machine)
    mine = told(bed)
    assert mine.energy_source == "modelled"
    assert 0 < mine.energy_j < 8 * mine.total_s
    assert 25 < mine.temp_c < 80


def test_computing_is_not_stretched_to_the_scenario_s_speed(
    bed: Bed, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its board would take these hours for a batch; the emulated one, device 1, is as it was."""
    usual = scenario.Scenario.board_of

    def slow(self: scenario.Scenario, number: int) -> scenario.Board:
        board = usual(self, number)
        return board if number else scenario.Board(speed=1e-6, opps=board.opps)

    monkeypatch.setattr(scenario.Scenario, "board_of", slow)
    begin(bed, machine)
    assert 0 < told(bed).device_s < told(bed).total_s < PATIENCE_S
    assert told(bed).pace_error == 1.0


def test_a_native_round_says_that_it_lives_before_each_batch(
    bed: Bed, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, str]] = []

    def hear(owner: type, name: str) -> None:
        usual = getattr(owner, name)

        def heard_first(*arguments: object) -> object:
            heard.append((threading.current_thread().name, name))
            return usual(*arguments)

        monkeypatch.setattr(owner, name, heard_first)

    hear(Link, "touch")
    hear(DeviceHalf, "train_batch")
    begin(bed, machine)
    mine = next(thread.name for thread in bed.threads if (thread.name, "train_batch") in heard)
    said = [name for thread, name in heard if thread == mine]
    batches = [index for index, name in enumerate(said) if name == "train_batch"]
    assert len(batches) > 2
    assert all(said[index - 1] == "touch" for index in batches[1:])


def test_clocks_are_put_back_when_the_server_says_goodbye(
    lay: Callable[[], Bed], machine: Machine
) -> None:
    root = machine.state_dir.parent
    before, bed = settings(root), lay()
    begin(bed, machine)
    assert settings(root) != before
    bed.close()
    assert settings(root) == before
    assert bed.failures == []


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("gpu", [False, True])
def test_clocks_are_put_back_after_an_exception(
    bed: Bed, machine: Machine, monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException], gpu: bool,
) -> None:  # fmt: skip
    root = machine.state_dir.parent
    before, during = settings(root), []

    def fail(_device: Device) -> None:
        during.extend(settings(root))
        raise error

    monkeypatch.setattr(Device, "serve", fail)
    with pytest.raises(error):
        device.run(bed.server.endpoint, 0, greedy(), machine=replace(machine, gpu=gpu))
    assert [old != new for old, new in zip(before, during, strict=True)] == [True, gpu]
    assert settings(root) == before


@contextmanager
def process(root: Path, bed: Bed) -> "Iterator[subprocess.Popen[str]]":
    """The command ``device``, once it has set the clocks."""
    options = ("--clocks", "--gpu", "--state-dir", str(root / "state"))
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(root), "device", bed.server.endpoint, "0", *options],
        stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        try:
            until(lambda: running.poll() is not None or is_set(root))
            assert running.poll() is None, running.communicate()[1]
            yield running
        finally:
            running.kill()


def is_set(root: Path) -> bool:
    found = settings(root)
    return found[0].get("scaling_setspeed") == "1200000" and found[1]["min_freq"] == "300000000"


def test_clocks_are_put_back_after_kill_by_the_next_start_and_on_sigterm(
    bed: Bed, machine: Machine, tmp_path: Path
) -> None:
    before = settings(tmp_path)
    with process(tmp_path, bed) as killed:
        killed.kill()
        killed.communicate(timeout=PATIENCE_S)
    assert is_set(tmp_path)
    until(lambda: 0 not in bed.server._devices)
    boards.files(tmp_path / "cpufreq" / "policy0", scaling_setspeed=900_000)  # tells starts apart
    with process(tmp_path, bed) as again:
        again.send_signal(signal.SIGTERM)
        said = again.communicate(timeout=PATIENCE_S)[1]
    assert again.returncode != 0, said
    assert "put back: policy0, 57000000.gpu" in said
    assert settings(tmp_path) == before


def test_a_server_that_slows_time_is_refused(lay: Callable[[float], Bed], machine: Machine) -> None:
    before = settings(machine.state_dir.parent)
    with pytest.raises(RunError, match=r"slows time by 2\.5 .* --dilation 1$"):
        device.run(lay(2.5).server.endpoint, 0, greedy(), machine=machine)
    assert settings(machine.state_dir.parent) == before
    assert not machine.state_dir.exists()


def test_another_board_s_table_is_refused(bed: Bed, machine: Machine) -> None:
    boards.policy(machine.cpu_root, khz=[1_500_000, 1_800_000])
    with pytest.raises(ScenarioError, match="mhz = 600: policy0 runs at 1500, 1800 MHz"):
        device.run(bed.server.endpoint, 0, greedy(), machine=machine)


def test_who_may_not_set_clocks_is_told(bed: Bed, machine: Machine) -> None:
    assert isinstance(machine.sysfs, Kernel)
    machine.sysfs.refuses["scaling_governor"] = errno.EACCES
    with pytest.raises(RunError, match="scaling_governor: Permission denied"):
        device.run(bed.server.endpoint, 0, greedy(), machine=machine)


def test_without_clocks_nobody_is_asked_to_join(tmp_path: Path) -> None:
    boards.gpu(tmp_path / "devfreq")
    with pytest.raises(RunError, match=r"^--clocks: .*no policy .* go on without --clocks$"):
        device.run("nowhere", 0, greedy(), machine=machine_at(tmp_path))


@pytest.mark.parametrize("gpu", [False, True])
def test_a_dry_run_prints_and_writes_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gpu: bool
) -> None:
    root = machine.state_dir.parent
    before = settings(root)
    monkeypatch.setattr(cli_bed, "machine_of", lambda _dir, *, gpu, **_: replace(machine, gpu=gpu))
    cli_bed.device("tcp://nowhere:1", 0, clocks=True, gpu=gpu, dry_run=True)
    folder, lines = root / "cpufreq" / "policy0", capsys.readouterr().out.splitlines()
    wanted = [f"{folder}/scaling_governor userspace"]
    wanted += [f"{folder}/scaling_setspeed {khz}" for khz in boards.PI_KHZ]
    assert [line for line in lines if line.startswith(str(folder))] == wanted
    assert any("57000000.gpu/max_freq 300000000" in line for line in lines) == gpu
    assert settings(root) == before
    assert not machine.state_dir.exists()


@pytest.mark.parametrize("option", [{"gpu": True}, {"dry_run": True}, {"state_dir": Path("x")}])
def test_options_of_clocks_need_clocks(option: dict[str, bool | Path]) -> None:
    with pytest.raises(InputError, match="only with --clocks"):
        cli_bed.device("tcp://nowhere:1", 0, **option)


class Time:
    """Goes when told to."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


OPPS = [
    Opp(mhz=600, relative_speed=0.5, dynamic_w=1.0),
    Opp(mhz=1500, relative_speed=1.0, dynamic_w=4.0),
]
SAID = scenario.Board(speed=0.4, opps=OPPS, heat_c_per_w=6.0, heat_tau_s=60.0)


def real(
    machine: Machine, clock: Time, said: scenario.Board = SAID, guards: Guards | None = None
) -> RealBoard:
    found = find_zone(machine.thermal_root)
    thermometer = Thermometer(found, clock) if found else None
    clocks = Clocks(machine.domains()[:1], [opp.mhz for opp in said.opps], nap=lambda _: None)
    clocks.check()
    return RealBoard(said, clocks, thermometer, clock.now_s, guards or Guards(), said.trip_c)


def test_without_a_thermometer_it_is_as_warm_as_an_emulated_board(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    both: list[Board] = [real(machine, clock), EmulatedBoard(SAID, clock.now_s)]
    joules = [
        [board.set_opp(0), board.work_until(130.0, 20.0, 5.0), board.idle_until(140.0),
         board.set_opp(1), board.work_until(200.0, 60.0, 5.0)]
        for board in both
    ]  # fmt: skip
    assert joules[0] == joules[1]
    assert both[0].temp_c == pytest.approx(both[1].temp_c)
    assert (both[0].speed, both[0].opp) == (both[1].speed, both[1].opp) == (0.4, 1)
    assert caplog.text.count("the temperature is modelled") == 1


def test_a_reset_sets_the_fastest_opp_and_cools_nothing(machine: Machine, tmp_path: Path) -> None:
    clock = Time()
    board = real(machine, clock)
    board.set_opp(0)
    board.work_until(1000.0, 900.0, 0.0)
    warm_c = board.temp_c
    board.reset(1001.0)
    assert board.opp == 1
    assert board.temp_c == pytest.approx(warm_c, abs=1.0)
    assert settings(tmp_path)[0]["scaling_setspeed"] == "1500000"


@pytest.mark.parametrize("later_s", [5.0, 2 * MAX_AGE_S])
def test_while_the_sensor_fails_the_model_goes_on_from_its_last_word(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture, later_s: float
) -> None:
    clock = Time()
    zone(tmp_path, 60.0)
    board = real(machine, clock)
    assert board.temp_c == 60.0
    boards.files(tmp_path / "thermal" / "thermal_zone0", temp=255_000)
    clock.now_s += later_s
    board.idle_until(clock.now_s)
    settled_c = SAID.ambient_c + SAID.heat_c_per_w * SAID.idle_w
    assert board.temp_c == pytest.approx(
        settled_c + (60.0 - settled_c) * np.exp(-later_s / SAID.heat_tau_s), abs=0.1
    )
    assert "temperature is modelled" in caplog.text
    zone(tmp_path, 55.0)
    clock.now_s += 1
    board.idle_until(clock.now_s)
    assert board.temp_c == 55.0


def test_heat_constants_are_learnt_for_when_the_sensor_fails(
    machine: Machine, tmp_path: Path
) -> None:
    clock, rng, true_c = Time(), np.random.default_rng(3), 40.0
    zone(tmp_path, true_c)
    board, sensor = real(machine, clock), tmp_path / "thermal" / "thermal_zone0" / "temp"

    def work(busy: float) -> None:
        """Two seconds on a board that gets twice as warm as the scenario says."""
        nonlocal true_c
        watts = SAID.idle_w + OPPS[1].dynamic_w * busy
        each = (np.array(value) for value in (true_c, 25.0, 12.0, 60.0, watts, 2.0))
        true_c = float(warmed(*each))
        if sensor.exists():
            zone(tmp_path, true_c)
        clock.now_s += 2
        board.work_until(clock.now_s, 2 * busy, 0.0)

    for _ in range(60):
        busy = rng.uniform()
        for _ in range(rng.integers(5, 30)):
            work(busy)
    sensor.unlink()
    for _ in range(120):
        work(1.0)
    assert true_c > 90
    assert board.temp_c == pytest.approx(true_c, abs=1.0)


def test_heat_constants_are_learnt_within_long_rounds(machine: Machine, tmp_path: Path) -> None:
    clock, true_c = Time(), 40.0
    zone(tmp_path, true_c)
    board = real(machine, clock)
    for number in range(20):
        busy, start_s = (number % 3) / 2, clock.now_s
        board.idle_until(start_s)
        for _ in range(300):
            watts = SAID.idle_w + OPPS[1].dynamic_w * busy
            true_c = float(warmed(*map(np.array, (true_c, 25.0, 12.0, 60.0, watts, 1.0))))
            zone(tmp_path, true_c)
            clock.now_s += 1
            board.watch(clock.now_s)
        board.work_until(clock.now_s, 300 * busy, 0.0)
    assert board._fit.heat().c_per_w == pytest.approx(12.0, rel=0.05)
    assert board._fit.heat().tau_s == pytest.approx(60.0, rel=0.05)


def test_a_board_that_is_hot_at_the_start_starts_slowly(machine: Machine, tmp_path: Path) -> None:
    zone(tmp_path, SAID.trip_c - 2)
    guards = Guards()
    board = real(machine, Time(), guards=guards)
    assert board.opp == board.set_opp(1) == 0
    assert guards.counts["too-hot"] == 1
    assert guards.counts["opp-refused"] == 0


def test_a_round_of_which_nothing_was_told_teaches_no_heat(
    machine: Machine, tmp_path: Path
) -> None:
    clock = Time()
    zone(tmp_path, 60.0)
    board = real(machine, clock)
    board.idle_until(clock.now_s)
    before = board._fit.heat()
    for _ in range(50):
        clock.now_s += 10
        board.idle_until(clock.now_s)
    assert board._fit.heat() == before


def test_what_heat_left_at_the_end_is_seen_and_said(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    board = real(machine, clock)
    assert board.set_opp(1) == 1
    boards.files(tmp_path / "cpufreq" / "policy0", scaling_cur_freq=700_000)
    with caplog.at_level(logging.WARNING):
        joules = board.work_until(110.0, 10.0, 0.0)
    assert joules == pytest.approx(10 * (SAID.idle_w + OPPS[1].dynamic_w))
    assert board.opp == 0
    assert "heat has left OPP 0 of OPP 1" in caplog.text
    assert board.opp_left == 0


class Oven:
    """Warms the thermal zone of a board that computes without a pause at the clock it has."""

    def __init__(self, machine: Machine, root: Path) -> None:
        self.clock, self.guards, self._root = Time(), Guards(), root
        self.temp_c, self._rng = 40.0, np.random.default_rng(1)
        zone(root, self.temp_c)
        self.board = real(machine, self.clock, HOT, self.guards)

    def second(self, load: float = 1.0) -> float:
        speed = settings(self._root)[0]["scaling_setspeed"]
        dynamic_w = next(opp.dynamic_w for opp in HOT.opps if opp.mhz * 1000 == int(speed))
        watts = HOT.idle_w + load * dynamic_w
        each = (self.temp_c, HOT.ambient_c, HOT.heat_c_per_w, HOT.heat_tau_s, watts, 1.0)
        self.temp_c = float(warmed(*map(np.array, each)))
        self.clock.now_s += 1
        zone(self._root, self._rng.choice([self.temp_c] * 4 + [0.0, 255.0, -40.0]))
        self.board.watch(self.clock.now_s)
        return self.temp_c


HOT = scenario.Board(
    speed=0.4, heat_c_per_w=9.5, heat_tau_s=60.0,
    opps=[Opp(mhz=khz / 1000, relative_speed=k / 4, dynamic_w=k + 1.5)
          for k, khz in enumerate(boards.PI_KHZ, 1)],
)  # fmt: skip


def test_within_a_round_it_is_clocked_down_before_it_gets_too_hot(
    machine: Machine, tmp_path: Path
) -> None:
    oven = Oven(machine, tmp_path)
    start_s = oven.clock.now_s
    oven.board.idle_until(start_s)
    assert oven.board.set_opp(3) == 3
    temps_c = [oven.second() for _ in range(600)]
    assert HOT.trip_c - 5 < max(temps_c) <= HOT.trip_c + 1
    oven.board.work_until(oven.clock.now_s, 600.0, 0.0)
    assert 0 < oven.board.opp_left < 3
    assert oven.guards.counts["too-hot"] > 0
    assert oven.guards.counts["sensor"] > 100
    assert oven.board.set_opp(3) < 3  # it is hot yet
    assert oven.guards.counts["opp-refused"] == 0
    for _ in range(600):
        oven.second(load=0.0)
    assert oven.board.set_opp(3) == 3


def test_without_a_sensor_the_model_clocks_it_down_while_it_computes_only(
    machine: Machine,
) -> None:
    clock, guards = Time(), Guards()
    board = real(machine, clock, HOT, guards)

    def watch() -> None:
        for _ in range(600):
            clock.now_s += 1
            board.watch(clock.now_s)

    watch()
    assert guards.counts["too-hot"] == 0
    board.idle_until(clock.now_s)
    watch()
    assert guards.counts["too-hot"] > 0
    assert guards.counts["sensor"] == 0
    board.work_until(clock.now_s, 600.0, 0.0)
    assert board.opp_left < 3


def test_clocks_are_written_by_one_thread_at_a_time(machine: Machine, tmp_path: Path) -> None:
    clock, inside, both = Time(), threading.Semaphore(1), threading.Event()
    zone(tmp_path, 65.0)
    board, usual = real(machine, clock, HOT), machine.sysfs.write

    def write(path: Path, text: str) -> None:
        if not inside.acquire(blocking=False):
            both.set()
            return
        both.wait(0.1)  # for the other thread, if it can come in
        usual(path, text)
        inside.release()

    machine.sysfs.write = write  # type: ignore[method-assign]
    zone(tmp_path, 81.0)
    clock.now_s += 1
    watching = threading.Thread(target=board.watch, args=(clock.now_s,))
    watching.start()
    board.set_opp(1)
    watching.join()
    assert not both.is_set()
    assert board.set_opp(3) == 2  # which the watch has lowered


def test_the_board_s_guards_count_with_the_controller_s(
    bed: Bed, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[Device] = []

    def stop(served: Device) -> None:
        devices.append(served)

    monkeypatch.setattr(Device, "serve", stop)
    zone(tmp_path, 50.0)
    device.run(bed.server.endpoint, 0, greedy(), machine=machine)
    parts = devices[0]._parts
    zone(tmp_path, 255.0)
    parts.board.idle_until(parts.now_s())
    assert parts.controller.guards.counts["sensor"] == 1


def test_heat_is_watched_for_as_long_as_the_clocks_are_held(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_board, "EVERY_S", 0.01)
    before = settings(tmp_path)
    zone(tmp_path, 55.0)
    with machine.held(SAID, 1.0, limit_c=70.0) as hardware:
        assert settings(tmp_path)[0]["scaling_setspeed"] == "1500000"
        zone(tmp_path, 71.0)
        until(lambda: settings(tmp_path)[0]["scaling_setspeed"] == "600000")
        assert hardware.guards.counts["too-hot"] == 1
        assert "heat" in [thread.name for thread in threading.enumerate()]
    assert "heat" not in [thread.name for thread in threading.enumerate()]
    assert settings(tmp_path) == before


def test_the_kernel_s_own_trip_point_is_a_limit_as_well(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_board, "EVERY_S", 0.01)
    zone(tmp_path, 62.0)
    trip = {"trip_point_0_type": "passive", "trip_point_0_temp": 60_000}
    boards.files(tmp_path / "thermal" / "thermal_zone0", **trip)
    with machine.held(SAID, 1.0):
        until(lambda: settings(tmp_path)[0]["scaling_setspeed"] == "600000")


class Pinned(Scheduler):
    """One thread, and what it was pinned to."""

    def __init__(self) -> None:
        self.cpus = [set(range(70))]

    def threads(self) -> list[int]:
        return [1]

    def allowed(self, thread: int) -> set[int]:
        assert thread in (0, 1)
        return self.cpus[-1]

    def allow(self, thread: int, cpus: Set[int]) -> None:
        assert thread == 1
        self.cpus.append(set(cpus))


@pytest.mark.parametrize(
    ("pin", "small", "wanted"),
    [(None, True, {64, 65}), (None, False, None), (False, True, None), (True, False, {64, 65})],
)
def test_training_is_pinned_to_the_fastest_cores_where_there_are_slower_ones(
    machine: Machine, tmp_path: Path, pin: bool | None, small: bool, wanted: set[int] | None
) -> None:
    boards.files(tmp_path / "cpufreq" / "policy0", related_cpus="64 65")
    if small:
        little = boards.policy(tmp_path / "cpufreq", 1, [400_000, 800_000])
        boards.files(little, related_cpus="0 1 2 3")
    scheduler = Pinned()
    with replace(machine, pin=pin, scheduler=scheduler).held(SAID, 1.0):
        assert scheduler.cpus[-1] == (wanted or set(range(70)))
    assert scheduler.cpus[-1] == set(range(70))


def test_a_slow_opp_is_no_heat(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    zone(tmp_path, 50.0)
    board = real(machine, clock)
    assert board.set_opp(0) == 0
    for end_s in (110.0, 120.0):
        joules = board.work_until(end_s, 10.0, 0.0)
        assert joules == pytest.approx(10 * (SAID.idle_w + OPPS[0].dynamic_w))
        board.idle_until(end_s)
        assert board.opp == 0
    assert "heat" not in caplog.text


def test_blocks_are_measured_and_do_not_wait() -> None:
    clock, cpu_clock = Time(), Time()
    cpu = MeasuredCpu(clock, cpu_clock)
    for took_s in (0.2, 0.3):
        with cpu.block(work_s=1000.0):
            clock.now_s += took_s
            cpu_clock.now_s += took_s / 2
        clock.now_s += 5.0  # between blocks
    busy = cpu.take()
    assert busy == pytest.approx((0.25, 0.5, 1.0))
    assert cpu.take() == (0.0, 0.0, 1.0)


def test_two_devices_cannot_have_one_board(bed: Bed, machine: Machine) -> None:
    with (
        machine.held(SAID, 1.0),
        pytest.raises(RunError, match="another process has the clocks"),
    ):
        device.run(bed.server.endpoint, 0, greedy(), machine=machine)


def test_the_machine_s_own_roots_are_the_kernel_s(tmp_path: Path) -> None:
    usual = cli_clocks.machine_of(tmp_path, clocks=True, gpu=True, dry_run=False)
    assert usual is not None
    assert (usual.state_dir, usual.gpu, usual.cpu_root) == (tmp_path, True, dvfs.CPU_ROOT)
