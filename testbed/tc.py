"""Payload rates as the kernel's token bucket filter (TBF) wants them."""

from typing import TypedDict

FRAME_BYTES = 1514
PAYLOAD_BYTES = 1448
"""of TCP in a full Ethernet frame: less 14 of Ethernet, 20 of IP and 32 of TCP with timestamps"""
MIN_BURST_BYTES = 1600
"""a full frame; each change of a rate grants as much again, which fast timelines would feel"""
BURST_BYTES = 4096
BURST_S = 0.0015
"""of the rate, up to BURST_BYTES: what the host may be late without losing time of the link"""
FAST_BURST_S = 0.0004
"""the least of a fast rate; more would let short messages through in no time"""
LATENCY = "100ms"
"""what may wait in the queue; more is dropped, as in a router"""
HANDLE = 0x10000


class Bucket(TypedDict):
    """Arguments of pyroute2's ``tc``."""

    rate: int
    burst: int
    latency: str


def bucket(rate_bps: float) -> Bucket:
    """A TBF that carries ``rate_bps`` payload bits per second of a TCP transfer."""
    rate = round(rate_bps / 8 * FRAME_BYTES / PAYLOAD_BYTES)  # whole bytes per second
    burst = max(MIN_BURST_BYTES, min(BURST_BYTES, BURST_S * rate), FAST_BURST_S * rate)
    return Bucket(rate=rate, burst=round(burst), latency=LATENCY)
