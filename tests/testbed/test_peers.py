"""The protocol without sockets, on a made-up clock: sessions, signs of life, bounds, bad peers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff.errors import PeerLost
from adaptoff.messages import Activations, Bye, Fault
from adaptoff.testbed import wire
from adaptoff.testbed.peer import SERVER
from adaptoff.testbed.peers import Peers
from adaptoff.testbed.transfer import Config
from adaptoff.testbed.wire import Ack, Beat, Data, Drop, encode

BATCH = Activations(round=0, batch=0)


def client(session=7, **config):
    return Peers(Config(**config), session, 0.0, server=False)


def array(nbytes):
    return np.zeros(nbytes, dtype=np.uint8)


class Server(Peers):
    """A server whose multiparts wait in ``mail`` until their route is served."""

    def __init__(self, session=99, **config):
        super().__init__(Config(**config), session, 0.0, server=True)
        self.mail = []

    def take_mail(self, route, now_s):
        self.mail += self.outgoing(now_s)
        mine = [frames for to, frames in self.mail if to == route]
        self.mail = [(to, frames) for to, frames in self.mail if to != route]
        return mine


def carry(source, target, now_s, route=b"r1"):
    """Take what ``source`` sends to ``target`` on ``route``; returns the envelopes."""
    if isinstance(source, Server):
        out = source.take_mail(route, now_s)
    else:
        out = [frames for _, frames in source.outgoing(now_s)]
    for frames in out:
        target.receive(route, frames, now_s)
    return [wire.decode_envelope(frames[0]) for frames in out]


def exchange(ours, theirs, now_s, route=b"r1"):
    """Both ways until nothing moves."""
    while carry(ours, theirs, now_s, route) + carry(theirs, ours, now_s, route):
        pass


def connected(**config):
    """A server and a client that has said one word."""
    ours, theirs = client(**config), Server(**config)
    ours.push(SERVER, encode(Bye()), 0.0)
    exchange(ours, theirs, 0.0)
    assert theirs.take().message == Bye()
    return ours, theirs


def live(ours, theirs, until_s, alive=(True, True), route=b"r1"):
    """Let time pass on both sides."""
    for tick in range(1, int(until_s * 10) + 1):
        ours.check(tick / 10, alive=alive[0])
        theirs.check(tick / 10, alive=alive[1])
        exchange(ours, theirs, tick / 10, route)


def test_beats_keep_idle_peers():
    ours, theirs = connected()
    live(ours, theirs, 60.0)
    assert not ours.items
    assert not theirs.items


def test_a_hung_client_is_lost_to_the_server_and_is_told():
    ours, theirs = connected()
    live(ours, theirs, 7.0, alive=(False, True))
    item = theirs.take()
    assert item.lost
    assert item.peer == 7
    assert "silent for 5" in item.message.reason
    with pytest.raises(PeerLost, match="silent for 5"):
        theirs[7]
    with pytest.raises(PeerLost, match="silent for 5"):
        ours.take()


def test_a_hung_server_is_lost_to_the_client():
    ours, theirs = connected()
    live(ours, theirs, 7.0, alive=(True, False))
    with pytest.raises(PeerLost, match="silent"):
        ours.take()
    with pytest.raises(PeerLost, match="silent"):
        ours.push(SERVER, encode(Bye()), 8.0)


def test_dilation_stretches_patience():
    ours, theirs = connected(dilation=3.0)
    live(ours, theirs, 14.0, alive=(False, True))
    assert not theirs.items
    theirs.config.dilation = 1.0
    theirs.check(14.1, alive=True)
    assert theirs.take().lost


def test_a_server_that_comes_late_is_waited_for():
    ours = client()
    ours.push(SERVER, encode(Bye()), 0.0)
    assert len(list(ours.outgoing(0.0))) == 1
    for now_s in (5.0, 60.0, 600.0):
        ours.check(now_s, alive=True)
    theirs = Server()
    exchange(ours, theirs, 600.0)
    assert theirs.take().message == Bye()
    assert ours[SERVER].sender.acked_messages == 1


def test_a_session_survives_a_new_route():
    ours, theirs = connected()
    ours.push(SERVER, encode(BATCH, [array(300_000)]), 1.0)
    lost = list(ours.outgoing(1.0))
    assert len(lost) > 1
    ours.check(4.5, alive=True)
    exchange(ours, theirs, 4.5, route=b"r2")
    item = theirs.take()
    assert (item.peer, item.message) == (7, BATCH)
    theirs.push(7, encode(Bye()), 5.0)
    assert [route for route, _ in theirs.outgoing(5.0)] == [b"r2"]


def test_a_restarted_server_is_noticed():
    ours, _ = connected()
    fresh = Server(session=100)
    ours.push(SERVER, encode(Bye()), 1.0)
    exchange(ours, fresh, 1.0)
    with pytest.raises(PeerLost, match="restarted"):
        ours.take()
    assert not fresh.items


def test_a_leaving_server_is_noticed_at_once():
    ours, theirs = connected()
    theirs.leave()
    exchange(ours, theirs, 0.1)
    with pytest.raises(PeerLost, match="closed"):
        ours.take()


def frames(envelope, *parts):
    return [wire.encode_envelope(envelope), *parts]


BAD = {
    "junk": [b"\xc1junk"],
    "nothing": [],
    "wrong header": frames(Data(7, 1, 1, 0, 4, 4), b"abcd"),
    "oversize": frames(Data(7, 1, 1, 0, 4, 1 << 40), b"abcd"),
    "acks too much": frames(Ack(7, 1000)),
    "second session": frames(Beat(8)),
    "second session's data": frames(Data(8, 0, 0, 0, 4, 4), b"abcd"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_a_bad_peer_is_given_up_and_others_live(bad):
    ours, theirs = connected()
    other = client(session=11)
    other.push(SERVER, encode(BATCH), 0.0)
    exchange(other, theirs, 0.0, route=b"r9")
    theirs.take()
    theirs.receive(b"r1", bad, 0.1)
    item = theirs.take()
    assert (item.peer, item.lost) == (7, True)
    assert theirs.malformed == 1
    other.push(SERVER, encode(BATCH), 0.2)
    exchange(other, theirs, 0.2, route=b"r9")
    assert theirs.take().peer == 11
    exchange(ours, theirs, 0.3)
    with pytest.raises(PeerLost):
        ours.take()


def test_who_was_given_up_does_not_come_back():
    _, theirs = connected()
    theirs.receive(b"r1", [b"junk"], 0.1)
    assert theirs.take().lost
    theirs.receive(b"r1", frames(Data(7, 0, 0, 0, 4, 4), b"abcd"), 0.2)
    assert not theirs.items
    envelopes = [wire.decode_envelope(f[0]) for _, f in theirs.outgoing(0.2)]
    assert all(isinstance(envelope, Drop) for envelope in envelopes)


@given(st.binary(max_size=60), st.lists(st.binary(max_size=60), max_size=3))
def test_junk_from_strangers_makes_no_peer(first, rest):
    theirs = Server()
    theirs.receive(b"x", [first, *rest], 0.0)
    assert not theirs.items
    assert theirs.held_bytes == 0


@pytest.mark.parametrize("envelope", [Beat(5), Ack(5, 0), Data(5, 3, 0, 0, 1, 1), Drop(5, "")])
def test_only_chunk_0_opens_a_session(envelope):
    theirs = Server()
    theirs.receive(b"x", frames(envelope, b"a"), 0.0)
    with pytest.raises(PeerLost):
        theirs[5]


def test_the_number_of_peers_is_bounded():
    theirs = Server(peers=2)
    clients = [client(session=s) for s in (1, 2, 3)]
    for one in clients:
        one.push(SERVER, encode(Bye()), 0.0)
        exchange(one, theirs, 0.0, route=bytes([one.session]))
    assert len(theirs.items) == 2
    with pytest.raises(PeerLost, match="2 peers are connected"):
        clients[2].take()


def test_held_bytes_are_bounded_and_given_back():
    ours, theirs = connected(peer_hold_bytes=250_000)
    for _ in range(3):
        ours.push(SERVER, encode(BATCH, [array(100_000)]), 0.0)
    exchange(ours, theirs, 0.0)
    assert len(theirs.items) == 2
    assert theirs.held_bytes <= 250_000
    theirs.take()
    ours.check(4.0, alive=True)
    exchange(ours, theirs, 4.0)
    assert len(theirs.items) == 2
    theirs.take()
    theirs.take()
    assert theirs.held_bytes == 0
    assert theirs[7].held_bytes == 0


def test_what_all_peers_hold_is_bounded():
    theirs = Server(hold_bytes=250_000)
    for session in (1, 2, 3):
        one = client(session=session)
        one.push(SERVER, encode(BATCH, [array(100_000)]), 0.0)
        exchange(one, theirs, 0.0, route=bytes([session]))
    assert len(theirs.items) == 2


def test_unfinished_messages_of_the_lost_are_given_back():
    ours, theirs = connected()
    ours.push(SERVER, encode(BATCH, [array(500_000)]), 0.0)
    _, first = next(ours.outgoing(0.0))
    theirs.receive(b"r1", first, 0.0)
    assert theirs.held_bytes > 500_000
    theirs.check(600.0, alive=True)
    assert theirs.take().lost
    assert theirs.held_bytes == 0


def test_a_stranger_that_never_finished_a_message_is_no_news():
    ours, theirs = client(), Server()
    ours.push(SERVER, encode(BATCH, [array(500_000)]), 0.0)
    theirs.receive(b"r1", next(ours.outgoing(0.0))[1], 0.0)
    theirs.check(600.0, alive=True)
    assert not theirs.items
    with pytest.raises(PeerLost, match="silent"):
        theirs[7]


def test_a_slow_chunk_is_no_silence():
    ours, theirs = connected()
    ours[SERVER].sender.rate_bps = 1e9
    ours.push(SERVER, encode(BATCH, [array(10_000_000)]), 0.0)
    chunks = ours.outgoing(0.0)
    for _ in range(2):
        theirs.receive(b"r1", next(chunks)[1], 0.0)
    theirs.check(10.0, alive=True)
    assert not theirs.items
    theirs.check(60.0, alive=True)
    assert theirs.take().lost


def test_the_queue_is_bounded():
    ours, _ = connected(queue_bytes=150_000)
    assert ours.has_room(SERVER, 10**6)
    ours.push(SERVER, encode(BATCH, [array(100_000)]), 0.0)
    assert not ours.has_room(SERVER, 100_000)
    assert ours.has_room(SERVER, 10)


def test_shaped_chunks_leave_on_time_and_wake_the_link():
    ours, theirs = connected()
    ours.shape(SERVER, 8e6, 0.0)
    ours.push(SERVER, encode(BATCH, [array(200 * 1024)]), 1.0)
    now_s, times = 1.0, []
    while not theirs.items:
        times += [now_s for e in carry(ours, theirs, now_s) if isinstance(e, Data)]
        carry(theirs, ours, now_s)
        now_s = max(now_s, ours[SERVER].wake_s(now_s))
    assert np.diff([1.0, *times])[:3] == pytest.approx([65_536 * 8 / 8e6] * 3)
    item = theirs.take()
    assert item.rate_bps == pytest.approx(8e6, rel=1e-6)
    assert item.transfer_s == pytest.approx(8 * item.nbytes / 8e6, rel=1e-6)


def test_rates_are_weighted_by_bytes_and_taken_once():
    ours, theirs = connected()
    now_s = 1.0
    for rate_bps, nbytes in ((8e6, 400_000), (32e6, 400_000)):
        ours.shape(SERVER, rate_bps, now_s)
        ours.push(SERVER, encode(BATCH, [array(nbytes)]), now_s)
        while ours[SERVER].sender.queued_bytes:
            exchange(ours, theirs, now_s)
            now_s += 0.0005
    spread = 400_000 - 65_536
    mean = 2 * spread / (spread / 8e6 + spread / 32e6)
    assert theirs[7].total_in.take() == pytest.approx(mean, rel=0.02)
    assert ours[SERVER].total_out.take() == pytest.approx(mean, rel=0.02)
    assert theirs[7].total_in.take() is None


@pytest.mark.parametrize("queued_ahead", [True, False])
def test_both_ends_know_the_rate_of_a_paced_train(queued_ahead):
    ours, theirs = connected()
    ours.shape(SERVER, 8e6, 1.0)
    now_s = 1.0
    for number in range(20):
        ours.push(SERVER, encode(BATCH, [array(30 * 1024)]), now_s)
        while ours[SERVER].sender.queued_bytes and not (queued_ahead and number < 19):
            exchange(ours, theirs, now_s)
            now_s += 0.0005
    measured = theirs[7].total_in.take()
    assert ours[SERVER].total_out.take() == measured
    items = [theirs.take() for _ in range(20)]
    if not queued_ahead:
        assert measured is None
        assert items[-1].transfer_s == 0.0
        return
    assert measured == pytest.approx(8e6, rel=0.01)
    assert items[-1].transfer_s == pytest.approx(8 * items[-1].nbytes / 8e6, rel=0.03)


def test_a_fault_of_the_application_is_no_loss():
    ours, theirs = connected()
    theirs.push(7, encode(Fault(reason="no")), 0.0)
    exchange(ours, theirs, 0.0)
    item = ours.take()
    assert item.message == Fault(reason="no")
    assert not item.lost
