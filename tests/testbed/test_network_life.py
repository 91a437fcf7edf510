"""How a network begins and ends: nothing of the host's is written to, and nothing is left."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adaptoff.errors import NetworkError
from adaptoff.testbed import namespaces, netorders, tc
from adaptoff.testbed.network import SERVER, Control, Network

PATIENCE_S = 20.0
PARENT = """
import sys, time
from adaptoff.testbed.network import Network
network = Network([(5e6, 5e6)] * 2, rootless=bool(int(sys.argv[1])))
print(network.control, *network.command(1), flush=True)
time.sleep(60)
"""
TRESPASS = """
import asyncio
from adaptoff.testbed import namespaces
from adaptoff.testbed.netlink import Netlink
from adaptoff.testbed.netwiring import Wiring
host = namespaces.own()
netlink = Netlink(namespaces.own_fd(), host)
for write in (
    lambda: Wiring(host),
    lambda: asyncio.run(netlink.add_link("trespasser", "bridge")),
    lambda: asyncio.run(netlink.set_state(1, up=True)),
    lambda: asyncio.run(netlink.shape(1, 1e6, first=True)),
):
    try:
        write()
        print("written")
    except RuntimeError as error:
        print(error)
"""


def until(holds: Callable[[], bool]) -> bool:
    """Whether it holds in time."""
    end_s = time.monotonic() + PATIENCE_S
    while not (held := holds()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return held


def processes_in(namespace: str) -> list[Path]:
    """All that one can see of."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process] * (str((process / "ns/net").readlink()) == namespace)
        except OSError:
            continue
    return found


def seen_from(prefix: list[str]) -> str:
    """Its namespace."""
    look = subprocess.run(
        [*prefix, "readlink", str(namespaces.OWN)], capture_output=True, text=True, check=True
    )
    return look.stdout.strip()


def test_nothing_is_left_when_the_parent_is_killed(rootless: bool) -> None:
    command = [sys.executable, "-c", PARENT, str(int(rootless))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        control, *prefix = parent.stdout.readline().split()
        broker = Path(prefix[-2].removeprefix("--net=")).parents[1]
        held = {str(fd.readlink()) for fd in (broker / "fd").iterdir()}
        mine = {name for name in held if name.startswith("net:")}
        assert seen_from(prefix) in mine
        assert len(mine) == 4  # the bridge's, the server's, two devices'
        parent.kill()
    assert until(lambda: not broker.exists())
    assert until(lambda: not Path(control).parent.exists())
    assert [name for name in mine if processes_in(name)] == []


def test_a_program_that_still_runs_keeps_only_its_own_namespace(rootless: bool) -> None:
    with Network([(5e6, 5e6)] * 2, rootless=rootless) as network:
        inside = [seen_from(network.command(node)) for node in (SERVER, 0, 1)]
        lasting = subprocess.Popen([*network.command(0), "sleep", "60"])
        assert until(lambda: processes_in(inside[1]) != [])
    try:
        assert lasting.poll() is None
        assert [len(processes_in(name)) for name in inside] == [0, 1, 0]
    finally:
        lasting.kill()
        lasting.wait()


def test_the_end_of_the_broker_is_told_and_cleaned_up_after(rootless: bool) -> None:
    with Network([(5e6, 5e6)], rootless=rootless) as network:
        network.check()
        broker = Path(network.command(0)[-2].removeprefix("--net=")).parents[1]
        os.kill(int(broker.name), signal.SIGKILL)
        assert until(lambda: not broker.exists())
        with pytest.raises(NetworkError, match="does not answer"):
            network.set_rates(0, 1e6, 1e6)
        assert until(lambda: raises(network.check))
        folder = Path(network.control).parent
    assert not folder.exists()
    with pytest.raises(NetworkError, match="no network at"):
        Control(network.control)


def raises(work: Callable[[], None]) -> bool:
    try:
        work()
    except NetworkError:
        return True
    return False


def seen_address(network: Network, node: int) -> str:
    """As its own interface has it."""
    ask = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('10.77.0.1', 1)); "
    ask += "print(s.getsockname()[0])"
    inside = [*network.command(node), sys.executable, "-c", ask]
    return subprocess.run(inside, capture_output=True, text=True, check=True).stdout.strip()


def test_a_network_of_the_most_devices_stands(rootless: bool) -> None:
    most = netorders.MAX_DEVICES
    with Network([(5e6, 5e6)] * most, rootless=rootless) as network:
        network.set_rates(most - 1, 1e6, 1e6)
        assert netorders.address(most - 1) == seen_address(network, most - 1)


def test_the_host_is_never_written_to(rootless: bool) -> None:
    trespass = ["unshare", "-Urn" if rootless else "-n", sys.executable, "-c", TRESPASS]
    done = subprocess.run(trespass, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    refusals = done.stdout.splitlines()
    assert len(refusals) == 4
    assert all("host's network namespace" in refusal for refusal in refusals)


@pytest.mark.parametrize("rates", [[], [(5e6, 0.0)], [(5e6, 5e6)] * 257, [(float("nan"), 5e6)]])
def test_rates_that_cannot_be_are_named(rates: list[tuple[float, float]], rootless: bool) -> None:
    with pytest.raises(NetworkError, match=r"Expected .* at `\$\.rates"):
        Network(rates, rootless=rootless)


def test_a_machine_that_cannot_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NetworkError, match="unshare"):
        Network([(5e6, 5e6)])
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2\nexit 1\n")
    unshare.chmod(0o700)
    with pytest.raises(NetworkError, match="cannot be made: unshare failed: Operation not"):
        Network([(5e6, 5e6)])


def test_any_user_can_who_may_make_user_namespaces() -> None:
    """As nobody, where root can become that and nobody can read this installation."""
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv to become another user")
    probing = "from adaptoff.testbed.probe import probe; print(probe().rootless_namespaces.why_not)"
    try:
        able = subprocess.run(
            [*nobody, sys.executable, "-c", probing], capture_output=True, text=True, check=False
        )
    except OSError as error:
        pytest.skip(str(error))
    if able.returncode or able.stdout.strip():
        pytest.skip(f"nobody cannot: {(able.stdout + able.stderr).strip().splitlines()[-1]}")
    asked = PARENT.replace("time.sleep(60)", "network.close()")
    subprocess.run([*nobody, sys.executable, "-c", asked, "1"], check=True, timeout=PATIENCE_S)


def test_addresses_and_buckets() -> None:
    assert [netorders.address(node) for node in (SERVER, 0, 255)] == [
        "10.77.0.1", "10.77.0.2", "10.77.1.1",
    ]  # fmt: skip
    assert tc.bucket(8e6 * 1448 / 1514)["rate"] == 1_000_000
    bursts = [tc.bucket(rate_bps)["burst"] for rate_bps in (1e3, 5e6, 15e6, 25e6, 75e6, 1e9)]
    assert bursts == [1600, 1600, 2941, 4096, 4096, 52279]
