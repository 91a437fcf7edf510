"""A network of namespaces: what it carries, what changes it, what is left of it."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adaptoff.errors import NetworkError
from adaptoff.testbed import namespaces
from adaptoff.testbed.netmeter import Arrival, Transfer, goodput_bps, measure
from adaptoff.testbed.network import SERVER, Control, Network

SLOW_BPS, FAST_BPS = 25e6, 75e6
PATIENCE_S = 20.0
TRIES = 4
"""a busy machine makes a link slower at times, never faster"""


@pytest.fixture(scope="module")
def standing(rootless: bool) -> Iterator[Network]:
    """Device 0 is slow up and fast down, device 1 the other way round."""
    with Network([(SLOW_BPS, FAST_BPS), (FAST_BPS, SLOW_BPS)], rootless=rootless) as network:
        yield network


@pytest.fixture
def network(standing: Network) -> Iterator[Network]:
    """As ``standing``, whatever a test did to it."""
    yield standing
    standing.set_rates(0, SLOW_BPS, FAST_BPS)
    standing.set_rates(1, FAST_BPS, SLOW_BPS)


def best_bps(network: Network, sender: int, receiver: int, rate_bps: float) -> float:
    """Goodput over 0.2 s, of the first transfer that was not held up by others' work."""
    best = 0.0
    for _ in range(TRIES):
        best = max(best, goodput_bps(measure(network, sender, receiver, int(rate_bps / 8 * 0.2))))
        if best > 0.97 * rate_bps:
            break
    return best


def carried_bps(arrivals: list[Arrival], start_s: float, end_s: float) -> float:
    """Payload rate between the first and the last arrival of a while."""
    return goodput_bps([each for each in arrivals if start_s <= each.at_s <= end_s])


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_each_direction_carries_its_own_payload_rate(
    network: Network, device: int, up: bool
) -> None:
    rate_bps = SLOW_BPS if (device == 0) == up else FAST_BPS
    ends = (device, SERVER) if up else (SERVER, device)
    assert best_bps(network, *ends, rate_bps) == pytest.approx(rate_bps, rel=0.03)


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_new_rate_holds_within_a_second_for_a_connection_that_stands(
    network: Network, up: bool
) -> None:
    network.set_rates(0, 5e6, 5e6)
    with Transfer(network, *((0, SERVER) if up else (SERVER, 0)), 1_500_000) as transfer:
        transfer.wait_for_first()
        changed_s = time.monotonic()
        network.set_rates(0, 40e6, 40e6)
        arrivals = transfer.finish()
    assert arrivals[-1].total_bytes == 1_500_000
    assert arrivals[-1].at_s < changed_s + 1.0  # 2.4 s as it was


def test_a_timeline_plays(network: Network) -> None:
    start_s = time.monotonic() + 0.5
    past = [(i - 9000.0, 1e6 + i, 1e6) for i in range(8000)]  # overtaken, so not worth their time
    steps = [(-1.0, 20e6, 10e6), (0.0, 10e6, 10e6), (0.5, 20e6, 20e6), (60.0, 1e6, 1e6)]
    network.play(0, start_s, [*past, *steps])
    with Transfer(network, 0, SERVER, 2_500_000) as transfer:
        arrivals = transfer.finish()
    assert carried_bps(arrivals, start_s + 0.05, start_s + 0.5) == pytest.approx(10e6, rel=0.1)
    assert carried_bps(arrivals, start_s + 0.6, start_s + 60) == pytest.approx(20e6, rel=0.1)


def test_an_order_ends_the_timeline_before_it(network: Network) -> None:
    network.play(0, time.monotonic() + 0.15, [(0.0, 1e6, 1e6)])
    network.play(0, time.monotonic() + 0.15, [(0.0, 1e6, 1e6)])
    network.set_rates(0, SLOW_BPS, FAST_BPS)
    assert best_bps(network, 0, SERVER, SLOW_BPS) > 0.9 * SLOW_BPS


def test_a_cut_link_carries_nothing_and_its_connections_go_on_after_it(network: Network) -> None:
    with Transfer(network, 0, SERVER, 1_000_000) as transfer:
        transfer.wait_for_first()
        network.cut(0)
        cut_s = time.monotonic()
        assert best_bps(network, SERVER, 1, SLOW_BPS) > 0.9 * SLOW_BPS  # others do not notice
        restored_s = time.monotonic()
        network.restore(0)
        arrivals = transfer.finish()
    assert [each for each in arrivals if cut_s + 0.1 < each.at_s < restored_s] == []
    assert arrivals[-1].total_bytes == 1_000_000


def test_networks_beside_each_other_and_the_host_are_not_disturbed(
    network: Network, rootless: bool
) -> None:
    links, own = socket.if_nameindex(), namespaces.own()
    with Network([(8e6, 8e6)], rootless=rootless) as other:
        assert socket.if_nameindex() == links
        with Transfer(other, 0, SERVER, 500_000) as transfer:
            assert best_bps(network, 0, SERVER, SLOW_BPS) > 0.9 * SLOW_BPS
            assert goodput_bps(transfer.finish()) == pytest.approx(8e6, rel=0.1)
    assert (socket.if_nameindex(), namespaces.own()) == (links, own)


def test_another_process_of_this_user_may_change_the_network(network: Network) -> None:
    assert Path(network.control).parent.stat().st_mode & 0o777 == 0o700
    order = "import sys; from adaptoff.testbed.network import Control; "
    order += "Control(sys.argv[1]).set_rates(0, 8e6, 8e6)"
    inside = [*network.command(SERVER), sys.executable, "-W", "ignore", "-c", order]
    subprocess.run([*inside, network.control], check=True, timeout=PATIENCE_S)
    assert best_bps(network, 0, SERVER, 8e6) == pytest.approx(8e6, rel=0.05)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (lambda control: control.set_rates(2, 1e6, 1e6), "the network has 2"),
        (lambda control: control.set_rates(-1, 1e6, 1e6), ">= 0"),
        (lambda control: control.set_rates(0, float("nan"), 1e6), "null"),
        (lambda control: control.set_rates(0, 0.0, 1e6), ">= 1000"),
        (lambda control: control.play(0, 0.0, []), "length >= 1"),
        (lambda control: control.play(0, 0.0, [(1.0, 1e6, 1e6), (0.0, 1e6, 1e6)]), "ascend"),
        (lambda control: control.play(0, 0.0, [(0.0, 1e6, 1e6)] * 10_001), "length <= 10000"),
    ],
)
def test_what_cannot_be_is_refused(
    network: Network, order: Callable[[Control], None], why: str
) -> None:
    with Control(network.control) as control:
        with pytest.raises(NetworkError, match=why):
            order(control)
        control.restore(0)  # it listens on


@pytest.mark.parametrize("junk", [b"\xff\n", b"[" * 100_000 + b"\n", b"x" * (2 << 20) + b"\n"])
def test_junk_hurts_only_its_sender(network: Network, junk: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(network.control)
        try:
            client.sendall(junk)
            answer = client.recv(100)
        except ConnectionError:
            answer = b""
    assert not answer or b"refused" in answer
    network.restore(0)


def test_each_namespace_has_its_loopback_and_a_mild_congestion_control(network: Network) -> None:
    look = "import socket; here = socket.create_server(('127.0.0.1', 0)); "
    look += "socket.create_connection(here.getsockname(), 5); "
    look += "print(open('/proc/sys/net/ipv4/tcp_congestion_control').read())"
    for node in (SERVER, 0):
        inside = [*network.command(node), sys.executable, "-c", look]
        said = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
        assert said.strip() in {"cubic", "reno"}
