"""``adaptoff testbed``: one that stands by itself, with drivers that come and go."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from adaptoff.commands import standing
from adaptoff.commands.standing import State
from adaptoff.errors import InputError
from adaptoff.testbed.live import LiveFleet
from adaptoff.testbed.probe import Abilities, probe
from tests.worlds import TWO_DEVICES

PATIENCE_S = 30.0


class Commands:
    """The commands, in a runtime directory of their own."""

    def __init__(self, runtime: Path) -> None:
        self.runtime, self.folder = runtime, runtime / "adaptoff"
        self.scenario = runtime / "small.toml"
        self.scenario.write_text(TWO_DEVICES, encoding="utf-8")

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "adaptoff", "testbed", *arguments],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=os.environ | {"XDG_RUNTIME_DIR": str(self.runtime)},
        )
        assert done.returncode == code, done.stderr
        return done

    def up(self, *more: str) -> dict[str, Any]:
        return json.loads(self.run("up", str(self.scenario), "--json", *more).stdout)

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def left(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def testbeds() -> Iterator[Commands]:
    """In a directory of a short name: sockets in it have paths of at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ao-") as made:
        testbeds = Commands(Path(made))
        yield testbeds
        for path in testbeds.left():
            with suppress(ProcessLookupError):
                os.kill(json.loads((path / standing.STATE).read_bytes())["pid"], signal.SIGTERM)


def until(fine: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not fine():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def family(pid: int) -> list[psutil.Process]:
    """The supervisor, and all that it has started."""
    supervisor = psutil.Process(pid)
    return [supervisor, *supervisor.children(recursive=True)]


def ended(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs; whoever inherits them may not have taken note yet."""
    psutil.wait_procs(processes, 0)
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def drive(state: dict[str, Any]) -> int:
    """Be a driver for one round; which round it was."""
    with closing(LiveFleet(state["endpoint"], keys=state["keys"])) as live:
        live.reset(1)
        live.apply(live.fleet.native())
        return live.report.round


def test_drivers_come_and_go_until_it_is_told_to_end(testbeds: Commands) -> None:
    state = testbeds.up("--net", "pace")
    processes = family(state["pid"])
    assert len(processes) == 4
    assert [drive(state), drive(state)] == [1, 1]
    assert testbeds.status() == {"testbeds": [state], "cleaned": []}
    again = testbeds.run("up", str(testbeds.scenario), code=2)
    assert "small: is up already" in again.stderr
    the(processes, "device", "1").kill()
    until(lambda: testbeds.status()["testbeds"][0]["lost"] == ["device 1: SIGKILL"])
    testbeds.run("down")
    assert ended(processes)
    assert testbeds.left() == []
    assert testbeds.run("status").stdout == "no testbed is up\n"


def test_its_network_ends_with_it(testbeds: Commands) -> None:
    able = probe()
    if missing := able.tbf.why_not or no_namespaces(able):
        pytest.skip(missing)
    state = testbeds.up("--net", "netns", "--name", "shaped")
    processes = family(state["pid"])
    assert len(processes) > 4  # a broker, too
    assert drive(state) == 1
    testbeds.run("down", "shaped")
    assert ended(processes)
    assert testbeds.left() == []


def no_namespaces(able: Abilities) -> str:
    either = able.root_namespaces or able.rootless_namespaces
    return "" if either else able.rootless_namespaces.why_not


def the(processes: list[psutil.Process], *words: str) -> psutil.Process:
    """The one whose command line has these words."""
    (found,) = (p for p in processes if set(words) <= set(p.cmdline()))
    return found


def test_nothing_is_left_of_one_whose_supervisor_was_killed(testbeds: Commands) -> None:
    state = testbeds.up("--net", "pace", "--name", "mine")
    processes = family(state["pid"])
    processes[0].kill()
    until(lambda: ended(processes))
    assert [path.name for path in testbeds.left()] == ["mine"]
    found = testbeds.status()
    assert found["testbeds"] == []
    assert [each["name"] for each in found["cleaned"]] == ["mine"]
    assert testbeds.left() == []


def test_it_ends_with_its_server_and_says_why(testbeds: Commands) -> None:
    state = testbeds.up("--net", "pace")
    processes = family(state["pid"])
    the(processes, "serve").kill()
    until(lambda: ended(processes))
    said = testbeds.run("status").stdout
    assert said == "small: the server ended (SIGKILL); cleaned up\n"


def test_what_cannot_come_up_says_why_and_leaves_nothing(testbeds: Commands) -> None:
    missing = ("--set", 'workload.dataset="cifar10"', "--set", f'workload.data_dir="{os.devnull}"')
    done = testbeds.run("up", str(testbeds.scenario), "--net", "pace", *missing, code=2)
    assert "data_batch_1.bin" in done.stderr
    assert testbeds.left() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "nowhere.toml"), ("nowhere.toml", "demo")),
        (("up", "demo", "--net", "wifi"), ("--net wifi", "pace")),
        (("up", "demo", "--name", "../mine"), ("--name ../mine", "letters")),
        (("up", "demo", "--policy", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("status", "mine"), ("no testbed mine", "none")),
        (("down", "mine"), ("no testbed mine", "none")),
        (("down",), ("which testbed", "none")),
    ],
)
def test_wrong_input_is_one_line(
    testbeds: Commands, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    err = testbeds.run(*arguments, code=2).stderr
    assert err.count("\n") == 1
    assert all(word in err for word in words)
    assert testbeds.left() == []


def test_a_name_is_free_again_when_its_lock_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    lock = standing.claim("mine")
    standing.write(State(name="mine", pid=os.getpid()))
    with pytest.raises(InputError, match="mine: is up already"):
        standing.claim("mine")
    assert [path.name for path in standing.living()] == ["mine"]
    assert standing.swept() == []
    os.close(lock)
    os.close(standing.claim("mine"))
    assert standing.read(standing.place("mine")) is None  # nothing of the old one
    assert standing.swept() == []
    assert list(standing.root().iterdir()) == []


def test_a_directory_that_others_may_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    standing.root().chmod(0o755)
    with pytest.raises(InputError, match="yours alone"):
        standing.root()
