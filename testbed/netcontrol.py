"""The other end of the broker: any process of the same user may change the network by it."""

import socket
from collections.abc import Sequence

import msgspec

from adaptoff.closing import Closing
from adaptoff.errors import NetworkError
from adaptoff.testbed.netorders import (
    LINE_BYTES,
    AnyAnswer,
    AnyOrder,
    Play,
    Rates,
    Refused,
    SetLink,
    SetRates,
    Step,
)

ANSWER_S = 5.0

_answers: msgspec.json.Decoder[AnyAnswer] = msgspec.json.Decoder(AnyAnswer)


class Control(Closing):
    """Orders to the network whose ``control`` is at ``path``; not for two threads at once.

    Rates are payload bits per second, from 1e3 to 1e10. Each method returns when its change is
    made, ``play`` when its timeline has begun, and raises NetworkError if the order was refused or
    the broker is gone.
    """

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NetworkError(f"no network at {path}: {error}") from None
        self._answers = self._socket.makefile("rb")

    def set_rates(self, device: int, up_bps: float, down_bps: float) -> None:
        """From now on, until told otherwise."""
        self._order(SetRates(device, Rates(up_bps, down_bps)))

    def play(
        self, device: int, start_s: float, steps: Sequence[tuple[float, float, float]]
    ) -> None:
        """Rates by time: (seconds after ``start_s``, up, down), ascending, at most 10,000.

        ``start_s`` is a ``time.monotonic()`` moment, of any process of this machine. Until the
        first step the rates stay as they are; after the last one they stay as it says. Replaces
        the device's earlier timeline. Of the steps that are past already only the last is set.
        """
        self._order(Play(device, start_s, [Step(*step) for step in steps]))

    def cut(self, device: int) -> None:
        """Pull the cable: what is under way is lost, connections wait. Timelines go on."""
        self._order(SetLink(device, connected=False))

    def restore(self, device: int) -> None:
        """Put the cable in again."""
        self._order(SetLink(device, connected=True))

    def close(self) -> None:
        """The network stays."""
        self._answers.close()
        self._socket.close()

    def _order(self, order: AnyOrder) -> None:
        try:
            self._socket.sendall(msgspec.json.encode(order) + b"\n")
            answer = _answers.decode(self._answers.readline(LINE_BYTES))
        except (OSError, msgspec.DecodeError) as error:
            raise NetworkError(f"the network's broker does not answer: {error}") from None
        if isinstance(answer, Refused):
            raise NetworkError(answer.why)
