"""What servers have in common: a link, the devices that are there, and a policy for them."""

import logging
from collections.abc import Sequence
from contextlib import suppress

from adaptoff.closing import Closing
from adaptoff.errors import LinkError
from adaptoff.messages import AnyMessage
from adaptoff.policy_store import PolicyStore
from adaptoff.testbed.link import Link
from adaptoff.testbed.rollout import Rollout
from adaptoff.testbed.wire import Array

log = logging.getLogger(__name__)


class Hub(Closing):
    """A server's end of the links to its devices."""

    def __init__(self, link: Link, policies: PolicyStore | None) -> None:
        """The policy in use in ``policies`` is handed out to the devices."""
        self._link = link
        self._devices: dict[int, int] = {}
        """device -> peer"""
        self._rollout = Rollout(policies, self._hand) if policies else None

    @property
    def endpoint(self) -> str:
        """Where devices and the driver, if there is one, connect to."""
        return self._link.endpoint

    @property
    def present(self) -> frozenset[int]:
        """Devices that are here; any thread may ask."""
        return frozenset(self._devices)

    @property
    def refused(self) -> int:
        """How often somebody was not let in."""
        return self._link.refused

    def close(self) -> None:
        """Send everybody home; a second call does nothing."""
        self._link.close()

    def _refuse(self, peer: int, why: str) -> None:
        log.warning("peer %d refused: %s", peer, why)
        self._link.refuse(peer, why)

    def _hand_out(self) -> None:
        """Before a round: the policy, if there is one to hand out."""
        if self._rollout:
            self._rollout.tend(self._devices.values())

    def _tell_devices(self, message: AnyMessage) -> None:
        for peer in self._devices.values():
            self._hand(peer, message)

    def _hand(self, peer: int, message: AnyMessage, arrays: Sequence[Array] = ()) -> None:
        with suppress(LinkError):  # comes as news of its own
            self._link.send(message, arrays, to=peer)
