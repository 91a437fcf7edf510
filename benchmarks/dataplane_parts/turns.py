"""All kinds of transports, one after the other and again."""

from contextlib import ExitStack
from math import ceil
from pathlib import Path
from statistics import median

from adaptoff.testbed.network import SERVER, Network
from dataplane_parts.pair import KINDS, LINK, LINK_CURVE, PICKLE, RAW, Pair
from dataplane_parts.ratios import BOTH_WAYS, CPU, GOODPUT, MOST, ROUND_TRIP, Turn

TENSOR_BYTES = 3_200_000
PICKLE_PINGS = 8
"""a turn: each takes as long as a delayed acknowledgement"""
SHAPED_S = 3.0
"""the least that a stream over a shaped link takes"""


def loopback(keys: Path, turns: int, count: int, *, fresh: bool) -> list[Turn]:
    """All kinds, ``count`` tensors and round trips each; a turn before the first warms them up."""
    with ExitStack() as stack:
        pairs = {kind: stack.enter_context(Pair(kind, keys, fresh=fresh)) for kind in KINDS}
        return [_loopback(pairs, count) for _ in range(turns + 1)][1:]


def shaped(keys: Path, mbps: float, nbytes: int, turns: int) -> list[Turn]:
    """Tensors of ``nbytes`` from a device up a link that carries ``mbps`` of payload."""
    with Network([(mbps * 1e6, mbps * 1e6)]) as network, ExitStack() as stack:
        inside = network.command(0), network.command(SERVER)
        pairs = {
            kind: stack.enter_context(Pair(kind, keys, network.address(SERVER), inside))
            for kind in (LINK_CURVE, LINK, RAW)
        }
        return [_shaped(pairs, mbps * 1e6, nbytes) for _ in range(turns)]


def _loopback(pairs: dict[str, Pair], count: int) -> Turn:
    found: Turn = {}
    for kind, pair in pairs.items():
        streamed = pair.stream(count, TENSOR_BYTES)
        found[GOODPUT, kind] = streamed.goodput_bps
        found[CPU, kind] = streamed.cpu_s_per_gb
        found[ROUND_TRIP, kind] = median(pair.ping(PICKLE_PINGS if kind == PICKLE else count))
    return found


def _shaped(pairs: dict[str, Pair], rate_bps: float, nbytes: int) -> Turn:
    count = max(2, ceil(SHAPED_S * rate_bps / 8 / nbytes))
    found: Turn = {(GOODPUT, MOST): rate_bps, (BOTH_WAYS, MOST): rate_bps}
    for kind, pair in pairs.items():
        found[GOODPUT, kind] = pair.stream(count, nbytes).goodput_bps
        if kind != RAW:  # whose ends would both wait for room to send
            found[BOTH_WAYS, kind] = pair.exchange_bps(count, nbytes)
    return found
