"""The protocol without sockets: frames in, frames out, time as an argument.

``Peers`` holds the state of everyone at the other end. A peer is known by the random session number
that it puts into each envelope, not by its route: ROUTER draws a new route at each reconnect,
while the session, its numbers and its unfinished messages live on.

A server makes a peer of whoever sends chunk 0, up to a bound. Whoever breaks the protocol, goes
silent or leaves is given up: the peer gets a ``Drop``, the application, if it has ever heard of the
peer, an item with ``lost`` set.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from adaptoff.errors import PeerLost, WireError
from adaptoff.messages import Fault
from adaptoff.testbed import wire
from adaptoff.testbed.pace import Pacer, RateAt
from adaptoff.testbed.peer import SERVER, Peer, Received
from adaptoff.testbed.transfer import Config, Delivery
from adaptoff.testbed.wire import Ack, AnyEnvelope, Beat, Buffer, Data, Drop, Encoded

FORGOTTEN = 1024
"""sessions given up that are remembered"""

Multipart = tuple[bytes, list[Buffer]]
"""route and frames"""


class Peers:
    """Everyone at the other end of one socket. Not thread-safe: ``Link`` brings the lock."""

    def __init__(self, config: Config, session: int, now_s: float, *, server: bool) -> None:
        self.config = replace(config)
        self.session = session
        self.server = server
        self.items: deque[Received] = deque()
        self.malformed = 0
        """frames or messages that broke the protocol"""
        self.refused = 0
        """who was not let in, or not as whom it said it was"""
        self.held_bytes = 0
        self.news = False
        """set when the application may want to look: an item, an acknowledgement, a loss"""
        self._peers: dict[int, Peer] = {} if server else {SERVER: Peer(SERVER, self.config, now_s)}
        self._routes: dict[bytes, int] = {}
        self._given_up: dict[int, str] = {}
        self._replies: deque[Multipart] = deque()

    def __getitem__(self, number: int) -> Peer:
        """Raises PeerLost for a peer that is gone or was never there."""
        if number not in self._peers:
            raise PeerLost(self._given_up.get(number, f"no peer {number}"))
        return self._peers[number]

    # --- from the application

    def has_room(self, number: int, nbytes: int) -> bool:
        """Whether ``nbytes`` more may be queued for a peer. Raises PeerLost."""
        queued_bytes = self[number].sender.queued_bytes
        return not queued_bytes or queued_bytes + nbytes <= self.config.queue_bytes

    def push(self, number: int, encoded: Encoded, now_s: float) -> int:
        """Queue a message; returns its number. Raises PeerLost."""
        return self[number].sender.push(encoded, now_s)

    def take(self) -> Received:
        """The oldest item; its bytes no longer count as held. A device's last one is PeerLost."""
        item = self.items[0]
        if isinstance(item.message, Fault) and item.lost and not self.server:
            raise PeerLost(item.message.reason)
        self.items.popleft()
        if not item.lost:
            self._hold(item.peer, -held_cost(item.nbytes))
        return item

    def shape(self, number: int, rate: float | RateAt | None, now_s: float) -> None:
        """Pace the chunks to a peer, None: as fast as the socket takes them."""
        peer = self[number]
        if rate is None:
            peer.pacer = None
        elif peer.pacer:
            peer.pacer.set_rate(rate, now_s)
        else:
            peer.pacer = Pacer(rate)
            if peer.waiting:
                peer.pacer.start(peer.waiting.nbytes, now_s, now_s)

    # --- from the socket

    def receive(
        self, route: bytes, frames: Sequence[Buffer], now_s: float, who: str | None = None
    ) -> None:
        """Take one multipart; whatever a peer sends, nothing is raised and no one else suffers.

        ``who`` is the name that the sender's key is listed under.
        """
        try:
            envelope = wire.decode_envelope(frames[0] if frames else b"")
        except WireError as error:
            self.refuse(route, str(error))
            return
        peer = self._find(route, envelope, now_s, who)
        if peer is None:
            return
        try:
            self._handle(peer, envelope, frames[1:], now_s)
        except WireError as error:
            self.malformed += 1
            self._give_up(peer, str(error))

    def refuse(self, route: bytes, reason: str) -> None:
        """Count something that is no multipart of ours; its sender is given up if it is known."""
        self.malformed += 1
        number = self._routes.get(route) if self.server else SERVER
        if number in self._peers:
            self._give_up(self._peers[number], reason)

    def shut_out(self, reasons: Sequence[str]) -> None:
        """Somebody was not let in, or on a client: the server did not let this end in."""
        self.refused += len(reasons)
        if reasons and not self.server and SERVER in self._peers:
            self._give_up(self._peers[SERVER], reasons[0])

    # --- to the socket

    def outgoing(self, now_s: float) -> Iterator[Multipart]:
        """What is to be sent now. What the socket does not take is lost and sent again later."""
        while self._replies:
            yield self._replies.popleft()
        for peer in list(self._peers.values()):
            while peer.due_s(now_s) <= now_s and (chunk := peer.waiting):
                peer.waiting = None
                peer.sender.sent(now_s)
                envelope = wire.encode_envelope(chunk.envelope(self.session))
                yield peer.route, [envelope, *chunk.parts()]

    def check(self, now_s: float, *, alive: bool) -> None:
        """Beat (if the application is ``alive``), go back, give up who is silent."""
        for peer in list(self._peers.values()):
            if now_s >= peer.silent_at_s(self.config):
                silence_s = now_s - peer.heard_s
                self._give_up(peer, f"peer {peer.number} silent for {silence_s:.1f} s")
                continue
            if peer.waiting is None:
                peer.sender.check(now_s)
            if now_s >= peer.beat_at_s:
                peer.beat_at_s = now_s + self.config.beat_s * self.config.dilation
                if alive and peer.session is not None:
                    self._reply(peer.route, Beat(self.session))

    def wake_s(self, now_s: float) -> float:
        """When ``outgoing`` or ``check`` has something to do next."""
        times = [math.inf]
        for peer in self._peers.values():
            times += [peer.beat_at_s, peer.silent_at_s(self.config), peer.wake_s(now_s)]
        return min(times)

    def leave(self) -> None:
        """Tell all peers that this end closes."""
        for peer in self._peers.values():
            if peer.session is not None:
                self._reply(peer.route, Drop(self.session, "the peer closed its link"))

    # --- inside

    def _find(
        self, route: bytes, envelope: AnyEnvelope, now_s: float, who: str | None
    ) -> Peer | None:
        if self.server:
            peer = self._find_client(route, envelope, now_s, who)
        else:
            peer = self._find_server(envelope)
        if peer:
            peer.route = route
        return peer

    def _find_server(self, envelope: AnyEnvelope) -> Peer | None:
        peer = self._peers.get(SERVER)
        if peer and peer.session is None:
            peer.session = envelope.session
        if peer and peer.session != envelope.session:
            self._give_up(peer, "the server was restarted")
            return None
        return peer

    def _find_client(
        self, route: bytes, envelope: AnyEnvelope, now_s: float, who: str | None
    ) -> Peer | None:
        number = envelope.session
        if self._routes.get(route, number) != number:
            self.refuse(route, "a second session on one connection")
            return None
        if number not in self._peers and not self._admit_peer(route, envelope, now_s, who):
            return None
        peer = self._peers[number]
        if peer.who != who:  # whoever learns of a session cannot take it over
            self.refused += 1
            return None
        self._routes.pop(peer.route, None)
        self._routes[route] = number
        return peer

    def _admit_peer(
        self, route: bytes, envelope: AnyEnvelope, now_s: float, who: str | None
    ) -> bool:
        number = envelope.session
        reason = self._given_up.get(number)
        if reason is None and len(self._peers) >= self.config.peers:
            reason = f"{self.config.peers} peers are connected"
        if reason is None and not (isinstance(envelope, Data) and envelope.seq == 0):
            reason = "unknown session"
        if reason is None:
            self._peers[number] = Peer(number, self.config, now_s, who)
        elif not isinstance(envelope, Drop):
            self._reply(route, Drop(self.session, reason))
        return reason is None

    def _handle(
        self, peer: Peer, envelope: AnyEnvelope, parts: Sequence[Buffer], now_s: float
    ) -> None:
        if isinstance(envelope, Data):
            self._on_data(peer, envelope, parts, now_s)
        elif isinstance(envelope, Ack):
            self._on_ack(peer, envelope, now_s)
        elif isinstance(envelope, Beat):
            peer.heard_s = now_s
        else:
            self._give_up(peer, envelope.reason)

    def _on_data(self, peer: Peer, data: Data, parts: Sequence[Buffer], now_s: float) -> None:
        def admit(nbytes: int) -> bool:
            cost = held_cost(nbytes)
            if peer.held_bytes + cost > self.config.peer_hold_bytes:
                return False
            if self.held_bytes + cost > self.config.hold_bytes:
                return False
            self._hold(peer.number, cost)
            return True

        expected = peer.receiver.expected
        delivery = peer.receiver.on_data(data, parts, now_s, admit)
        if peer.receiver.expected != expected:
            peer.heard_s = now_s
            peer.chunk_bytes = sum(len(part) for part in parts)
        ack = Ack(self.session, peer.receiver.expected)
        if delivery:
            measured = delivery.rate_bps, delivery.spread_bytes
            ack = Ack(self.session, ack.seq, data.message, *measured)
            self._deliver(peer, delivery)
        self._reply(peer.route, ack)

    def _on_ack(self, peer: Peer, ack: Ack, now_s: float) -> None:
        if peer.heard_s == math.inf:
            peer.heard_s = now_s
        nbytes = peer.sender.on_ack(ack, now_s)
        self.news |= nbytes > 0
        if nbytes and ack.rate_bps is not None:
            peer.total_out.add(ack.spread_bytes, ack.rate_bps)

    def _deliver(self, peer: Peer, got: Delivery) -> None:
        if got.rate_bps is not None:
            peer.total_in.add(got.spread_bytes, got.rate_bps)
        rate_bps = got.rate_bps or peer.receiver.rate_bps
        self.news = peer.introduced = True
        self.items.append(Received(
            peer.number, got.message, got.arrays, got.nbytes, got.started_s, got.finished_s,
            got.rate_bps, 8 * got.nbytes / rate_bps if rate_bps else 0.0, who=peer.who,
        ))  # fmt: skip

    def _hold(self, number: int, nbytes: int) -> None:
        self.held_bytes += nbytes
        if number in self._peers:
            self._peers[number].held_bytes += nbytes

    def _give_up(self, peer: Peer, reason: str) -> None:
        reason = reason[:1000]
        if peer.receiver.partial_bytes:
            self._hold(peer.number, -held_cost(peer.receiver.partial_bytes))
        self._peers.pop(peer.number, None)
        self._routes.pop(peer.route, None)
        self._given_up[peer.number] = reason
        while len(self._given_up) > FORGOTTEN:
            del self._given_up[next(iter(self._given_up))]
        if peer.session is not None:
            self._reply(peer.route, Drop(self.session, reason))
        self.news = True
        if self.server and not peer.introduced:
            return
        self.items.append(Received(
            peer.number, Fault(reason=reason), [], 0, 0.0, 0.0, None, 0.0, lost=True, who=peer.who
        ))  # fmt: skip

    def _reply(self, route: bytes, envelope: AnyEnvelope) -> None:
        self._replies.append((route, [wire.encode_envelope(envelope)]))


def held_cost(nbytes: int) -> int:
    """What a message of ``nbytes`` counts as while it is held: the least is for its objects."""
    return max(nbytes, 1024)
