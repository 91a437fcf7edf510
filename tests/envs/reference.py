"""One round of one fleet, worked out slowly: one device after another, plain floats, no arrays.

Written from the formulas of the design, to hold the cost model and the emulator against. Arrays are
only read, to make a ``Device`` of each member of each cluster.
"""

import math
from dataclasses import dataclass

from adaptoff.fleet import Conditions, Fleet, Rows

MAX_SHARE = 0.98
"""nobody counts as being at the server for longer than this share of its time"""


@dataclass(frozen=True)
class Device:
    """One device with the row that it applies; seconds of work are per batch at speed 1."""

    cluster: int
    batches: float
    depth: float
    one_pass: float
    """share of the work in the longer of its passes"""
    native: bool
    device_work_s: float
    server_work_s: float
    up_bytes: float
    down_bytes: float
    sync_bytes: float
    speed: float
    server_speed: float
    up_bps: float
    down_bps: float
    rtt_s: float
    dynamic_w: float
    radio_w: float
    idle_w: float
    ambient_c: float
    heat_c_per_w: float
    heat_tau_s: float
    temp_c: float


@dataclass(frozen=True)
class Played:
    """What one round was for one device."""

    device_s: float
    uplink_s: float
    server_s: float
    downlink_s: float
    sync_s: float
    total_s: float
    energy_j: float
    temp_c: float


@dataclass(frozen=True)
class Seen:
    """What a device is to the others."""

    share: float
    """of its own round, the part that it is at the server"""
    total_s: float


def devices_of(fleet: Fleet, at: Conditions, rows: Rows, f: int = 0) -> list[Device]:
    """Every device of the f-th fleet, cluster after cluster; ``rows`` as asked for."""
    devices: list[Device] = []
    for g in range(fleet.active.shape[1]):
        if fleet.active[f, g]:
            members = round(float(fleet.count[f, g]))
            devices += [_device(fleet, at, rows, f, g)] * members
    return devices


def _device(fleet: Fleet, at: Conditions, rows: Rows, f: int, g: int) -> Device:
    cut = int(rows.way[f, g])
    temp_c, trip_c = float(at.temp_c[f, g]), float(fleet.trip_c[f, g])
    opp = applied_opp(int(rows.opp[f, g]), temp_c, trip_c)
    return Device(
        cluster=g,
        batches=float(fleet.batches[f, g]),
        depth=float(fleet.depth[f, cut]),
        one_pass=float(fleet.one_pass[f]),
        native=cut == int(fleet.n_ways[f]) - 1,
        device_work_s=float(fleet.device_work_s[f, g, cut]),
        server_work_s=float(fleet.server_work_s[f, cut]),
        up_bytes=float(fleet.up_bytes[f, cut]),
        down_bytes=float(fleet.down_bytes[f, cut]),
        sync_bytes=float(fleet.sync_bytes[f, cut]),
        speed=float(at.speed[f, g]) * float(fleet.relative_speed[f, g, opp]),
        server_speed=float(at.server_speed[f]),
        up_bps=float(at.up_bps[f, g]),
        down_bps=float(at.down_bps[f, g]),
        rtt_s=float(at.rtt_s[f, g]),
        dynamic_w=float(fleet.dynamic_w[f, g, opp]),
        radio_w=float(fleet.radio_w[f, g]),
        idle_w=float(fleet.idle_w[f, g]),
        ambient_c=float(fleet.ambient_c[f, g]),
        heat_c_per_w=float(fleet.heat_c_per_w[f, g]),
        heat_tau_s=float(fleet.heat_tau_s[f, g]),
        temp_c=temp_c,
    )


def applied_opp(asked: int, temp_c: float, trip_c: float) -> int:
    """Above the trip point one step down, and another one for each further 5 degrees."""
    opp, above_c = asked, temp_c - trip_c
    if above_c > 0:
        opp -= 1
        while above_c >= 5:
            opp -= 1
            above_c -= 5
    return max(opp, 0)


def stages_of(d: Device) -> tuple[float, float, float, float]:
    """Seconds of one batch: device, uplink, server and downlink; the server is all its own."""
    computing_s = d.device_work_s / d.speed
    if d.native:
        return computing_s, 0.0, 0.0, 0.0
    up_s = d.up_bytes * 8 / d.up_bps + d.rtt_s / 2
    down_s = d.down_bytes * 8 / d.down_bps + d.rtt_s / 2
    return computing_s, up_s, d.server_work_s / d.server_speed, down_s


def sync_s(d: Device) -> float:
    """Seconds of fetching and returning the weights of the device's blocks, once a round."""
    return d.sync_bytes * 8 / d.down_bps + d.sync_bytes * 8 / d.up_bps


def total_s(d: Device, stretch: float) -> float:
    """A device's own round, at the server ``stretch`` times as long as alone.

    A batch of k micro-batches takes one of them through all stages, then k - 1 more come out of
    the slowest stage one after another. One micro-batch is the whole batch. A device's two passes
    are two stages of one processor, which takes no less than for both.
    """
    up, work, down = (stages_of(d)[i] for i in (1, 2, 3))
    stages = [stages_of(d)[0], up, work * stretch, down]
    fill_s = sum(stage / d.depth for stage in stages)
    slowest_s = max(stages[0] * d.one_pass, *stages[1:])
    batch_s = fill_s + (d.depth - 1) * slowest_s / d.depth
    return d.batches * max(batch_s, stages[0]) + sync_s(d)


def stretches(devices: list[Device], steps: int | None = None) -> list[float]:
    """How many times as long as alone each one is at the server.

    Whoever arrives shares with those that are there, which in turn depends on how long everyone has
    to share. ``steps`` rounds of that, everyone alone at first; None repeats until it settles.
    """
    found, moved = [1.0] * len(devices), [0.0] * len(devices)
    for _ in range(100_000 if steps is None else steps):
        seen = [Seen(share(d, x), total_s(d, x)) for d, x in zip(devices, found, strict=True)]
        for i, mine in enumerate(seen):
            others = seen[:i] + seen[i + 1 :]
            moved[i] = next_move(found[i], moved[i], [met(o, mine.total_s) for o in others])
        found = [stretch + move for stretch, move in zip(found, moved, strict=True)]
        if steps is None and all(abs(move) < 1e-13 for move in moved):
            break
    return found


def stretch_beside(d: Device, siblings: int, others: list[Seen], steps: int) -> float:
    """The same for one device whose ``siblings`` take its row, while all others keep theirs."""
    stretch, move = 1.0, 0.0
    for _ in range(steps):
        beside = [share(d, stretch)] * siblings
        beside += [met(other, total_s(d, stretch)) for other in others]
        move = next_move(stretch, move, beside)
        stretch += move
    return stretch


def met(other: Seen, mine_s: float) -> float:
    """How much of a round of ``mine_s`` the other one is at the server: it may be done before."""
    if other.total_s < mine_s:
        return other.share * other.total_s / mine_s
    return other.share


def next_move(stretch: float, last: float, beside: list[float]) -> float:
    """To one's own part and that of those ``beside``; half the way if that means to turn back."""
    move = 1 + sum(beside) - stretch
    return move / 2 if move * last < 0 else move


def share(d: Device, stretch: float) -> float:
    """Of its own round, the part that it is at the server."""
    server_s = d.batches * stages_of(d)[2] * stretch
    return min(server_s / total_s(d, stretch), MAX_SHARE)


def play(devices: list[Device], steps: int | None = None) -> tuple[float, list[Played]]:
    """Round seconds, and what the round was for each device; ``steps`` as in ``stretches``."""
    each = stretches(devices, steps)
    round_s = 0.0
    for d, stretch in zip(devices, each, strict=True):
        round_s = max(round_s, total_s(d, stretch))
    return round_s, [_played(d, s, round_s) for d, s in zip(devices, each, strict=True)]


def _played(d: Device, stretch: float, round_s: float) -> Played:
    computing, up, work, down = (d.batches * stage_s for stage_s in stages_of(d))
    computing_j = d.dynamic_w * computing
    radio_j = d.radio_w * (up + down + sync_s(d))
    energy_j = computing_j + radio_j + d.idle_w * round_s
    return Played(
        device_s=computing,
        uplink_s=up,
        server_s=work * stretch,
        downlink_s=down,
        sync_s=sync_s(d),
        total_s=total_s(d, stretch),
        energy_j=energy_j,
        temp_c=_heated(d, energy_j / round_s, round_s),
    )


def _heated(d: Device, power_w: float, seconds: float) -> float:
    """dT/dt = (ambient + R P - T) / tau at constant power: the gap to what it tends to decays."""
    tends_to_c = d.ambient_c + d.heat_c_per_w * power_w
    return tends_to_c - (tends_to_c - d.temp_c) * math.exp(-seconds / d.heat_tau_s)
