"""Telemetry -> estimates. What was not measured keeps its last estimate, and its age grows."""

from dataclasses import replace

import numpy as np

from adaptoff import cost, lookup
from adaptoff.fleet import Fleet, FleetState, Floats, Outcome

SPEED_GAIN = 0.6
LINK_GAIN = 0.8
VOLATILITY_GAIN = 0.12
LINK_VOLATILITY, SPEED_VOLATILITY = 0.28, 0.1
"""assumed at first: how far links and speeds move in a round, as |logarithm|"""
SHARED_FATE = 0.8
"""how far a direction that is not measured is taken to move with the other one, which is

Real ones do by 0.3 (Starlink, from one 5 s to the next) to 1 (one bottleneck for both).
"""
USUAL_GAIN = 0.12
"""of the slow averages"""
UNKNOWN_BPS = 10e6
"""assumed of a link that was never measured"""
MAX_AGE = 1000.0
LOWEST, HIGHEST = 1e-6, 1e12
"""of any speed or rate: whatever a device claims, estimates stay numbers that can be sent"""
TINY = 1e-9


def initial(fleet: Fleet, warm_up: Outcome) -> FleetState:
    """State after the native warm-up round; fixes the native reference of the episode."""
    shape = fleet.shape
    blank = FleetState(
        speed=np.ones(shape),
        up_bps=np.full(shape, UNKNOWN_BPS),
        down_bps=np.full(shape, UNKNOWN_BPS),
        rtt_s=np.zeros(shape),
        temp_c=fleet.ambient_c,
        server_speed=np.ones(shape[0]),
        speed_age=np.full(shape, MAX_AGE),
        up_age=np.full(shape, MAX_AGE),
        down_age=np.full(shape, MAX_AGE),
        volatility=np.full(shape, LINK_VOLATILITY),
        speed_volatility=np.full(shape, SPEED_VOLATILITY),
        usual_speed=np.ones(shape),
        usual_up_bps=np.full(shape, UNKNOWN_BPS),
        usual_down_bps=np.full(shape, UNKNOWN_BPS),
        usual_server_speed=warm_up.server_speed,
        cut=fleet.native().cut,
        opp=fleet.native().opp,
        native_s=np.ones(shape[0]),
        native_j=np.ones(shape[0]),
    )
    return with_reference(fleet, update(fleet, blank, warm_up))


def with_reference(fleet: Fleet, state: FleetState) -> FleetState:
    """The state with the modelled native round at its conditions as reference.

    A fleet without power figures has no joules to compare: a tiny reference keeps ratios finite.
    """
    columns = cost.joint(fleet, state, fleet.native())
    seconds = cost.round_s(fleet, columns)
    joules = cost.energy_j(fleet, columns, seconds).sum(1)
    return replace(state, native_s=np.maximum(seconds, TINY), native_j=np.maximum(joules, TINY))


def update(fleet: Fleet, prior: FleetState, seen: Outcome) -> FleetState:
    """The state after a round."""
    measured = _speed(fleet, seen)
    speed, speed_age = _blend(prior.speed, prior.speed_age, measured, SPEED_GAIN)
    up = _blend(prior.up_bps, prior.up_age, seen.up_bps, LINK_GAIN)
    down = _blend(prior.down_bps, prior.down_age, seen.down_bps, LINK_GAIN)
    up_bps, up_age = _followed(*up, *down, prior.down_bps, prior.down_age)
    down_bps, down_age = _followed(*down, *up, prior.up_bps, prior.up_age)
    return replace(
        prior,
        speed=speed,
        speed_age=speed_age,
        up_bps=up_bps,
        up_age=up_age,
        down_bps=down_bps,
        down_age=down_age,
        rtt_s=np.where(np.isfinite(seen.rtt_s), seen.rtt_s, prior.rtt_s),
        temp_c=seen.temp_c,
        volatility=_volatility(prior.volatility, prior.up_bps, prior.up_age, seen.up_bps),
        speed_volatility=_volatility(
            prior.speed_volatility, prior.speed, prior.speed_age, measured
        ),
        usual_speed=_blend(prior.usual_speed, prior.speed_age, measured, USUAL_GAIN)[0],
        usual_up_bps=_usual(prior.usual_up_bps, prior.up_age, seen.up_bps, up_bps),
        usual_down_bps=_usual(prior.usual_down_bps, prior.down_age, seen.down_bps, down_bps),
        server_speed=seen.server_speed,
        usual_server_speed=_blend(
            prior.usual_server_speed, np.zeros(1), seen.server_speed, USUAL_GAIN
        )[0],
        cut=seen.cut,
        opp=seen.opp,
    )


def _speed(fleet: Fleet, seen: Outcome) -> Floats:
    """Reference cores at the fastest OPP, (F, G); NaN where nothing was computed."""
    work_s = fleet.batches * lookup.pick_cut(fleet.device_work_s, seen.cut)
    asked = seen.device_s * lookup.pick_opp(fleet.relative_speed, seen.opp)
    known = (work_s > 0) & (asked > 0)
    return np.where(known, work_s / np.where(known, asked, 1.0), np.nan)


def _blend(old: Floats, age: Floats, new: Floats, gain: float) -> tuple[Floats, Floats]:
    """EWMA of logarithms where ``new`` is a number; the first measurement counts whole."""
    known = np.isfinite(new) & (new > 0)
    weight = np.where(age >= MAX_AGE, 1.0, gain)
    step = weight * np.log(np.where(known, new, old) / old)
    return np.clip(old * np.exp(step), LOWEST, HIGHEST), np.where(
        known, 0.0, np.minimum(age + 1, MAX_AGE)
    )


def _usual(old: Floats, age: Floats, new: Floats, now: Floats) -> Floats:
    """Slow EWMA of a rate; as estimated ``now`` while it was never measured."""
    return np.where(age >= MAX_AGE, now, _blend(old, age, new, USUAL_GAIN)[0])


def _followed(
    own: Floats, own_age: Floats, other: Floats, other_age: Floats, last: Floats, last_age: Floats
) -> tuple[Floats, Floats]:  # fmt: skip
    """Rate and age of a direction: not measured, it goes part of the way with the other one.

    ``last`` is the other's rate before. Never measured, it is taken to be as fast as the other.
    """
    follows, never = (own_age > 0) & (other_age == 0), own_age >= MAX_AGE
    step = np.where(last_age < MAX_AGE, SHARED_FATE * np.log(other / last), 0.0)
    moved = np.clip(own * np.exp(step), LOWEST, HIGHEST)
    bps = np.where(follows, np.where(never, other, moved), own)
    return bps, np.where(follows & ~never, own_age - SHARED_FATE, own_age)


def _volatility(old: Floats, last: Floats, age: Floats, new: Floats) -> Floats:
    """EWMA of how far a measurement is from the estimate before it, in logarithms."""
    known = np.isfinite(new) & (new > 0) & (age < MAX_AGE)
    jump = np.abs(np.log(np.where(known, new, last) / last))
    return np.where(known, old + VOLATILITY_GAIN * (jump - old), old)
