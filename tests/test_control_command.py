"""``adaptoff control`` and its fleet server as processes, without what a board does not have."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from adaptoff import config
from adaptoff.agents.clustering import Clusters
from adaptoff.cli import main
from adaptoff.commands import figures
from adaptoff.commands import keys as key_files
from adaptoff.controller import Controller
from adaptoff.errors import Deadline, InputError
from adaptoff.local import Answer, LocalController
from adaptoff.messages import Telemetry
from adaptoff.policy import default
from adaptoff.scenario import Scenario
from adaptoff.testbed.lone_fleet import LoneFleet
from adaptoff.testbed.tracker import OwnCluster
from tests import boards
from tests.testbed.loops import lived

PATIENCE_S = 30.0
ABSENT = ("torch", "gymnasium", "stable_baselines3", "sklearn", "scipy", "psutil", "pyroute2",
          "matplotlib", "tensorboard", "prometheus_client")  # fmt: skip
"""importing one of them fails, as on a board with nothing but adaptoff"""
BARE = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
from adaptoff.cli import main
main()
"""
PARTS = Path(figures.__file__).parents[2] / "testbed" / "parts.py"
NEEDS_TORCH = re.search("^from torch", PARTS.read_text(encoding="utf-8"), re.MULTILINE) is not None
ON_A_BOARD = f"""
import sys
sys.modules.update(dict.fromkeys({() if NEEDS_TORCH else ABSENT}))
from functools import partial
from pathlib import Path
from adaptoff.testbed import real_board
from adaptoff.cli import main
from tests.boards import FakeKernel

root = Path(sys.argv.pop(1))
real_board.Machine = partial(
    real_board.Machine, cpu_root=root / "cpufreq", gpu_root=root / "devfreq", sysfs=FakeKernel(),
    thermal_root=root / "none", hwmon_root=root / "none", powercap_root=root / "none",
)
main()
"""


@contextmanager
def running(
    *arguments: object, code: str = BARE, stdout: IO[str] | int = subprocess.PIPE
) -> Iterator["subprocess.Popen[str]"]:
    """``adaptoff`` with these arguments; killed at the end, if it still runs."""
    words = [str(argument) for argument in arguments]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=stdout, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end_s
        time.sleep(0.01)


def ended(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> tuple[str, str]:
    """What it said until it was asked to end, which it does without a fault."""
    process.send_signal(number)
    said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return said


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """For sockets: closed to others, and with a short name."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def task(scenario_text: str, room: Path) -> Path:
    path = room / "small.toml"
    path.write_text(scenario_text, encoding="utf-8")
    return path


class Loop:
    """A loop of one's own, of a device of the scenario, in this process."""

    def __init__(self, task: Path, device: int, controller: LocalController) -> None:
        self.scenario = config.load(str(task))
        self.profile = config.profile_of(self.scenario)
        self.device, self.controller = device, controller
        self.answers: list[Answer] = []

    def begin(self) -> Answer:
        self.answers.append(self.controller.next(None))
        return self.answers[-1]

    def round(self) -> Answer:
        measured = lived(self.scenario, self.profile, self.device, self.answers[-1])
        self.answers.append(self.controller.next(measured))
        return self.answers[-1]


# --- alone


def control_alone(task: Path, room: Path, *more: object) -> tuple[object, ...]:
    listen = f"ipc://{room}/c.sock"
    return ("control", "--scenario", task, "--device", 2, "--listen", listen, *more)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_loop_is_controlled_and_nothing_is_left(task: Path, room: Path, number: int) -> None:
    with (
        running(*control_alone(task, room, "--json")) as process,
        LocalController(f"ipc://{room}/c.sock", PATIENCE_S) as controller,
    ):
        loop = Loop(task, 2, controller)
        loop.begin()
        for _ in range(4):
            loop.round()
        out, err = ended(process, number)
    assert not (room / "c.sock").exists()
    assert err == f"adaptoff: answers at ipc://{room}/c.sock\n"
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["answer"]["cut"] for line in lines] == [answer.cut for answer in loop.answers]
    assert [answer.source for answer in loop.answers] == ["native"] + ["policy"] * 4
    assert [answer.opp for answer in loop.answers] == [2] * 5  # clocks are left alone
    assert lines[0]["telemetry"] is None
    assert {line["telemetry"]["energy_source"] for line in lines[1:]} <= {"modelled", "measured"}
    judged(loop, [config_telemetry(line) for line in lines[1:]])


def config_telemetry(line: dict[str, dict[str, object]]) -> Telemetry:
    return Telemetry(**line["telemetry"])  # type: ignore[arg-type]


def judged(loop: Loop, seen: list[Telemetry]) -> None:
    """The same telemetry leads a controller here to the same rows."""
    fleet = LoneFleet(loop.scenario, loop.profile)
    judge = Controller(loop.device, loop.scenario, loop.profile, default())
    rows = [judge.next(t.round + 1, fleet.report(t, None)).row for t in seen]
    assert [answer.cut for answer in loop.answers[1:]] == [row.cut for row in rows]


def test_a_killed_process_is_followed_by_another(task: Path, room: Path) -> None:
    endpoint = f"ipc://{room}/c.sock"
    with LocalController(endpoint, PATIENCE_S) as controller:
        loop = Loop(task, 2, controller)
        with running(*control_alone(task, room)) as process:
            loop.begin()
            process.kill()
            process.communicate(timeout=PATIENCE_S)
        controller.timeout_s = 0.2
        with pytest.raises(Deadline):
            loop.round()
        controller.timeout_s = PATIENCE_S
        with running(*control_alone(task, room)) as process:
            assert loop.round().source == "policy"  # it says itself which cut it used
            ended(process)


def test_only_one_process_answers_at_a_place(task: Path, room: Path) -> None:
    with running(*control_alone(task, room)) as process:
        until((room / "c.sock").is_socket, process)
        with running(*control_alone(task, room)) as other:
            said = other.communicate(timeout=PATIENCE_S)[1]
        assert other.returncode == 1
        assert "another control process answers there" in said
        ended(process)


def test_a_service_manager_is_told(task: Path, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", f"{room}/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{room}/notify")
        manager.settimeout(PATIENCE_S)
        with (
            running(*control_alone(task, room)) as process,
            LocalController(f"ipc://{room}/c.sock", PATIENCE_S) as controller,
        ):
            assert manager.recv(1000) == b"READY=1"
            controller.next(None)
            ended(process)
        assert manager.recv(1000) == b"STATUS=round 0: cut 7, OPP 2: nothing was measured: native"
        assert manager.recv(1000) == b"STOPPING=1"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to write to")
def test_a_full_disk_ends_it_with_one_line(task: Path, room: Path) -> None:
    with (
        Path("/dev/full").open("w", encoding="utf-8") as full,
        running(*control_alone(task, room, "--json"), stdout=full) as process,
        LocalController(f"ipc://{room}/c.sock", PATIENCE_S) as controller,
    ):
        until((room / "c.sock").is_socket, process)
        controller.timeout_s = 0.5
        with pytest.raises(Deadline):
            controller.next(None)
        err = process.communicate(timeout=PATIENCE_S)[1]
    assert (process.returncode, err.count("\n")) == (1, 2), err
    assert "adaptoff: standard output: No space left" in err
    assert not (room / "c.sock").exists()


# --- with clocks


def test_clocks_are_set_and_put_back(task: Path, room: Path) -> None:
    folder = boards.policy(room / "cpufreq", khz=[600_000, 1_000_000, 1_500_000])
    before = boards.settings(folder)
    clocks = ("--clocks", "--state-dir", room / "state")
    with (
        running(room, *control_alone(task, room, *clocks), code=ON_A_BOARD) as process,
        LocalController(f"ipc://{room}/c.sock", PATIENCE_S) as controller,
    ):
        loop = Loop(task, 2, controller)
        loop.begin()
        for _ in range(3):
            answer = loop.round()
            during = boards.settings(folder)
            assert during["scaling_governor"] == "userspace"
            assert float(during["scaling_setspeed"]) == answer.mhz * 1000
        ended(process)
    assert boards.settings(folder) == before
    assert not (room / "c.sock").exists()


def test_a_dry_run_writes_nothing(room: Path) -> None:
    folder = boards.policy(room / "cpufreq")
    before = boards.settings(folder)
    arguments = ("control", "--scenario", "demo", "--clocks", "--dry-run")
    with running(room, *arguments, code=ON_A_BOARD) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert f"{folder}/scaling_setspeed {boards.PI_KHZ[0]}" in out
    assert boards.settings(folder) == before


# --- with a fleet server


@pytest.fixture(params=["plain", "keys"])
def secured(request: pytest.FixtureRequest, room: Path) -> tuple[object, ...]:
    if request.param == "plain":
        return ()
    key_files.new(["server", "device-0", "device-2"], room / "keys")
    return ("--keys", room / "keys")


@contextmanager
def fleet_server(task: Path, bind: str, *more: object) -> Iterator[tuple[str, object]]:
    arguments = ("serve", "--figures-only", "--scenario", task, "--bind", bind, *more)
    with running(*arguments) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line)["endpoint"], process


def begun(*loops: Loop) -> None:
    for loop in loops:
        assert loop.begin().source == "native"


def together(*loops: Loop) -> list[str]:
    """A round of all loops side by side; who chose the next rows."""
    threads = [threading.Thread(target=loop.round) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return [loop.answers[-1].source for loop in loops]


def test_two_boards_and_a_server_that_goes_and_comes(
    task: Path, room: Path, secured: tuple[object, ...]
) -> None:
    def control(endpoint: str, device: int) -> tuple[object, ...]:
        listen = f"ipc://{room}/{device}.sock"
        return ("control", endpoint, device, "--listen", listen, "--patience", 10, *secured)

    with fleet_server(task, "tcp://127.0.0.1:*", *secured) as (endpoint, server):
        first, second = (running(*control(endpoint, d), stdout=subprocess.DEVNULL) for d in (0, 2))
        with (
            first as one, second as other,
            LocalController(f"ipc://{room}/0.sock", PATIENCE_S) as mine,
            LocalController(f"ipc://{room}/2.sock", PATIENCE_S) as theirs,
        ):  # fmt: skip
            loops = Loop(task, 0, mine), Loop(task, 2, theirs)
            begun(*loops)
            for _ in range(3):
                assert together(*loops) == ["policy", "policy"]
            assert [answer.round for answer in loops[0].answers] == [0, 1, 2, 3]
            server.kill()  # type: ignore[attr-defined]
            start_s = time.monotonic()
            assert together(*loops) == ["native", "native"]
            assert time.monotonic() - start_s < PATIENCE_S / 2
            assert {loop.answers[-1].cut for loop in loops} == {loops[0].profile.native}
            with fleet_server(task, endpoint, *secured):
                end_s = time.monotonic() + PATIENCE_S
                while together(*loops) != ["policy", "policy"]:
                    assert time.monotonic() < end_s
                ended(other)
                ended(one)
    assert not list(room.glob("*.sock"))


def test_it_may_be_ended_while_it_waits_for_its_server(room: Path) -> None:
    arguments = ("control", f"ipc://{room}/nobody", 0, "--listen", f"ipc://{room}/c.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(f"{room}/nobody")
        mute.listen()
        mute.settimeout(PATIENCE_S)
        with running(*arguments) as process:
            mute.accept()[0].close()
            ended(process)


# --- what is wrong is said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("control",), ("ENDPOINT N", "--scenario FILE --device N")),
        (("control", "--device", "0"), ("--scenario FILE",)),
        (("control", "tcp://127.0.0.1:1"), ("N is missing",)),
        (("control", "nonsense", "0"), ("nonsense", "tcp://HOST:PORT")),
        (("control", "tcp://127.0.0.1:1", "0", "--scenario", "demo"), ("--scenario", "ENDPOINT")),
        (("control", "--scenario", "nowhere.toml"), ("nowhere.toml",)),
        (("control", "--scenario", "demo", "--device", "5"), ("--device 5", "0 to 4")),
        (("control", "--scenario", "demo", "--listen", "tcp://0.0.0.0:1"), ("tcp://127.0.0.1:",)),
        (("control", "--scenario", "demo", "--gpu"), ("only with --clocks",)),
        (("control", "--scenario", "demo", "--policy", "nowhere"), ("nowhere",)),
        (("control", "--scenario", "demo", "--keys", "nowhere"), ("only with ENDPOINT",)),
        (("control", "--scenario", "demo", "--policies", __file__), ("must be a directory",)),
        (("serve", "--deadline", "3"), ("--figures-only",)),
        (("serve", "--figures-only", "--dilation", "2"), ("--dilation",)),
        (("serve", "--figures-only", "--set", "devices=[{board='slow', link='wired', count=9}]"),
         ("9 devices", "adaptoff[train]")),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_exit_code_2(
    room: Path, arguments: tuple[str, ...], words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, None)
    where = ("--listen", f"ipc://{room}/c.sock")
    listen = where if arguments[0] == "control" and "--listen" not in arguments else ()
    monkeypatch.setattr(sys, "argv", ["adaptoff", *arguments, *listen])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
    for word in words:
        assert word in err


def test_many_devices_are_clustered_where_that_is_possible(scenario: Scenario) -> None:
    assert figures._clusterer(scenario, each=False) is OwnCluster
    many = config.load("scale")
    assert len(many.each_device()) > 8
    assert figures._clusterer(many, each=False) is Clusters
    assert figures._clusterer(many, each=True) is OwnCluster


def test_many_devices_need_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match=r"clustered by scikit-learn: pip install 'adaptoff"):
        figures._clusterer(config.load("scale"), each=False)


# --- what it needs


def test_the_helper_needs_zeromq_and_msgspec_alone() -> None:
    """Not even NumPy: a loop has one of its own, or none."""
    code = "import sys, adaptoff.local; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"zmq", "msgspec"} <= loaded
    assert not loaded & {*ABSENT, "numpy", "safetensors", "typer", "rich"}


REAL_BOARD = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
import adaptoff.testbed.real_board
"""


@pytest.mark.skipif(NEEDS_TORCH, reason="testbed/parts.py imports torch for a type alone")
def test_clocks_need_no_torch_either() -> None:
    done = subprocess.run([sys.executable, "-c", REAL_BOARD], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
