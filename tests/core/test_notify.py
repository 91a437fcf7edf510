"""What a service tells systemd, over the same kind of socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptoff import notify


class Heard:
    """A service manager's end."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def all(self) -> list[str]:
        """Messages since the last call."""
        said = []
        while True:
            try:
                said.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return said


@pytest.fixture(params=["path", "abstract"])
def heard(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Heard]:
    name = f"@adaptoff-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    manager = Heard("\0" + name[1:] if name.startswith("@") else name)
    yield manager
    manager.socket.close()


def test_ready_status_and_stopping(heard: Heard) -> None:
    notify.ready("waits for\nthe server")
    notify.status("round 3")
    notify.stopping()
    assert heard.all() == ["READY=1\nSTATUS=waits for the server", "STATUS=round 3", "STOPPING=1"]


def test_a_status_cannot_say_anything_else(heard: Heard) -> None:
    notify.status("x\nMAINPID=1\r\nREADY=1")
    notify.status("")
    notify.status("y" * 10_000 + "\udcff")
    (first, second) = heard.all()
    assert first == "STATUS=x MAINPID=1 READY=1"
    assert second == "STATUS=" + "y" * notify.MAX_STATUS_CHARACTERS


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1", "/no/such/socket", "@nobody"])
def test_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready()
    notify.stopping()


def test_a_full_socket_does_not_hold_up_the_loop(heard: Heard) -> None:
    for _ in range(10_000):
        notify.status("x")  # would block for good once the kernel's queue is full
    assert heard.all()


def test_it_is_silent_outside_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    notify.ready()
    dog = notify.Watchdog()
    dog.alive()
    assert dog.interval_s == 0


def test_the_watchdog_hears_every_half_interval(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    now_s = 100.0
    dog = notify.Watchdog(lambda: now_s)
    at_s = []
    for now_s in range(100, 121):
        dog.alive()
        at_s += [now_s] * len(heard.all())
    assert at_s == [100, 105, 110, 115, 120]


def test_a_loop_that_hangs_is_not_said_to_live(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    now_s = 0.0
    dog = notify.Watchdog(lambda: now_s)
    dog.alive()
    now_s = 60.0
    assert heard.all() == ["WATCHDOG=1"]
    dog.alive()
    assert heard.all() == ["WATCHDOG=1"]  # once, not for what was missed


@pytest.mark.parametrize(
    "variables",
    [
        {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
    ],
)
def test_a_watchdog_that_is_not_ours_or_not_there(
    variables: dict[str, str], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    notify.Watchdog().alive()
    assert heard.all() == []
