"""A policy that the server hands out: a device checks it, and uses it when all others do."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adaptoff import policy as policies
from adaptoff.controller import Controller
from adaptoff.errors import PolicyError, RunError
from adaptoff.messages import NewPolicy, PolicyAnswer, UsePolicy
from adaptoff.policy import MAX_FILE_BYTES, Policy
from adaptoff.policy_store import PolicyStore

log = logging.getLogger(__name__)


class Offer(NamedTuple):
    """A policy that could be used."""

    sha256: str
    policy: Policy
    data: bytes


class Adoption:
    """What the server offers to one controller; ``store``, if any, keeps it for the next start."""

    def __init__(self, controller: Controller, store: PolicyStore | None = None) -> None:
        self._controller, self._store = controller, store
        self._offer: Offer | None = None

    def check(self, message: NewPolicy, arrays: Sequence[npt.NDArray[Any]]) -> PolicyAnswer:
        """Hold on to the policy for ``use``, unless something is wrong with it: then say what."""
        try:
            self._offer = _checked(message.sha256, arrays)
        except PolicyError as error:
            self._controller.guards.act("policy-refused", str(error))
            return PolicyAnswer(sha256=message.sha256, refused=str(error)[:1000])
        return PolicyAnswer(sha256=message.sha256)

    def use(self, message: UsePolicy) -> None:
        """Decide by it from now on; any other than the one held is passed over."""
        offer = self._offer
        if offer is None or offer.sha256 != message.sha256:
            log.warning("not offered, so not used: policy %s", message.sha256[:12])
            return
        self._controller.policy = offer.policy
        log.info("policy %s is in use", offer.sha256[:12])
        try:
            if self._store:
                self._store.take(offer.data, "the server's policy")
        except (PolicyError, RunError) as error:
            log.warning("the policy is in use, but not kept: %s", error)


def _checked(sha256: str, arrays: Sequence[npt.NDArray[Any]]) -> Offer:
    """Raises PolicyError, naming the field."""
    name = "the server's policy"
    if len(arrays) != 1 or arrays[0].dtype != np.uint8 or arrays[0].size > MAX_FILE_BYTES:
        raise PolicyError(f"{name}: must be one file of at most {MAX_FILE_BYTES} bytes")
    data = arrays[0].tobytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise PolicyError(f"{name}: field sha256: must be that of its bytes")
    return Offer(sha256, policies.decode(data, name), data)
