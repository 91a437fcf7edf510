"""The link over real loopback sockets."""

import collections
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq

from adaptoff.errors import Deadline, LinkError, PeerLost
from adaptoff.messages import Activations, Bye, Fault, Gradient, Hello, Weights
from adaptoff.testbed import wire
from adaptoff.testbed.link import SERVER, Config, Link
from adaptoff.testbed.peers import Peers
from adaptoff.testbed.pump import Pump
from adaptoff.testbed.wire import Data

HELLO = Hello(protocol=1, version="test", role="device", device=3)
BATCH = Activations(round=0, batch=0)
PATIENCE_S = 10.0
TRIES = 8
"""a busy host spoils some measurements of time, a wrong rate all of them"""
QUICK = Config(beat_s=0.05, lost_s=0.8, hang_s=0.2)


@pytest.fixture
def server():
    with Link.bind() as link:
        yield link


@pytest.fixture
def device(server):
    with Link.connect(server.endpoint) as link:
        yield link


def greet(server, device):
    """Introduce ``device``; returns what the server calls it."""
    device.send(HELLO)
    return server.recv(PATIENCE_S).peer


def floats(nbytes, seed=0):
    return np.random.default_rng(seed).random(nbytes // 4, dtype=np.float32)


def test_small_messages_both_ways(server, device):
    device.send(HELLO)
    got = server.recv(PATIENCE_S)
    assert (got.message, got.arrays, got.lost) == (HELLO, [], False)
    server.send(Weights(round=1, cut=2), to=got.peer)
    answer = device.recv(PATIENCE_S)
    assert (answer.message, answer.peer) == (Weights(round=1, cut=2), SERVER)


def test_20_mb_both_ways_in_order(server, device):
    peer = greet(server, device)
    up = [floats(20_000_000), np.arange(50, dtype=np.int64)]
    down = floats(20_000_000, seed=1).reshape(50, -1)
    ticket = device.send(BATCH, up)
    device.send(Bye())
    server.send(Gradient(round=0, batch=0, server_s=0.0), [down], to=peer)
    server.send(Bye(), to=peer)
    got, answer = server.recv(PATIENCE_S), device.recv(PATIENCE_S)
    device.wait_sent(ticket, PATIENCE_S)
    assert got.message == BATCH
    assert all(np.array_equal(a, b) for a, b in zip(got.arrays, up, strict=True))
    assert np.array_equal(answer.arrays[0], down)
    assert got.nbytes > 20_000_000
    assert got.finished_s > got.started_s
    assert server.recv(PATIENCE_S).message == Bye()
    assert device.recv(PATIENCE_S).message == Bye()


def test_a_device_knows_when_it_last_heard_its_server(server, device):
    assert device.heard_s is None
    begun_s, peer = time.monotonic(), greet(server, device)
    server.send(Bye(), to=peer)
    device.recv(PATIENCE_S)
    assert begun_s <= device.heard_s <= time.monotonic()
    server.close()
    with pytest.raises(PeerLost):
        device.recv(PATIENCE_S)
    assert device.heard_s is None


def test_many_messages_keep_their_order(server, device):
    peer = greet(server, device)
    for number in range(500):
        device.send(Activations(round=0, batch=number))
        server.send(Activations(round=1, batch=number), to=peer)
    for number in range(500):
        assert server.recv(PATIENCE_S).message.batch == number
        assert device.recv(PATIENCE_S).message.batch == number


def test_devices_are_told_apart(server):
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(Link.connect(server.endpoint)) for _ in range(3)]
        peers = [greet(server, device) for device in devices]
        assert len(set(peers)) == 3
        for number, peer in enumerate(peers):
            server.send(Weights(round=number, cut=0), to=peer)
        got = [device.recv(PATIENCE_S).message.round for device in devices]
    assert got == [0, 1, 2]


@pytest.mark.parametrize(("rate_bps", "nbytes"), [(20e6, 500_000), (100e6, 2_500_000)])
@pytest.mark.parametrize("downlink", [False, True])
def test_shaped_links_have_their_rate(server, device, rate_bps, nbytes, downlink):
    peer = greet(server, device)
    sender, receiver = (server, device) if downlink else (device, server)
    to, of = (peer, SERVER) if downlink else (SERVER, peer)
    sender.shape(to, rate_bps)
    wanted = pytest.approx((8 * nbytes / rate_bps, 8 * nbytes / rate_bps, rate_bps), rel=0.15)
    for _ in range(TRIES):
        start_s = time.monotonic()
        ticket = sender.send(BATCH, [floats(nbytes)], to=to)
        got = receiver.recv(PATIENCE_S)
        found = time.monotonic() - start_s, got.transfer_s, got.rate_bps
        sender.wait_sent(ticket, PATIENCE_S)
        assert receiver.rates(of).in_bps == pytest.approx(got.rate_bps, rel=0.15)
        assert sender.rates(to).out_bps == pytest.approx(receiver.rates(of).in_bps)
        assert receiver.take_rates(of).in_bps == pytest.approx(got.rate_bps)
        assert sender.take_rates(to).out_bps == pytest.approx(got.rate_bps)
        assert sender.take_rates(to) == (None, None)
        if found == wanted:
            break
    assert found == wanted


def send_train(sender, to, receiver, pause_s=0.0):
    """20 messages of 30 KB; with pauses, each is there before the next is sent."""
    for seed in range(20):
        ticket = sender.send(BATCH, [floats(30_000, seed)], to=to)
        if pause_s:
            sender.wait_sent(ticket, PATIENCE_S)
            sender.nap(pause_s)
    return [receiver.recv(PATIENCE_S) for _ in range(20)]


@pytest.mark.parametrize("downlink", [False, True])
def test_short_messages_in_a_row_tell_the_rate(server, device, downlink):
    peer = greet(server, device)
    sender, receiver = (server, device) if downlink else (device, server)
    to, of = (peer, SERVER) if downlink else (SERVER, peer)
    sender.shape(to, 20e6)
    for _ in range(TRIES):
        last = send_train(sender, to, receiver)[-1]
        found = receiver.take_rates(of).in_bps
        if found == pytest.approx(20e6, rel=0.05):
            break
    assert found == pytest.approx(20e6, rel=0.05)
    assert last.transfer_s == pytest.approx(8 * last.nbytes / 20e6, rel=0.15)


def test_short_messages_with_pauses_tell_no_wrong_rate(server, device):
    peer = greet(server, device)
    device.shape(SERVER, 20e6)
    send_train(device, SERVER, server, pause_s=0.003)
    found = server.take_rates(peer).in_bps
    assert found is None or found == pytest.approx(20e6, rel=0.15)


def test_a_shaped_peer_does_not_slow_the_others(server, device):
    slow = greet(server, device)
    with Link.connect(server.endpoint) as other:
        fast = greet(server, other)
        server.shape(slow, 1e6)
        server.send(BATCH, [floats(1_000_000)], to=slow)
        server.send(BATCH, [floats(1_000_000)], to=fast)
        assert other.recv(PATIENCE_S).message == BATCH
        with pytest.raises(Deadline):
            device.recv(0.01)


def test_a_shape_can_be_lifted(server, device):
    greet(server, device)
    device.shape(SERVER, 1e4)
    device.send(BATCH, [floats(1_000_000)])
    with pytest.raises(Deadline):
        server.recv(0.05)
    device.shape(SERVER, None)
    assert server.recv(PATIENCE_S).message == BATCH


# --- waiting


def test_recv_gives_up_in_time(server):
    start_s = time.monotonic()
    with pytest.raises(Deadline, match="message"):
        server.recv(0.05)
    assert time.monotonic() - start_s < PATIENCE_S


def test_a_wait_may_be_without_end(server):
    closer = threading.Timer(0.05, server.close)
    closer.start()
    with pytest.raises(LinkError, match="closed"):
        server.recv(1e12)
    closer.join()


def test_a_full_queue_refuses(server):
    with Link.connect(server.endpoint, Config(queue_bytes=1_000_000)) as device:
        device.shape(SERVER, 1e6)
        device.send(BATCH, [floats(800_000)])
        with pytest.raises(Deadline, match="room"):
            device.send(BATCH, [floats(800_000)])
        device.shape(SERVER, None)
        device.send(BATCH, [floats(800_000)], timeout_s=PATIENCE_S)


def test_a_server_that_comes_late():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with Link.connect(endpoint) as device:
        ticket = device.send(HELLO)
        with pytest.raises(Deadline):
            device.wait_sent(ticket, 0.05)
        with Link.bind(endpoint) as server:
            assert server.recv(PATIENCE_S).message == HELLO
            device.wait_sent(ticket, PATIENCE_S)


# --- whose thread does the work


def ping_pong(server, device, peer, times=20):
    for _ in range(times):
        server.send(BATCH, to=peer)
        device.send(device.recv(PATIENCE_S).message)
        server.recv(PATIENCE_S)


def test_an_application_that_computes_delays_neither_chunks_nor_acknowledgements(server, device):
    peer, ours = greet(server, device), device._peers[SERVER].sender
    ping_pong(server, device, peer)  # the threads of both links have learned to rest
    device.shape(SERVER, 100e6)
    batches = [floats(400_000, seed) for seed in range(4)]
    begun_s = time.monotonic()
    tickets = [device.send(BATCH, [batch]) for batch in batches]
    until(lambda: ours.acked_messages > tickets[-1].number)
    assert time.monotonic() - begun_s < device._peers.config.resend_s
    assert ours.resends == 0
    for batch in batches:
        assert np.array_equal(server.recv(0).arrays[0], batch)


@pytest.mark.parametrize("shaped", [True, False])
def test_arrivals_are_timed_while_the_application_is_away(server, device, shaped):
    ping_pong(server, device, greet(server, device))
    device.shape(SERVER, 50e6 if shaped else None)
    for _ in range(TRIES):
        ticket = device.send(BATCH, [floats(1_000_000)])
        device.wait_sent(ticket, PATIENCE_S)
        waited_s = time.monotonic()
        got = server.recv(0)
        assert got.finished_s <= waited_s
        if not shaped or got.rate_bps == pytest.approx(50e6, rel=0.05):
            return
    pytest.fail(f"{got.rate_bps} bit/s")


def test_what_was_taken_is_acknowledged_though_nobody_calls(server, device):
    greet(server, device)
    for _ in range(50):
        ticket = device.send(BATCH)
        server.recv(PATIENCE_S)
        device.wait_sent(ticket, PATIENCE_S)
    assert device._peers[SERVER].sender.resends == 0


def test_two_threads_wait_at_once(server, device):
    peer, got = greet(server, device), []
    device.shape(SERVER, 0)
    ticket = device.send(BATCH, [floats(100_000)])
    waits = [
        lambda: got.append(device.recv(PATIENCE_S).message),
        lambda: got.append(device.wait_sent(ticket, PATIENCE_S)),
    ]
    for first, second in (waits, waits[::-1]):
        threads = [threading.Thread(target=wait) for wait in (first, second)]
        for number, thread in enumerate(threads, start=1):
            thread.start()
            until(lambda least=number: device._waiting >= least)
        server.send(Bye(), to=peer)
        device.shape(SERVER, None)
        for thread in threads:
            thread.join(PATIENCE_S)
        assert sorted(got, key=str) == [Bye(), None]
        got.clear()
        device.shape(SERVER, 0)
        ticket = device.send(BATCH, [floats(100_000)])


def test_a_thread_sends_while_another_waits(server, device):
    peer, got = greet(server, device), []
    waiter = threading.Thread(target=lambda: got.append(device.recv(PATIENCE_S).message))
    waiter.start()
    until(lambda: device._waiting)
    device.send(BATCH, [floats(1_000_000)])
    assert server.recv(PATIENCE_S).message == BATCH
    server.send(Bye(), to=peer)
    waiter.join(PATIENCE_S)
    assert got == [Bye()]


def test_nobody_turns_in_vain(server, device, monkeypatch):
    greet(server, device)
    turns, turn = [], Pump._turn

    def counted(self, *arguments):
        turns.append(self)
        return turn(self, *arguments)

    monkeypatch.setattr(Pump, "_turn", counted)
    with pytest.raises(Deadline):
        server.recv(0.3)
    assert len(turns) < 30


# --- peers that end


def test_a_closed_server_is_noticed(server, device):
    greet(server, device)
    server.close()
    with pytest.raises(PeerLost):
        device.recv(PATIENCE_S)
    with pytest.raises(PeerLost):
        device.send(HELLO)


def test_a_closed_device_is_an_item(server, device):
    peer = greet(server, device)
    device.close()
    item = server.recv(PATIENCE_S)
    assert (item.peer, item.lost) == (peer, True)
    assert isinstance(item.message, Fault)
    with pytest.raises(PeerLost):
        server.send(Bye(), to=peer)


def test_what_came_before_the_end_is_not_lost(server, device):
    peer = greet(server, device)
    server.wait_sent(server.send(BATCH, [floats(1_000_000)], to=peer), PATIENCE_S)
    server.close()
    assert device.recv(PATIENCE_S).message == BATCH
    with pytest.raises(PeerLost):
        device.recv(PATIENCE_S)


KILLED = """
import sys, time
from adaptoff.messages import Hello
from adaptoff.testbed.link import Link
link = Link.connect(sys.argv[1])
link.send(Hello(protocol=1, version="test", role="device"))
time.sleep(60)
"""


def test_a_killed_device_is_an_item():
    with Link.bind(config=QUICK) as server:
        child = subprocess.Popen([sys.executable, "-c", KILLED, server.endpoint])
        try:
            server.recv(PATIENCE_S)
            child.send_signal(signal.SIGKILL)
        finally:
            child.kill()
            child.wait()
        item = server.recv(PATIENCE_S)
        assert item.lost
        assert "silent" in item.message.reason


def test_a_hung_application_is_seen_and_a_waiting_one_lives():
    with Link.bind(config=QUICK) as server, Link.connect(server.endpoint, QUICK) as device:
        greet(server, device)
        item = server.recv(PATIENCE_S)  # the device's application does nothing
        assert item.lost
        with Link.connect(server.endpoint, QUICK) as other:
            greet(server, other)
            waiter = threading.Thread(target=wait_long, args=(other,))
            waiter.start()
            with pytest.raises(Deadline):
                server.recv(2 * (QUICK.hang_s + QUICK.lost_s))
            waiter.join()


def test_a_service_manager_is_told_while_the_application_lives(tmp_path, monkeypatch):
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        Link.bind(config=QUICK) as server,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        with Link.connect(server.endpoint, QUICK) as device:
            greet(server, device)
            assert manager.recv(64) == b"WATCHDOG=1"
            assert server.recv(PATIENCE_S).lost  # the device's application does nothing
            manager.settimeout(QUICK.hang_s)
            with pytest.raises(TimeoutError):
                collections.deque(iter(lambda: manager.recv(64), b""), maxlen=0)


def wait_long(link):
    with contextlib.suppress(Deadline, PeerLost):
        link.recv(2 * (QUICK.hang_s + QUICK.lost_s))


# --- junk


def rest_unharmed(server, device):
    peer = greet(server, device)
    server.send(Bye(), to=peer)
    assert device.recv(PATIENCE_S).message == Bye()


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


@pytest.mark.parametrize(
    "frames",
    [
        [b"junk"],
        [b""],
        [b"\xc1" * 70_000],
        [b"x"] * 5000,
        [wire.encode_envelope(Data(5, 0, 0, 0, 8, 1 << 40)), b"oversize"],
        [wire.encode_envelope(Data(5, 0, 0, 0, 4, 4)), b"\xff" * 4],
    ],
    ids=["junk", "empty", "large", "many frames", "oversize", "bad header"],
)
def test_junk_from_a_zmq_socket(server, device, frames):
    context = zmq.Context()
    raw = context.socket(zmq.DEALER)
    try:
        raw.connect(server.endpoint)
        raw.send_multipart(frames)
        until(lambda: server.malformed == 1)
        rest_unharmed(server, device)
    finally:
        raw.close(linger=0)
        context.term()


def test_junk_from_tcp_sockets(server, device):
    dice = np.random.default_rng(0)
    host, port = server.endpoint.removeprefix("tcp://").split(":")
    for size in (1, 10, 64, 1000, 100_000):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as raw:
            raw.sendall(dice.bytes(size))
    rest_unharmed(server, device)


def test_a_frame_beyond_the_bound_ends_only_its_connection(server, device):
    context = zmq.Context()
    raw = context.socket(zmq.DEALER)
    try:
        raw.connect(server.endpoint)
        raw.send_multipart([wire.encode_envelope(Data(5, 0, 0, 0, 8, 8)), bytes(20_000_000)])
        rest_unharmed(server, device)
        with pytest.raises(Deadline):
            server.recv(0.1)
        assert server.malformed == 0  # ZeroMQ itself has refused it
    finally:
        raw.close(linger=0)
        context.term()


# --- closing


def own_threads():
    return [t for t in threading.enumerate() if t.name == "adaptoff-link"]


def test_close_waits_for_nobody_and_leaves_no_thread():
    before = own_threads()
    server = Link.bind()
    device = Link.connect(server.endpoint)
    nowhere = Link.connect("tcp://127.0.0.1:9")
    greet(server, device)
    device.shape(SERVER, 1e5)
    device.send(BATCH, [floats(5_000_000)])
    nowhere.send(BATCH, [floats(5_000_000)])
    start_s = time.monotonic()
    for link in (device, nowhere, server):
        link.close()
        link.close()
    assert time.monotonic() - start_s < PATIENCE_S
    assert own_threads() == before


def test_a_closed_link_refuses(server, device):
    device.close()
    for use in (lambda: device.send(Bye()), lambda: device.recv(1), device.rates):
        with pytest.raises(LinkError, match="closed"):
            use()


@pytest.mark.parametrize("used", [False, True])
def test_closing_wakes_all_who_wait(server, device, used):
    if used:
        ping_pong(server, device, greet(server, device))
    told = []

    def wait():
        with pytest.raises(LinkError, match="closed"):
            server.recv(PATIENCE_S)
        told.append(True)

    waiters = [threading.Thread(target=wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    until(lambda: server._waiting == len(waiters))
    server.close()
    for waiter in waiters:
        waiter.join(PATIENCE_S)
    assert len(told) == len(waiters)


def fail(self, now_s):
    raise ZeroDivisionError


@pytest.mark.parametrize("waiting", [False, True])
def test_a_failed_thread_fails_the_calls(server, monkeypatch, waiting):
    monkeypatch.setattr(Peers, "outgoing", fail)
    server._pump.wake()
    if not waiting:
        until(lambda: not server._pump.is_alive())
    with pytest.raises(LinkError, match="failed") as caught:
        server.recv(PATIENCE_S)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://127.0.0.1:notaport", "tcp://8.8.8.8:1"])
def test_bad_endpoints(endpoint):
    before = own_threads()
    with pytest.raises(LinkError, match=endpoint):
        Link.bind(endpoint)
    assert own_threads() == before
