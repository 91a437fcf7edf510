"""One end: ``python -m dataplane_parts KIND send|receive WHERE KEYS HEAP``, an order a line."""

import sys
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np

from dataplane_parts.end import End, Role, exchange, ping, stream
from dataplane_parts.queues import Bare, Linked
from dataplane_parts.sockets import Pickled, Raw

TRAINING_BYTES = 26 << 20
"""activations of a VGG-5 batch. Once such a block was freed, glibc keeps what messages free for the
next ones; until then it may return each to the kernel and pay in page faults"""

ORDERS = {"stream": stream, "exchange": exchange, "ping": ping}


def make(kind: str, role: Role, where: str, keys: Path) -> End:
    """The end of that kind; a receiving one says where it listens."""
    return {
        "raw": lambda: Raw(role, where),
        "pickle": lambda: Pickled(role, where),
        "zmq": lambda: Bare(role, where),
        "zmq curve": lambda: Bare(role, where, keys),
        "link": lambda: Linked(role, where),
        "link curve": lambda: Linked(role, where, keys),
    }[kind]()


def main() -> None:
    """Obey until the input ends."""
    kind, role, where, keys, heap = sys.argv[1:]
    role = cast(Role, role)
    if heap == "grown":
        np.ones(TRAINING_BYTES, np.uint8)
    with closing(make(kind, role, where, Path(keys))) as end:
        for line in sys.stdin:
            order, *numbers = line.split()
            ORDERS[order](end, role, *map(int, numbers))


if __name__ == "__main__":
    main()
