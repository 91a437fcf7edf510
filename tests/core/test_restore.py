"""Clocks are put back however the process ends, and nothing in the file can point elsewhere."""

import errno
import json
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adaptoff import clock_state, dvfs
from adaptoff.commands import restore as command
from adaptoff.domains import discover
from adaptoff.dvfs import Clocks
from adaptoff.errors import RunError
from adaptoff.restore import default_directory, locked, put_back, save
from tests import boards
from tests.boards import FakeKernel

MHZ = [600.0, 900.0, 1200.0, 1500.0]
Settings = list[dict[str, str]]
DEVICE = """
import signal, sys
from pathlib import Path
from adaptoff import dvfs
from adaptoff.domains import discover

def interrupt(*_):  # as the command line does
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
root = Path(sys.argv[1])
machine = discover(root / "cpufreq", root / "devfreq")
with dvfs.held([600, 900, 1200, 1500], root / "state", machine, gpu=True) as clocks:
    clocks.set_opp(1)
    print("set", flush=True)
    if word := sys.stdin.readline().strip():
        raise SystemExit(word) if word == "exit" else ValueError(word)
"""


@pytest.fixture
def board(tmp_path: Path) -> list[Path]:
    """One policy of each kind, and a GPU."""
    return [
        boards.policy(tmp_path / "cpufreq", 0),
        boards.policy(tmp_path / "cpufreq", 4, userspace=False),
        boards.gpu(tmp_path / "devfreq"),
    ]


def settings(board: list[Path]) -> Settings:
    return [boards.settings(folder) for folder in board]


@contextmanager
def held(root: Path, kernel: FakeKernel | None = None) -> Iterator[Clocks]:
    machine = discover(root / "cpufreq", root / "devfreq", kernel or FakeKernel())
    with dvfs.held(MHZ, root / "state", machine, gpu=True) as clocks:
        yield clocks


def restored(root: Path) -> list[str]:
    found = command.run(root / "state", root / "cpufreq", root / "devfreq")
    assert found["directory"] == str(root / "state")
    return list(found["restored"])


def test_what_was_changed_is_put_back(tmp_path: Path, board: list[Path]) -> None:
    before = settings(board)
    with held(tmp_path) as clocks:
        assert clocks.opp == 3
        clocks.set_opp(1)
        changed = settings(board)
        assert [old != new for old, new in zip(before, changed, strict=True)] == [True] * 3
        mode = (tmp_path / "state" / clock_state.FILE).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert settings(board) == before
    assert not (tmp_path / "state" / clock_state.FILE).exists()


def test_an_exception_puts_back_too(tmp_path: Path, board: list[Path]) -> None:
    before = settings(board)
    with pytest.raises(ZeroDivisionError), held(tmp_path) as clocks:
        _ = 1 / (clocks.set_opp(2) - 2)
    assert settings(board) == before


def test_a_speed_that_the_user_had_set_is_put_back(tmp_path: Path, board: list[Path]) -> None:
    boards.files(board[0], scaling_governor="userspace", scaling_setspeed=1_200_000)
    before = settings(board)
    with held(tmp_path) as clocks:
        clocks.set_opp(1)
        assert settings(board)[0]["scaling_setspeed"] == "900000"
    assert settings(board) == before


@pytest.mark.parametrize("limits", [(600_000, 600_000), (1_500_000, 1_500_000), (600_000, 900_000)])
@pytest.mark.parametrize("opp", range(4))
def test_limits_are_put_back_in_an_order_that_is_accepted(
    tmp_path: Path, limits: tuple[int, int], opp: int
) -> None:
    folder = boards.policy(tmp_path / "cpufreq", userspace=False)
    boards.files(folder, scaling_min_freq=limits[0], scaling_max_freq=limits[1])
    before = boards.settings(folder)
    with held(tmp_path) as clocks:
        clocks.set_opp(opp)
        # another lifts the limits and pins the clock, so that each order is needed once
        khz = int(MHZ[opp] * 1000)
        boards.files(folder, scaling_min_freq=khz, scaling_max_freq=khz)
    assert boards.settings(folder) == before


def test_limits_that_another_changed_meanwhile_stay(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    with held(tmp_path):
        boards.files(folder, scaling_max_freq=1_200_000)
    assert boards.settings(folder)["scaling_max_freq"] == "1200000"
    assert boards.settings(folder)["scaling_governor"] == "schedutil"


def test_a_gpu_is_left_alone_unless_asked_for(tmp_path: Path, board: list[Path]) -> None:
    before = boards.settings(board[2])
    machine = discover(tmp_path / "cpufreq", tmp_path / "devfreq", FakeKernel())
    with dvfs.held(MHZ, tmp_path / "state", machine) as clocks:
        clocks.set_opp(2)
        assert boards.settings(board[2]) == before


def start(root: Path) -> "subprocess.Popen[str]":
    """A device that has set its clocks and waits for a word."""
    running = subprocess.Popen(
        [sys.executable, "-c", DEVICE, str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    if running.stdout.readline() != "set\n":
        pytest.fail(running.communicate()[1])
    return running


@pytest.mark.parametrize("end", ["", "exit", "exception", signal.SIGTERM, signal.SIGINT])
def test_a_process_puts_back_however_it_ends(
    tmp_path: Path, board: list[Path], end: str | signal.Signals
) -> None:
    before = settings(board)
    running = start(tmp_path)
    assert settings(board) != before
    if isinstance(end, signal.Signals):
        running.send_signal(end)
    _, said = running.communicate(None if isinstance(end, signal.Signals) else end + "\n", 60)
    assert settings(board) == before, said
    assert (running.returncode == 0) == (end == "")


def killed(root: Path) -> None:
    running = start(root)
    running.kill()
    running.communicate()


def test_after_a_kill_the_next_start_puts_back_first(tmp_path: Path, board: list[Path]) -> None:
    before = settings(board)
    killed(tmp_path)
    assert settings(board) != before
    start(tmp_path).communicate("\n", 60)
    assert settings(board) == before
    assert restored(tmp_path) == []


def test_after_a_kill_the_command_puts_back(tmp_path: Path, board: list[Path]) -> None:
    before = settings(board)
    killed(tmp_path)
    assert restored(tmp_path) == ["policy0", "policy4", "57000000.gpu"]
    assert settings(board) == before
    assert restored(tmp_path) == []


def test_a_start_without_the_gpu_puts_the_gpu_back_too(tmp_path: Path, board: list[Path]) -> None:
    before = settings(board)
    killed(tmp_path)
    machine = discover(tmp_path / "cpufreq", tmp_path / "devfreq")
    with dvfs.held(MHZ, tmp_path / "state", machine):
        assert boards.settings(board[2]) == before[2]
    assert settings(board) == before


def test_the_clocks_of_a_live_process_are_not_touched(tmp_path: Path, board: list[Path]) -> None:
    running = start(tmp_path)
    during = settings(board)
    with pytest.raises(RunError, match="another process has the clocks"):
        restored(tmp_path)
    with pytest.raises(RunError, match="another process has the clocks"), held(tmp_path):
        pass
    assert settings(board) == during
    running.communicate("\n", 60)


def test_nothing_to_put_back_is_no_error_and_leaves_no_trace(tmp_path: Path) -> None:
    assert restored(tmp_path) == []
    assert not (tmp_path / "state").exists()


def test_who_may_not_write_is_told_at_the_start(tmp_path: Path, board: list[Path]) -> None:
    before = settings(board)
    kernel = FakeKernel()
    kernel.refuses["scaling_governor"] = errno.EACCES
    with (
        pytest.raises(RunError, match="policy0/scaling_governor: Permission denied; clocks are"),
        held(tmp_path, kernel),
    ):
        pass
    assert settings(board) == before


def test_one_refusal_does_not_keep_the_others_and_the_file_stays(
    tmp_path: Path, board: list[Path]
) -> None:
    before, kernel = settings(board), FakeKernel()
    with (
        pytest.raises(RunError, match=r"not put back: .*scaling_governor: Permission denied"),
        held(tmp_path, kernel),
    ):
        kernel.refuses["scaling_governor"] = errno.EACCES
    assert settings(board)[1:] == before[1:]
    assert restored(tmp_path) == ["policy0", "policy4", "57000000.gpu"]
    assert settings(board) == before


def test_a_policy_that_is_gone_is_said(
    tmp_path: Path, board: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    before = settings(board)
    killed(tmp_path)
    for path in board[1].iterdir():
        path.unlink()
    with caplog.at_level(logging.WARNING):
        assert restored(tmp_path) == ["policy0", "57000000.gpu"]
    assert "policy4 is gone" in caplog.text
    assert boards.settings(board[0]) == before[0]


def test_a_policy_that_was_gone_is_put_back_once_it_is_there_again(
    tmp_path: Path, board: list[Path]
) -> None:
    before = settings(board)
    killed(tmp_path)
    aside = board[1].rename(tmp_path / "offline")
    with held(tmp_path):
        pass
    aside.rename(board[1])
    assert settings(board)[1] != before[1]
    assert restored(tmp_path) == ["policy4"]
    assert settings(board) == before


@pytest.mark.parametrize("at_start", [True, False])
def test_a_governor_that_comes_or_goes_meanwhile_leaves_nothing_behind(
    tmp_path: Path, at_start: bool
) -> None:
    folder = boards.policy(tmp_path / "cpufreq", userspace=at_start)
    kernel = FakeKernel()
    before = boards.settings(folder)
    with held(tmp_path, kernel) as clocks:
        governors = "schedutil" if at_start else "userspace schedutil"
        boards.files(folder, scaling_available_governors=governors)
        clocks.set_opp(1)
    assert boards.settings(folder) == before


def test_a_file_of_an_earlier_boot_is_dropped(
    tmp_path: Path, board: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(tmp_path)
    during = settings(board)
    monkeypatch.setattr(clock_state, "BOOT_ID", boards.files(tmp_path, boot="another") / "boot")
    assert restored(tmp_path) == []
    assert settings(board) == during
    assert not (tmp_path / "state" / clock_state.FILE).exists()


def saved(root: Path, board: list[Path]) -> dict[str, Any]:
    """A good state file's content; ``board`` is there so that there is something to save."""
    assert board
    (root / "state").mkdir(mode=0o700)
    save(discover(root / "cpufreq", root / "devfreq"), root / "state")
    return dict(json.loads((root / "state" / clock_state.FILE).read_bytes()))


Spoil = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state["domains"][0].update(name="../../etc"),
        lambda state: state["domains"][0].update(name="policy0/../policy4"),
        lambda state: state["domains"][0].update(name=".."),
        lambda state: state["domains"][0].update(name="policy0\n"),
        lambda state: state["domains"][0].update(governor="user space"),
        lambda state: state["domains"][0].update(governor="x" * 65),
        lambda state: state["domains"][0].update(limits=[-1, 5]),
        lambda state: state["domains"][0].update(limits=[1, 10**13]),
        lambda state: state["domains"][0].update(limits=[1]),
        lambda state: state["domains"][0].update(setspeed="900000"),
        lambda state: state["domains"][0].update(kind="disk"),
        lambda state: state["domains"][0].update(path="/etc/passwd"),
        lambda state: state["domains"].extend(state["domains"] * 10_000),
        lambda state: state.update(version=2),
        lambda state: state.pop("boot"),
    ],
)
def test_a_file_that_is_not_as_we_write_it_is_refused(
    tmp_path: Path, board: list[Path], spoil: Spoil
) -> None:
    state = saved(tmp_path, board)
    assert restored(tmp_path) == ["policy0", "policy4", "57000000.gpu"]
    spoil(state)
    before = settings(board)
    path = tmp_path / "state" / clock_state.FILE
    path.write_text(json.dumps(state))
    path.chmod(0o600)
    with pytest.raises(RunError, match=r"clocks\.json: .*remove it"):
        restored(tmp_path)
    assert settings(board) == before


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[", b"[" * 100_000, b"x" * (2 << 20)])
def test_no_json_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    boards.files(tmp_path / "state").chmod(0o700)
    (tmp_path / "state" / clock_state.FILE).write_bytes(content)
    (tmp_path / "state" / clock_state.FILE).chmod(0o600)
    with pytest.raises(RunError, match=r"clocks\.json: .*remove it"):
        restored(tmp_path)


def test_a_name_that_is_no_domain_here_is_only_said(tmp_path: Path, board: list[Path]) -> None:
    state = saved(tmp_path, board)
    for domain in state["domains"]:
        domain["name"] = "policy7"
    (tmp_path / "cpufreq" / "policy7").mkdir()
    (tmp_path / "state" / clock_state.FILE).write_text(json.dumps(state))
    before = settings(board)
    assert restored(tmp_path) == []
    assert settings(board) == before
    assert list((tmp_path / "cpufreq" / "policy7").iterdir()) == []


@pytest.mark.parametrize("more", [0o020, 0o002])
def test_a_file_that_others_may_change_is_refused(
    tmp_path: Path, board: list[Path], more: int
) -> None:
    saved(tmp_path, board)
    path = tmp_path / "state" / clock_state.FILE
    path.chmod(0o600 | more)
    with pytest.raises(RunError, match="others may change it"):
        restored(tmp_path)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_directory_where_others_may_write_is_refused_before_any_clock_is_set(
    tmp_path: Path, board: list[Path], mode: int
) -> None:
    before = settings(board)
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)
    with pytest.raises(RunError, match="others may write there"), held(tmp_path):
        pass
    assert settings(board) == before


def test_a_link_and_a_pipe_are_no_file(tmp_path: Path, board: list[Path]) -> None:
    saved(tmp_path, board)
    path = tmp_path / "state" / clock_state.FILE
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    with pytest.raises(RunError, match=r"clocks\.json: Too many levels of symbolic links"):
        restored(tmp_path)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(RunError, match="no file"):
        restored(tmp_path)


def test_a_directory_that_cannot_be_written_is_said_before_any_clock_is_set(
    tmp_path: Path, board: list[Path]
) -> None:
    before = settings(board)
    boards.files(tmp_path, state="a file in its place")
    with pytest.raises(RunError, match="state"), held(tmp_path):
        pass
    assert settings(board) == before


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, board: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = saved(tmp_path, board)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        clock_state.write(tmp_path / "state", [])
    monkeypatch.undo()
    path = tmp_path / "state" / clock_state.FILE
    assert json.loads(path.read_bytes()) == state
    assert list(path.parent.iterdir()) == [path]


def test_what_could_not_be_put_back_is_not_changed(tmp_path: Path, board: list[Path]) -> None:
    (board[0] / "scaling_governor").unlink()
    before = settings(board)
    with pytest.raises(RunError, match="policy0: could not be put back"), held(tmp_path):
        pass
    assert settings(board) == before


def test_the_directory_is_systemd_s_or_the_user_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/adaptoff:/var/lib/more")
    assert default_directory() == Path("/var/lib/adaptoff")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_directory() == Path("/state/adaptoff")


def test_a_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for _ in range(2):
        with locked(tmp_path):
            assert put_back([], tmp_path) == []
