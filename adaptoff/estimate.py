"""Telemetry -> estimates. What was not measured keeps its last estimate, and its age grows."""

from dataclasses import replace

import numpy as np

from adaptoff import cost, lookup
from adaptoff.fleet import Bools, Fleet, FleetState, Floats, Outcome

SPEED_GAIN = 0.6
LINK_GAIN = 0.8
_GAINS = np.array([SPEED_GAIN, LINK_GAIN, LINK_GAIN])[:, None, None]
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
        way=fleet.native().way,
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
    native_s, native_j = (np.clip(value, TINY, HIGHEST) for value in (seconds, joules))
    return replace(state, native_s=native_s, native_j=native_j)


def update(fleet: Fleet, prior: FleetState, seen: Outcome) -> FleetState:
    """The state after a round."""
    measured = np.array([_speed(fleet, seen), seen.up_bps, seen.down_bps])  # (3, F, G)
    last = np.array([prior.speed, prior.up_bps, prior.down_bps])
    usual = np.array([prior.usual_speed, prior.usual_up_bps, prior.usual_down_bps])
    ages = np.array([prior.speed_age, prior.up_age, prior.down_age])
    known, never = _known(measured), ages >= MAX_AGE
    measured = _bounded(measured)
    jumps = np.log(np.where(known, measured, last) / last)
    now = _moved(last, np.where(never, 1.0, _GAINS) * jumps)
    age = np.where(known, 0.0, np.minimum(ages + 1, MAX_AGE))
    bps, link_age = _followed(now[1:], age[1:], last[1:], ages[1:])
    usual = _blend(usual, measured, known, np.where(never, 1.0, USUAL_GAIN))
    usual[1:] = np.where(never[1:], bps, usual[1:])  # as estimated while it was never measured
    volatility = _volatility(prior, jumps[:2], (known & ~never)[:2])
    return FleetState(
        speed=now[0],
        speed_age=age[0],
        up_bps=bps[0],
        up_age=link_age[0],
        down_bps=bps[1],
        down_age=link_age[1],
        rtt_s=np.where(np.isfinite(seen.rtt_s), seen.rtt_s, prior.rtt_s),
        temp_c=seen.temp_c,
        volatility=volatility[1],
        speed_volatility=volatility[0],
        usual_speed=usual[0],
        usual_up_bps=usual[1],
        usual_down_bps=usual[2],
        server_speed=seen.server_speed,
        usual_server_speed=_blend(
            prior.usual_server_speed, seen.server_speed, _known(seen.server_speed), USUAL_GAIN
        ),
        way=seen.way,
        opp=seen.opp,
        native_s=prior.native_s,
        native_j=prior.native_j,
    )


def _speed(fleet: Fleet, seen: Outcome) -> Floats:
    """Reference cores at the fastest OPP, (F, G); NaN where nothing was computed.

    An OPP that was lost within the round was lost nobody knows when: the geometric mean of the two
    speeds is off by no more than the root of their ratio.
    """
    work_s = fleet.batches * lookup.pick_way(fleet.device_work_s, seen.way)
    first, last = (lookup.pick_opp(fleet.relative_speed, k) for k in (seen.opp, seen.opp_left))
    asked = seen.device_s * np.where(seen.opp_left < seen.opp, np.sqrt(first * last), first)
    # at cut 0 it encodes at most: too little to tell
    known = (lookup.pick_way(fleet.cut, seen.way) > 0) & (work_s > 0) & (asked > 0)
    return np.where(known, work_s / np.where(known, asked, 1.0), np.nan)


def _known(measured: Floats) -> Bools:
    return np.isfinite(measured) & (measured > 0)


def _blend(old: Floats, new: Floats, known: Bools, gain: Floats | float) -> Floats:
    """EWMA of logarithms where ``new`` is known."""
    return _moved(old, gain * np.log(np.where(known, new, old) / old))


def _moved(old: Floats, step: Floats) -> Floats:
    """By a ``step`` of the logarithm, within bounds."""
    return _bounded(old * np.exp(step))


def _bounded(value: Floats) -> Floats:
    return np.minimum(np.maximum(value, LOWEST), HIGHEST)


def _followed(own: Floats, age: Floats, last: Floats, last_age: Floats) -> tuple[Floats, Floats]:
    """Rates and ages, up and down (2, F, G): not measured, one goes part of the way with the other.

    ``last`` and ``last_age`` are those before. Never measured, a direction is taken to be as fast
    as the other one.
    """
    follows, never = (age > 0) & (age[::-1] == 0), age >= MAX_AGE
    if not follows.any():
        return own, age
    other, other_last = own[::-1], last[::-1]
    step = np.where(last_age[::-1] < MAX_AGE, SHARED_FATE * np.log(other / other_last), 0.0)
    bps = np.where(follows, np.where(never, other, _moved(own, step)), own)
    return bps, np.where(follows & ~never, age - SHARED_FATE, age)


def _volatility(prior: FleetState, jumps: Floats, known: Bools) -> Floats:
    """EWMA of how far a measurement is from the estimate before it, in logarithms, (2, F, G)."""
    old = np.array([prior.speed_volatility, prior.volatility])
    return np.where(known, old + VOLATILITY_GAIN * (np.abs(jumps) - old), old)
