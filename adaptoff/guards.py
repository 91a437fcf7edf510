"""What the guards of a device did: counted by cause, and told once per cause."""

import logging
from typing import Literal, get_args

Cause = Literal[
    "stale",  # figures of another round than the last
    "broken",  # figures or telemetry that are not numbers in their ranges
    "server-gone",
    "replaced",  # a row of the policy that was out of the question
    "opp-refused",  # the board did not take the clock asked for
    "too-hot",  # the clock was lowered within a round
    "sensor",  # a reading that cannot be believed
    "policy-refused",  # a policy file that is corrupt, or of another schema
    "clock-step",  # the wall clock jumped
]
CAUSES: tuple[Cause, ...] = get_args(Cause)

log = logging.getLogger(__name__)


class Guards:
    """Counts; ``counts`` has every cause, also those that never happened."""

    def __init__(self) -> None:
        self.counts: dict[Cause, int] = dict.fromkeys(CAUSES, 0)

    def act(self, cause: Cause, detail: str) -> None:
        """A guard acted; the first time of a cause is logged, with what is said of it."""
        self.counts[cause] += 1
        level = logging.WARNING if self.counts[cause] == 1 else logging.DEBUG
        log.log(level, "guard %s: %s", cause, detail)
