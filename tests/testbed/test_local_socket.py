"""The local protocol over real sockets: a loop, a control process, and whoever else knocks."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from adaptoff import local_place
from adaptoff.errors import AdaptoffError, Deadline, InputError, Malformed, RunError, WireError
from adaptoff.local import PROTOCOL, Answer, LocalController, Measured
from adaptoff.local_messages import MAX_BYTES, Ask, Refusal, decode_ask, decode_reply, encode
from adaptoff.testbed.local_socket import LocalSocket

PATIENCE_S = 10.0
ROUND = Measured(device_s=1.0, total_s=2.0, samples=200)


def row(ask: Ask, cut: int = 2) -> Answer:
    return Answer(number=ask.number, round=3, cut=cut, opp=1, mhz=600, source="policy", reason="")


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/made/c.sock" if request.param == "ipc" else "tcp://127.0.0.1:*"


@contextmanager
def answering(
    endpoint: str, answer: Callable[[Ask], Answer] = row
) -> Iterator[tuple[LocalSocket, list[Ask]]]:
    """A socket that answers in a thread, and what it was asked."""
    asked: list[Ask] = []
    done = threading.Event()

    def note(ask: Ask) -> Answer:
        asked.append(ask)
        return answer(ask)

    with LocalSocket(endpoint) as made:

        def serve() -> None:
            while not done.is_set():
                made.turn(note, 0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield made, asked
        finally:
            done.set()
            thread.join(PATIENCE_S)


def test_a_loop_is_answered(endpoint: str) -> None:
    with answering(endpoint) as (made, asked), LocalController(made.endpoint) as controller:
        first = controller.next(None)
        second = controller.next(ROUND)
        third = controller.next(msgspec.structs.replace(ROUND, cut=5))
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert (first.round, first.cut, first.opp, first.mhz) == (3, 2, 1, 600)
    assert asked[0].measured is None
    assert asked[1].measured == msgspec.structs.replace(
        ROUND, cut=2, depth=1, codec="float32"
    )  # as answered
    assert asked[2].measured == msgspec.structs.replace(ROUND, cut=5)  # as it says itself
    assert made.refused == 0


def test_two_loops_get_their_own_answers(endpoint: str) -> None:
    with (
        answering(endpoint, lambda ask: row(ask, ask.measured.samples if ask.measured else 0)) as (
            made, _,
        ),
        LocalController(made.endpoint) as one,
        LocalController(made.endpoint) as other,
    ):  # fmt: skip
        mine = msgspec.structs.replace(ROUND, samples=7)
        assert [one.next(mine).cut, other.next(None).cut, one.next(None).cut] == [7, 0, 0]


def test_without_a_control_process_the_wait_ends_and_says_what_to_start(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/c.sock"
    tmp_path.chmod(0o700)
    with LocalController(endpoint, timeout_s=0.05) as controller:
        with pytest.raises(Deadline, match=r"no control process.*adaptoff control --scenario"):
            controller.next(None)
        controller.timeout_s = PATIENCE_S
        with answering(endpoint) as (_, asked):
            assert controller.next(None).cut == 2
        assert [ask.number for ask in asked] == [2]  # the question asked in vain was not kept


def test_a_late_answer_is_not_taken_for_the_next_one(endpoint: str) -> None:
    with LocalSocket(endpoint) as made, LocalController(made.endpoint) as controller:
        controller.timeout_s = 0.3
        with pytest.raises(Deadline, match=r"no answer within 0\.3 s"):
            controller.next(None)
        made.turn(lambda ask: row(ask, cut=9), PATIENCE_S)  # the loop has gone on
        controller.timeout_s = PATIENCE_S
        turn = threading.Thread(target=made.turn, args=(row, PATIENCE_S))
        turn.start()
        assert controller.next(None).cut == 2
        turn.join(PATIENCE_S)


def test_a_loop_outlives_its_control_process(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    endpoint = f"ipc://{tmp_path}/c.sock"
    with LocalController(endpoint, timeout_s=PATIENCE_S) as controller:
        for _ in range(2):
            with answering(endpoint) as (_, asked):
                controller.next(ROUND)
            assert len(asked) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device_s": float("nan")}, "device_s"),
        ({"total_s": -1.0}, "total_s"),
        ({"samples": 0}, "samples"),
        ({"up_bps": 0.0}, "up_bps"),
        ({"server_speed": float("inf")}, "server_speed"),
        ({"device_s": "fast"}, "device_s"),
    ],
)
def test_figures_out_of_range_are_the_loop_s_error(
    endpoint: str, change: dict[str, float], words: str
) -> None:
    with answering(endpoint) as (made, asked), LocalController(made.endpoint) as controller:
        with pytest.raises(InputError, match=words):
            controller.next(msgspec.structs.replace(ROUND, **change))
        assert controller.next(ROUND).cut == 2
    assert len(asked) == 1


def test_a_refusal_is_told_and_the_loop_may_go_on(endpoint: str) -> None:
    def refuse(ask: Ask) -> Answer:
        if ask.measured:
            raise Malformed("measured.cut 9: no")
        return row(ask)

    with (
        answering(endpoint, refuse) as (made, _),
        LocalController(made.endpoint) as controller,
    ):
        with pytest.raises(WireError, match=r"refused: measured\.cut 9: no"):
            controller.next(ROUND)
        assert controller.next(None).cut == 2
    assert made.refused == 1


# --- what is none of the protocol


@contextmanager
def stranger(endpoint: str) -> Iterator["zmq.Socket[bytes]"]:
    context = zmq.Context()
    made = context.socket(zmq.DEALER)
    try:
        made.connect(endpoint)
        yield made
    finally:
        context.destroy(linger=0)


DICE = np.random.default_rng(0)
FINE = encode(Ask(number=7, measured=ROUND))
GARBAGE = {
    "nothing": [b""],
    "noise": [DICE.bytes(100)],
    "as long as allowed": [DICE.bytes(MAX_BYTES)],
    "cut off": [FINE[:-1]],
    "trailing": [FINE + b"\0"],
    "deep": [b"\x91" * 5000],
    "two frames": [FINE, b""],
    "many frames": [b"x"] * 1000,
    "another protocol": [msgspec.msgpack.encode({"protocol": PROTOCOL + 1, "more": 1})],
    "another field": [msgspec.msgpack.encode({"protocol": PROTOCOL, "number": 1, "more": 1})],
    "no number": [msgspec.msgpack.encode({"protocol": PROTOCOL, "measured": None})],
    "a reply": [encode(Refusal(number=1, reason=""))],
}


@pytest.mark.parametrize("frames", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_and_changes_nothing(endpoint: str, frames: list[bytes]) -> None:
    with (
        answering(endpoint) as (made, asked),
        LocalController(made.endpoint) as controller,
        stranger(made.endpoint) as other,
    ):
        other.send_multipart(frames)
        assert other.poll(10_000)
        assert isinstance(decode_reply(other.recv()), Refusal)
        assert controller.next(None).cut == 2
        assert (made.refused, len(asked)) == (1, 1)


def test_a_frame_that_is_too_long_never_arrives(endpoint: str) -> None:
    with (
        answering(endpoint) as (made, asked),
        LocalController(made.endpoint) as controller,
        stranger(made.endpoint) as other,
    ):
        other.send(bytes(MAX_BYTES + 1))
        other.send(FINE)  # on the connection that ZeroMQ makes anew
        assert controller.next(None).cut == 2
        assert made.refused == 0
        assert all(len(encode(ask)) < MAX_BYTES for ask in asked)


HALF = encode(row(Ask(number=1, measured=None)))[:-1]


@pytest.mark.parametrize("frames", [[b"noise"], [b"", b""], [HALF]])
def test_an_answer_that_cannot_be_read_is_an_error(endpoint: str, frames: list[bytes]) -> None:
    context = zmq.Context()
    try:
        router = context.socket(zmq.ROUTER)
        path = local_place.socket_path(endpoint)
        if path:
            local_place.make_directory(path.parent)
        router.bind(endpoint)
        where = router.get_string(zmq.LAST_ENDPOINT)

        def mislead() -> None:
            router.send_multipart([router.recv_multipart()[0], *frames])

        thread = threading.Thread(target=mislead)
        thread.start()
        with LocalController(where, PATIENCE_S) as controller, pytest.raises(WireError):
            controller.next(None)
        thread.join(PATIENCE_S)
    finally:
        context.destroy(linger=0)


def test_an_answer_to_another_question_is_passed_over(tmp_path: Path) -> None:
    context = zmq.Context()
    try:
        router = context.socket(zmq.ROUTER)
        tmp_path.chmod(0o700)
        where = f"ipc://{tmp_path}/c.sock"
        router.bind(where)

        def answer() -> None:
            who, frame = router.recv_multipart()
            ask = decode_ask(frame)
            for cut, number in ((7, ask.number + 1), (8, 0), (2, ask.number)):
                reply = row(msgspec.structs.replace(ask, number=number), cut)
                router.send_multipart([who, encode(reply)])

        thread = threading.Thread(target=answer)
        thread.start()
        with LocalController(where, PATIENCE_S) as controller:
            assert controller.next(None).cut == 2
        thread.join(PATIENCE_S)
    finally:
        context.destroy(linger=0)


def test_what_is_read_is_what_was_said() -> None:
    ask = Ask(number=3, measured=ROUND)
    assert decode_ask(encode(ask)) == ask
    for reply in (row(ask), Refusal(number=3, reason="no")):
        assert decode_reply(encode(reply)) == reply


# --- where they meet


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5700", "tcp://10.0.0.7:5700", "tcp://*:5700", "tcp://example.org:1",
     "tcp://127.0.0.1:99999", "tcp://127.0.0.1:http", "tcp://127.0.0.1:", "tcp://127.0.0.1",
     "inproc://here", "ipc://@abstract", "ipc://*", "ipc://", "udp://127.0.0.1:1", "nonsense", ""],
)  # fmt: skip
def test_beyond_this_machine_is_refused(endpoint: str) -> None:
    with pytest.raises(InputError, match="allowed: ipc://FILE, or tcp://127"):
        LocalSocket(endpoint)
    if endpoint:
        with pytest.raises(InputError, match="allowed"):
            LocalController(endpoint)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_loopback_is_fine(host: str) -> None:
    assert local_place.check(f"tcp://{host}:5700") == f"tcp://{host}:5700"


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o777, 0o1777])
def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    for end in (LocalSocket, LocalController):
        with pytest.raises(InputError, match="others may enter"):
            end(f"ipc://{tmp_path}/c.sock")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o2770])
def test_the_group_may_ask_where_it_may_enter(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with LocalSocket(f"ipc://{tmp_path}/c.sock"):
        assert stat.S_IMODE((tmp_path / "c.sock").stat().st_mode) == 0o660


def test_a_missing_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with LocalSocket(f"ipc://{tmp_path}/new/c.sock"):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        assert (tmp_path / "new" / "c.sock").is_socket()
    assert not (tmp_path / "new" / "c.sock").exists()


def test_a_socket_that_is_served_is_not_taken_over(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/new/c.sock"
    with answering(endpoint) as (_, asked):
        with pytest.raises(RunError, match="another control process"):
            LocalSocket(endpoint)
        with LocalController(endpoint) as controller:
            controller.next(None)
    assert len(asked) == 1
    with LocalSocket(endpoint):
        pass


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/new/c.sock"
    dying = "import os, sys; from adaptoff.testbed.local_socket import LocalSocket as S"
    dying += "; made = S(sys.argv[1]); os._exit(0)"
    subprocess.run([sys.executable, "-c", dying, endpoint], check=True, timeout=60)
    assert (tmp_path / "new" / "c.sock").is_socket()
    with answering(endpoint), LocalController(endpoint) as controller:
        assert controller.next(None).cut == 2


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_not_replaced(tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o700)
    path, other = tmp_path / "c.sock", tmp_path / "other"
    other.write_text("precious")
    make = {
        "file": lambda: path.write_text("precious"),
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(other),
    }
    make[kind]()
    with pytest.raises(InputError, match=r"c\.sock: is there already, and is no socket"):
        LocalSocket(f"ipc://{path}")
    assert path.is_dir() or path.read_text() == "precious"
    assert path.is_symlink() == (kind == "link")


def test_a_path_that_is_too_long_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for end in (LocalSocket, LocalController):
        with pytest.raises(InputError, match="too long"):
            end(f"ipc://{tmp_path}/{'x' * 120}")


def test_a_port_that_is_taken_is_said() -> None:
    with LocalSocket("tcp://127.0.0.1:*") as made, pytest.raises(AdaptoffError, match="in use"):
        LocalSocket(made.endpoint)


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert local_place.default_endpoint() == "ipc:///run/adaptoff/control.sock"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    mine = f"ipc://{tmp_path}/adaptoff/control.sock"
    monkeypatch.setattr(local_place, "SYSTEM", f"ipc://{tmp_path}/nobody")
    assert local_place.default_endpoint() == local_place.found_endpoint() == mine
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with pytest.raises(InputError, match="XDG_RUNTIME_DIR is not set"):
        local_place.default_endpoint()


def test_a_loop_finds_the_system_s_socket_if_only_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "run" / "adaptoff" / "control.sock"
    monkeypatch.setattr(local_place, "SYSTEM", f"ipc://{system}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    with LocalSocket(local_place.SYSTEM):
        assert local_place.found_endpoint() == local_place.SYSTEM
