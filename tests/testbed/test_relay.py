"""Delay, jitter and loss of links: by the relay, and by netem where the kernel has it."""

import os
import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adaptoff.errors import NetworkError
from adaptoff.testbed import netecho, network, relay, relays, tc
from adaptoff.testbed.netecho import Echo
from adaptoff.testbed.netmeter import goodput_bps, measure
from adaptoff.testbed.netorders import Emulator
from adaptoff.testbed.network import SERVER, Impairment, Network
from adaptoff.testbed.probe import Abilities, Ability, probe

RATE_BPS = 25e6
TRIES = 4
"""a busy machine makes round trips longer and a link slower at times, never the other way"""
PATIENCE_S = 20.0

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def near() -> Iterator[Pair]:
    """The relay's end of a cable, and what is plugged in there."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in pair:
        end.settimeout(0)
    with pair[0], pair[1]:
        yield pair


far = near


def way(near: Pair, far: Pair, draws: list[float], jitter_s: float, loss: float = 0) -> relay.Way:
    """Draws come from the list."""
    return relay.Way(near[0], far[0], 0.02, jitter_s, loss, iter(draws).__next__)


def arrived(end: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(end.recv(100))
        except BlockingIOError:
            return found


def test_a_frame_leaves_when_it_is_due_and_not_before(near: Pair, far: Pair) -> None:
    tried = way(near, far, [0.5, 0.5], jitter_s=0)
    near[1].send(b"one")
    tried.take(100.0)
    assert tried.due_s == pytest.approx(100.02)
    tried.give(100.019)
    assert arrived(far[1]) == []
    tried.give(100.021)
    assert arrived(far[1]) == [b"one"]
    assert tried.due_s == float("inf")


def test_jitter_delays_but_never_lets_one_frame_overtake_another(near: Pair, far: Pair) -> None:
    tried = way(near, far, [0.5, 1.0, 0.5, 0.0, 0.5, 0.75], jitter_s=0.01)
    dues_s = []
    for i in range(3):
        near[1].send(bytes([i]))
        tried.take(100.0)
        dues_s.append(tried._waiting[-1][0])
    assert dues_s == pytest.approx([100.03, 100.03, 100.03])
    tried.give(100.031)
    assert arrived(far[1]) == [b"\0", b"\1", b"\2"]


def test_a_draw_below_the_loss_loses_a_frame(near: Pair, far: Pair) -> None:
    tried = way(near, far, [0.09, 0.11, 0.5], jitter_s=0, loss=0.1)
    near[1].send(b"lost")
    near[1].send(b"kept")
    tried.take(0.0)
    tried.give(1.0)
    assert arrived(far[1]) == [b"kept"]


def test_what_waits_is_bounded(near: Pair, far: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_FRAMES", 2)
    tried = way(near, far, [0.5] * 6, jitter_s=0)
    for i in range(3):
        near[1].send(bytes([i]))
    tried.take(0.0)
    tried.give(1.0)
    assert arrived(far[1]) == [b"\0", b"\1"]


def test_a_full_queue_or_a_cut_cable_loses_frames_and_no_more(near: Pair, far: Pair) -> None:
    tried = way(near, far, [0.5] * 4, jitter_s=0)
    near[1].send(b"one")
    tried.take(0.0)
    far[1].close()
    tried.give(1.0)
    near[1].close()
    tried.take(2.0)
    assert tried.due_s == float("inf")


def test_netem_gets_half_of_each_and_a_rate_that_keeps_the_order() -> None:
    assert tc.netem(Impairment(0.04, 0.01, 0.1)) == {
        "delay": 20_000, "jitter": 5000, "loss": 10.0, "limit": 65_536, "rate": 4_000_000_000,
    }  # fmt: skip


@pytest.fixture(scope="module", params=["netem", "relay"])
def emulator(request: pytest.FixtureRequest, rootless: bool) -> Emulator:
    """Each that this machine has."""
    if missing := getattr(probe(), request.param).why_not:
        pytest.skip(f"{request.param}: {missing}")
    return request.param


Lay = Callable[[Impairment], Network]


@pytest.fixture
def lay(emulator: Emulator, rootless: bool) -> Iterator[Lay]:
    """Networks whose device 0 is impaired, and device 1 is not."""
    laid = []

    def make(impairment: Impairment) -> Network:
        rates = [(RATE_BPS, RATE_BPS)] * 2
        impairments = [impairment, Impairment()]
        laid.append(Network(rates, impairments, rootless=rootless, emulator=emulator))
        return laid[-1]

    yield make
    for each in laid:
        each.close()


def median_ms(network: Network, device: int, count: int = 40) -> float:
    """Of round trips that do not meet each other, the least of some tries."""
    echoes = [netecho.measure(network, device, SERVER, count, 0.01) for _ in range(2)]
    return min(1e3 * statistics.median(each.rtt_s for each in tried) for tried in echoes)


def test_round_trips_take_what_they_should_and_only_on_their_link(lay: Lay) -> None:
    laid = lay(Impairment(rtt_s=0.04))
    assert median_ms(laid, 0) == pytest.approx(40, abs=2)
    assert median_ms(laid, 1) < 2


def test_jitter_spreads_round_trips_and_keeps_their_order(lay: Lay) -> None:
    laid = lay(Impairment(rtt_s=0.04, jitter_s=0.02))
    apart = netecho.measure(laid, 0, SERVER, 60, 0.03)  # further than frames stray
    rtts_ms = [1e3 * echo.rtt_s for echo in apart]
    assert statistics.median(rtts_ms) == pytest.approx(40, abs=6)
    assert min(rtts_ms) > 20 - 1
    assert statistics.pstdev(rtts_ms) == pytest.approx(8.2, rel=0.5)  # 20 / sqrt(6)
    dense = [echo.number for echo in netecho.measure(laid, 0, SERVER, 500, 0.0005)]
    assert dense == sorted(dense)
    assert len(dense) == 500


def test_the_share_that_should_be_lost_is_lost(lay: Lay) -> None:
    count, loss = 1000, 0.1
    laid = lay(Impairment(loss=loss))
    echoes: list[Echo] = netecho.measure(laid, 0, SERVER, count, 0.001)
    back = (1 - loss) ** 2
    spread = (back * (1 - back) * count) ** 0.5
    assert len(echoes) == pytest.approx(count * back, abs=5 * spread)


def best_bps(laid: Network, sender: int, receiver: int, rate_bps: float) -> float:
    """Goodput over a second, of the first transfer that was not held up by others' work."""
    best = 0.0
    for _ in range(TRIES):
        best = max(best, goodput_bps(measure(laid, sender, receiver, int(rate_bps / 8))))
        if best > 0.96 * rate_bps:
            break
    return best


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_long_transfer_still_gets_its_rate_and_a_changed_one(lay: Lay, up: bool) -> None:
    laid = lay(Impairment(rtt_s=0.02))
    ends = (0, SERVER) if up else (SERVER, 0)
    assert best_bps(laid, *ends, RATE_BPS) == pytest.approx(RATE_BPS, rel=0.06)
    laid.set_rates(0, 10e6, 10e6)
    assert best_bps(laid, *ends, 10e6) == pytest.approx(10e6, rel=0.06)


def test_a_cut_is_a_cut_and_ends(lay: Lay) -> None:
    laid = lay(Impairment(rtt_s=0.02))
    laid.cut(0)
    assert netecho.measure(laid, 0, SERVER, 5, 0.01) == []
    laid.restore(0)
    assert median_ms(laid, 0, 10) == pytest.approx(20, abs=3)


def relays_of(laid: Network) -> list[int]:
    """Processes that relay for a network: children of its broker."""
    broker = broker_of(laid)
    return [
        int(child) for child in Path(f"/proc/{broker}/task/{broker}/children").read_text().split()
    ]


def broker_of(laid: Network) -> int:
    return int(laid.command(SERVER)[-2].split("/")[2])


def until(holds: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + PATIENCE_S
    while not (held := holds()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return held


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_links_that_are_not_impaired_are_wired_as_ever(rootless: bool) -> None:
    with Network([(RATE_BPS, RATE_BPS)], [Impairment()], rootless=rootless) as laid:
        assert laid.emulator is None
        assert relays_of(laid) == []


def needs_relays() -> None:
    if why_not := probe().relay.why_not:
        pytest.skip(why_not)


@pytest.mark.parametrize("kill", [False, True], ids=["closed", "killed"])
def test_relays_end_with_their_network(rootless: bool, kill: bool) -> None:
    needs_relays()
    impairments = [Impairment(0.01), Impairment(), Impairment(loss=0.1)]
    rates = [(RATE_BPS, RATE_BPS)] * 3
    with Network(rates, impairments, rootless=rootless, emulator="relay") as laid:
        running = relays_of(laid)
        assert len(running) == 2
        if kill:
            os.kill(broker_of(laid), signal.SIGKILL)
            assert until(lambda: all(gone(pid) for pid in running))
    assert until(lambda: all(gone(pid) for pid in running))


def test_the_end_of_a_relay_is_told(rootless: bool) -> None:
    needs_relays()
    rates = [(RATE_BPS, RATE_BPS)] * 2
    impairments = [Impairment(), Impairment(0.01)]
    with Network(rates, impairments, rootless=rootless, emulator="relay") as laid:
        os.kill(relays_of(laid)[0], signal.SIGKILL)
        assert until(lambda: laid._process._popen.poll() is not None)
        with pytest.raises(NetworkError, match="device 1: the relay of its link ended"):
            laid.check()


def test_a_relay_that_cannot_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "relay.py"
    broken.write_text("")
    monkeypatch.setattr(relay, "__file__", str(broken))
    started = relays.Relays()
    started.start(3, "near", "far", Impairment(0.01))
    with pytest.raises(NetworkError, match="device 3"):
        started.wait()
    started.close()


def able(netem: str, relay: str) -> Abilities:
    yes = Ability()
    return Abilities(yes, yes, yes, yes, Ability(netem), Ability(relay), yes, yes)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert network.emulator_of(able("", "")) == "netem"
    assert network.emulator_of(able("no netem", "")) == "relay"
    monkeypatch.setattr(network, "probe", lambda: able("no such file", "not permitted"))
    with pytest.raises(NetworkError, match="netem: no such file; relay: not permitted"):
        Network([(RATE_BPS, RATE_BPS)], [Impairment(0.01)])
    with pytest.raises(NetworkError, match="2 impairments for 1 devices"):
        Network([(RATE_BPS, RATE_BPS)], [Impairment()] * 2)


def test_impairments_out_of_range_are_named(rootless: bool) -> None:
    with pytest.raises(NetworkError, match=r"<= 0.5 .*\$\.impairments"):
        Network([(5e6, 5e6)], [Impairment(loss=0.6)], rootless=rootless, emulator="relay")
