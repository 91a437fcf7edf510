"""Hands a policy to all devices: none of them uses it before all of them could.

The policy is the one in use in a directory of the server: ``adaptoff policy take FILE --dir DIR``,
and ``back`` for the one before. Before a round it is offered to devices that do not know it; when
all have said yes, they are told to use it from the coming round on. If one says no, nobody does,
and whoever joins later and says no goes on with its own.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptoff import policy as policies
from adaptoff.errors import PolicyError
from adaptoff.messages import AnyMessage, NewPolicy, PolicyAnswer, UsePolicy
from adaptoff.policy_store import CURRENT, PolicyStore, read_bytes

log = logging.getLogger(__name__)

Send = Callable[[int, AnyMessage, Sequence[npt.NDArray[Any]]], object]
"""(peer, message, tensors); does not raise for a peer that is gone"""


@dataclass
class Campaign:
    """One policy on its way."""

    sha256: str
    data: npt.NDArray[np.uint8]
    offered: set[int] = field(default_factory=set)
    """peers"""
    answers: dict[int, str] = field(default_factory=dict)
    """peer -> why it refuses, or nothing"""
    using: set[int] = field(default_factory=set)


class Rollout:
    """The policy of one directory, for whoever is there."""

    def __init__(self, store: PolicyStore, send: Send) -> None:
        self._path, self._send = store.directory / CURRENT, send
        self._stamp: tuple[int, ...] | None = None
        self._now: Campaign | None = None
        self._last: Campaign | None = None
        """that was used"""

    def tend(self, peers: Iterable[int]) -> None:
        """Before a round of the devices at ``peers``: offer, and tell to use what all could."""
        self._look()
        campaign, everyone = self._now, set(peers)
        if campaign is None:
            return
        for peer in sorted(everyone - campaign.offered):
            campaign.offered.add(peer)
            self._send(peer, NewPolicy(sha256=campaign.sha256), [campaign.data])
        if everyone <= campaign.answers.keys():
            self._settle(campaign, everyone)

    def heard(self, peer: int, answer: PolicyAnswer) -> None:
        """What a device says of the policy."""
        if self._now and answer.sha256 == self._now.sha256 and peer in self._now.offered:
            self._now.answers[peer] = answer.refused
            if answer.refused:
                log.warning("peer %d refuses: %s", peer, answer.refused)

    def _settle(self, campaign: Campaign, everyone: set[int]) -> None:
        """All have answered: everybody who said yes uses it, or nobody does."""
        fine = {peer for peer in everyone if not campaign.answers[peer]}
        if fine != everyone and campaign is not self._last:
            log.warning("policy %s is not used: a device refused it", campaign.sha256[:12])
            self._now = self._last
            return
        for peer in sorted(fine - campaign.using):
            campaign.using.add(peer)
            self._send(peer, UsePolicy(sha256=campaign.sha256), [])
        if campaign is not self._last:
            log.info("policy %s is used by all devices", campaign.sha256[:12])
        self._last = campaign

    def _look(self) -> None:
        """Begin anew if there is another policy in the directory."""
        try:
            found = self._path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp == self._stamp:
                return
            self._stamp = stamp
            data = read_bytes(self._path)
            policies.decode(data, str(self._path))
        except FileNotFoundError:
            return
        except (OSError, PolicyError) as error:
            log.warning("nothing new for the devices: %s", error)
            return
        self._now = Campaign(hashlib.sha256(data).hexdigest(), np.frombuffer(data, np.uint8))
