"""Rates as the kernel's token bucket filter (TBF) wants them, delay and loss as its netem does.

Where there are both, packets are delayed first: netem is at the root and holds TBF. So TBF's queue
is as long, and changes as it does, without netem, and jitter cannot make a link faster than it is.
"""

from typing import TypedDict

from pyroute2.netlink.rtnl import TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import sched_netem, sched_tbf

from adaptoff.testbed.netorders import Impairment

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
NETEM_HANDLE = 0x20000
ROOT, BELOW_NETEM = TC_H_ROOT, NETEM_HANDLE + 1
MAX_PACKETS = 1 << 16
"""delayed at a time; more are dropped. At 100 ms that is 7.6 Gbit/s of full frames"""
NO_RATE = 4_000_000_000
"""bytes per second: given a rate, however high, netem keeps packets in order whatever the jitter"""


sched_netem.fix_request = sched_tbf.fix_request
# pyroute2 0.9 would send netem's rate as an estimator's as well


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


class Netem(TypedDict):
    """Arguments of pyroute2's ``tc``: microseconds, percent, packets."""

    delay: int
    jitter: int
    loss: float
    limit: int
    rate: int


def netem(impairment: Impairment) -> Netem:
    """What one way does of it."""
    delay, jitter = (round(each_s / 2 * 1e6) for each_s in (impairment.rtt_s, impairment.jitter_s))
    loss = 100 * impairment.loss
    return Netem(delay=delay, jitter=jitter, loss=loss, limit=MAX_PACKETS, rate=NO_RATE)
