"""Links with keys over real sockets: who gets in, as whom, and who does not."""

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from adaptoff import config, policy
from adaptoff.commands import keys as command
from adaptoff.errors import Deadline, LinkError, PeerLost, RunError
from adaptoff.messages import PROTOCOL, Activations, Bye, Hello, Weights
from adaptoff.testbed import device, guard, keyfiles, pace, wire
from adaptoff.testbed.keys import ClientKeys, load_client, load_server
from adaptoff.testbed.link import Link
from adaptoff.testbed.live import LiveFleet
from adaptoff.testbed.peers import Peers
from adaptoff.testbed.server import Server
from adaptoff.testbed.transfer import Config
from adaptoff.testbed.wire import Data

PATIENCE_S = 10.0
LOCAL = "tcp://127.0.0.1:*"
BATCH = Activations(round=0, batch=0)


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "keys"
    command.new(["server", "driver", "device-0", "device-1"], made)
    return made


@pytest.fixture
def server(directory):
    with Link.bind(LOCAL, keys=load_server(directory)) as link:
        yield link


@pytest.fixture
def unlisted(directory):
    good = load_client(directory, "driver")
    return ClientKeys(zmq.curve_keypair()[1], good.server)


def client(directory, name):
    return load_client(directory, name)


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def only_the_listed_are_heard(server, directory, endpoint=None):
    """The next thing that the application hears is from somebody who may come in."""
    with Link.connect(endpoint or server.endpoint, keys=client(directory, "device-0")) as good:
        good.send(Bye())
        got = server.recv(PATIENCE_S)
        assert (got.message, got.who) == (Bye(), "device-0")
        server.send(Weights(round=1, cut=2), to=got.peer)
        assert good.recv(PATIENCE_S).message == Weights(round=1, cut=2)
    assert server.recv(PATIENCE_S).lost
    with pytest.raises(Deadline):
        server.recv(0)
    assert server.malformed == 0


@contextlib.contextmanager
def raw_dealer(endpoint, keys=None):
    """A ZeroMQ socket that does as it likes."""
    context = zmq.Context()
    made = context.socket(zmq.DEALER)
    try:
        if keys:
            keys.secure(made)
        made.connect(endpoint)
        yield made
    finally:
        made.close(linger=0)
        context.term()


# --- who is listed


def test_the_listed_are_known_by_their_names(server, directory):
    with contextlib.ExitStack() as stack:
        for name in ("driver", "device-1", "device-0"):
            link = stack.enter_context(Link.connect(server.endpoint, keys=client(directory, name)))
            link.wait_sent(link.send(Bye()), PATIENCE_S)
            assert server.recv(PATIENCE_S).who == name
    lost = [server.recv(PATIENCE_S) for _ in range(3)]
    assert {(item.who, item.lost) for item in lost} == {
        ("driver", True), ("device-1", True), ("device-0", True)
    }  # fmt: skip
    assert server.refused == server.malformed == 0


def test_without_keys_nobody_has_a_name():
    with Link.bind() as server, Link.connect(server.endpoint) as link:
        link.send(Bye())
        assert server.recv(PATIENCE_S).who is None


def test_the_largest_chunks_pass_both_ways(server, directory, monkeypatch):
    monkeypatch.setattr(pace, "MIN_CHUNK_BYTES", pace.MAX_CHUNK_BYTES)
    sent = np.random.default_rng(0).random(5 * pace.MAX_CHUNK_BYTES // 4, dtype=np.float32)
    with Link.connect(server.endpoint, keys=client(directory, "device-0")) as link:
        link.send(BATCH, [sent])
        got = server.recv(PATIENCE_S)
        server.send(BATCH, [sent], to=got.peer)
        answer = link.recv(PATIENCE_S)
    assert np.array_equal(got.arrays[0], sent)
    assert np.array_equal(answer.arrays[0], sent)


def test_several_endpoints_ask_for_keys_alike(directory, tmp_path, unlisted):
    endpoints = [LOCAL, f"ipc://{tmp_path}/s", LOCAL]
    with Link.bind(endpoints, keys=load_server(directory)) as server:
        assert server.endpoint == server.endpoints[0]
        assert [e.partition(":")[0] for e in server.endpoints] == ["tcp", "ipc", "tcp"]
        assert len(set(server.endpoints)) == 3
        for endpoint in server.endpoints:
            only_the_listed_are_heard(server, directory, endpoint)
            before = server.refused
            with Link.connect(endpoint) as plain:
                plain.send(Bye())
                until(lambda least=before: server.refused > least)
            with Link.connect(endpoint, keys=unlisted) as other, pytest.raises(PeerLost):
                other.recv(PATIENCE_S)
        only_the_listed_are_heard(server, directory)


def test_several_plain_endpoints(tmp_path):
    with Link.bind([LOCAL, f"ipc://{tmp_path}/s"]) as server:
        for endpoint in server.endpoints:
            with Link.connect(endpoint) as link:
                link.wait_sent(link.send(Bye()), PATIENCE_S)
                assert server.recv(PATIENCE_S).message == Bye()
            assert server.recv(PATIENCE_S).lost


def test_a_bad_second_endpoint_closes_the_first(directory):
    before = threading.active_count()
    for keys in (None, load_server(directory)):
        with pytest.raises(LinkError, match="nonsense"):
            Link.bind([LOCAL, "nonsense"], keys=keys)
    assert threading.active_count() == before


# --- who is not


def test_an_unlisted_key_is_refused_counted_and_told(server, directory, unlisted, caplog):
    told = pytest.raises(PeerLost, match=r"authorized.toml does not list this key")
    with Link.connect(server.endpoint, keys=unlisted) as link, told:
        link.recv(PATIENCE_S)
    until(lambda: server.refused == 1)
    public = zmq.curve_public(unlisted.secret).decode()
    assert f"not in authorized.toml: {public} from 127.0.0.1" in caplog.text
    only_the_listed_are_heard(server, directory)


def test_plain_text_is_refused_and_counted(server, directory, caplog):
    with Link.connect(server.endpoint) as link:
        link.send(Bye())
        until(lambda: server.refused > 0)
    assert "refused, the last: a client without keys" in caplog.text
    only_the_listed_are_heard(server, directory)


def test_another_servers_key_is_refused_and_counted(server, directory):
    wrong = ClientKeys(client(directory, "device-0").secret, zmq.curve_keypair()[0])
    with Link.connect(server.endpoint, keys=wrong) as link:
        link.send(Bye())
        until(lambda: server.refused > 0)
    only_the_listed_are_heard(server, directory)


def test_keys_against_a_server_without_are_told(directory):
    with (
        Link.bind() as server,
        Link.connect(server.endpoint, keys=client(directory, "driver")) as link,
    ):
        with pytest.raises(PeerLost, match="without keys"):
            link.recv(PATIENCE_S)
        with pytest.raises(Deadline):
            server.recv(0)


ZMTP_1 = b"\x01\x00" + b"\x06\x00hello"
ZMTP_2 = b"\xff" + bytes(8) + b"\x7f\x01\x05\x00\x00" + b"\x00\x05hello"
ZMTP_3_NULL = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)


def test_bytes_on_the_port_reach_nobody(server, directory):
    dice = np.random.default_rng(0)
    junk = [dice.bytes(size) for size in (1, 10, 64, 1000, 100_000)] * 4
    host, port = server.endpoint.removeprefix("tcp://").split(":")
    with contextlib.ExitStack() as stack:
        for sent in [*junk, ZMTP_1, ZMTP_2, ZMTP_3_NULL + b"\x00\x05hello"]:
            raw = stack.enter_context(socket.create_connection((host, int(port))))
            with contextlib.suppress(OSError):
                raw.sendall(sent)
        only_the_listed_are_heard(server, directory)
    only_the_listed_are_heard(server, directory)


def test_the_same_bytes_reach_a_server_without_keys():
    with Link.bind() as server:
        host, port = server.endpoint.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(ZMTP_1)
            until(lambda: server.malformed == 1)


# --- who is listed as somebody else


def test_a_session_cannot_be_taken_over(server, directory):
    with Link.connect(server.endpoint, keys=client(directory, "device-0")) as good:
        good.send(Bye())
        peer = server.recv(PATIENCE_S).peer
        with raw_dealer(server.endpoint, client(directory, "device-1")) as raw:
            for envelope in (Data(peer, 1, 1, 0, 8, 8), wire.Drop(peer, "farewell")):
                raw.send_multipart([wire.encode_envelope(envelope), b""])
            until(lambda: server.refused == 2)
            server.send(Weights(round=1, cut=2), to=peer)
            assert good.recv(PATIENCE_S).message == Weights(round=1, cut=2)
            assert not raw.poll(0)


def test_a_session_belongs_to_its_key():
    theirs = Peers(Config(), 99, 0.0, server=True)
    message = wire.encode(Bye())
    frames = [
        wire.encode_envelope(Data(7, 0, 0, 0, message.header_bytes, message.total_bytes)),
        *message.cut(0, message.total_bytes),
    ]
    theirs.receive(b"r1", frames, 0.0, "device-0")
    theirs.receive(b"r2", [wire.encode_envelope(wire.Beat(7))], 0.0, "device-1")
    theirs.receive(b"r3", [wire.encode_envelope(wire.Beat(7))], 0.0)
    assert (theirs.refused, theirs.malformed, theirs[7].route) == (2, 0, b"r1")
    theirs.receive(b"r4", [wire.encode_envelope(wire.Beat(7))], 0.0, "device-0")
    assert (theirs.refused, theirs[7].route) == (2, b"r4")


@pytest.fixture
def testbed(directory):
    """A whole server with keys, in a thread of its own."""
    task = config.load("demo")
    made = Server(task, config.profile_of(task), keys=load_server(directory))

    def serve():
        with contextlib.suppress(LinkError):
            made.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield made
    made.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_device_joins_under_its_own_name_alone(testbed, directory, caplog):
    other = client(directory, "device-1")
    with pytest.raises(RunError, match="refused: the key is listed as device-1, not as device-0"):
        device.run(testbed.endpoint, 0, policy.default(), keys=other)
    assert "the key is listed as device-1, not as device-0" in caplog.text
    assert testbed._link.refused == 1
    assert testbed._devices == {}
    with Link.connect(testbed.endpoint, keys=client(directory, "device-0")) as mine:
        mine.send(Hello(protocol=PROTOCOL, version="test", role="device", device=0))
        until(lambda: 0 in testbed._devices)


def test_only_the_drivers_key_drives(testbed, directory):
    honest = (directory / "driver.key").read_bytes()
    (directory / "driver.key").write_bytes((directory / "device-1.key").read_bytes())
    with pytest.raises(RunError, match="the key is listed as device-1, not as driver"):
        LiveFleet(testbed.endpoint, keys=directory)
    assert (testbed._link.refused, testbed._driver) == (1, None)
    (directory / "driver.key").write_bytes(honest)
    with contextlib.closing(LiveFleet(testbed.endpoint, keys=str(directory))) as live:
        assert live.welcome.scenario.name == "demo"


# --- changes of the list


def test_a_revoked_key_opens_no_new_connection(server, directory):
    keys = client(directory, "device-1")
    with Link.connect(server.endpoint, keys=keys) as before:
        before.send(Bye())
        peer = server.recv(PATIENCE_S).peer
        command.revoke("device-1", directory)
        with Link.connect(server.endpoint, keys=keys) as after, pytest.raises(PeerLost):
            after.recv(PATIENCE_S)
        until(lambda: server.refused == 1)
        server.send(Bye(), to=peer)  # what is connected stays so
        assert before.recv(PATIENCE_S).message == Bye()
    command.new(["device-1"], directory)
    with Link.connect(server.endpoint, keys=client(directory, "device-1")) as again:
        again.send(Bye())
        until(lambda: server.recv(PATIENCE_S).who == "device-1")


@pytest.mark.parametrize("how", ["missing", "broken", "open to others"])
def test_a_list_that_cannot_be_used_lets_nobody_in(server, directory, caplog, how):
    only_the_listed_are_heard(server, directory)
    path = directory / keyfiles.AUTHORIZED
    text = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "broken":
        path.write_bytes(text[:-3])
    else:
        path.write_bytes(text + b"#\n")
        path.chmod(0o666)
    keys = client(directory, "device-0")
    with Link.connect(server.endpoint, keys=keys) as link, pytest.raises(PeerLost):
        link.recv(PATIENCE_S)
    assert "nobody is let in: " in caplog.text
    path.write_bytes(text)
    path.chmod(0o600)
    only_the_listed_are_heard(server, directory)


def test_the_list_is_read_once_while_it_stays_as_it_is(directory, monkeypatch):
    read = []

    def count(path):
        read.append(path)
        return keyfiles.read_authorized(path)

    monkeypatch.setattr(guard, "read_authorized", count)
    allowed = guard.AllowList(directory / keyfiles.AUTHORIZED)
    names = [
        allowed.name_of(key) for key in keyfiles.read_authorized(read_path(directory)).values()
    ]
    assert names == ["driver", "device-0", "device-1"]
    assert allowed.name_of("") is None
    assert len(read) == 1


def read_path(directory):
    return directory / keyfiles.AUTHORIZED


# --- closing


def test_closing_waits_for_no_handshake(directory, unlisted):
    before = threading.active_count()
    server = Link.bind(LOCAL, keys=load_server(directory))
    host, port = server.endpoint.removeprefix("tcp://").split(":")
    nowhere = Link.connect("tcp://127.0.0.1:9", keys=unlisted)
    refused = Link.connect(server.endpoint, keys=unlisted)
    with contextlib.ExitStack() as stack:
        for greeting in (b"", b"\xff", ZMTP_3_NULL.replace(b"NULL" + bytes(4), b"CURVE\0\0\0")):
            raw = stack.enter_context(socket.create_connection((host, int(port))))
            raw.sendall(greeting)
        until(lambda: server.refused > 0)
        start_s = time.monotonic()
        for link in (server, refused, nowhere):
            link.close()
            link.close()
    assert time.monotonic() - start_s < PATIENCE_S
    assert threading.active_count() == before


def test_a_request_that_nobody_answers_does_not_keep_it_open(directory, monkeypatch):
    asked = threading.Event()

    def hear(self):
        if self._zap.poll(0):
            asked.set()
        return []

    monkeypatch.setattr(guard.ServerGuard, "refusals", hear)
    server = Link.bind(LOCAL, keys=load_server(directory))
    with raw_dealer(server.endpoint, client(directory, "device-0")):
        assert asked.wait(PATIENCE_S)
        closer = threading.Thread(target=server.close)
        closer.start()
        closer.join(PATIENCE_S)
        assert not closer.is_alive()


def knock(endpoint, times):
    """Greet without keys; raises TimeoutError when nobody answers any more."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    for _ in range(times):
        raw = socket.create_connection((host, int(port)), timeout=2)
        with raw, contextlib.suppress(ConnectionError):
            raw.sendall(ZMTP_3_NULL)
            raw.recv(1)


def test_a_flood_while_the_thread_is_busy_passes(server, directory):
    """More failed handshakes than ZeroMQ queues events: its own thread waits for ours."""
    with server._state, pytest.raises(TimeoutError):  # the link's thread waits for this
        knock(server.endpoint, 5000)
    until(lambda: server.refused >= 2000)
    only_the_listed_are_heard(server, directory)


FLOODED = """
import sys, zmq
from pathlib import Path
from adaptoff.testbed import guard, keys
from tests.testbed.test_curve import LOCAL, knock

context = zmq.Context()
router = context.socket(zmq.ROUTER)
made = guard.guard(context, router, keys.load_server(Path(sys.argv[1])))
router.bind(LOCAL)
try:
    knock(router.get_string(zmq.LAST_ENDPOINT), 5000)  # nobody reads
except TimeoutError:
    print("stuck")
made.close()
router.close(linger=0)
context.term()
"""


def test_a_flood_does_not_keep_it_open(directory):
    """In a process of its own: where it hangs, it holds the interpreter's lock."""
    flooded = [sys.executable, "-c", FLOODED, directory]
    root = Path(__file__).parents[2]
    assert subprocess.check_output(flooded, timeout=60, cwd=root) == b"stuck\n"


def test_refusals_do_not_fill_the_log(server, directory, caplog):
    caplog.set_level(logging.WARNING, guard.__name__)
    start_s = time.monotonic()
    for _ in range(20):
        before = server.refused
        with raw_dealer(server.endpoint):
            until(lambda least=before: server.refused > least)
    assert 1 <= len(caplog.records) <= 2 + (time.monotonic() - start_s) / guard.LOG_S
