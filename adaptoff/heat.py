"""First-order heat of a device, and the clocks that it leaves."""

import numpy as np

from adaptoff.fleet import Fleet, Floats, Ints

THROTTLE_STEP_C = 5.0


def after(fleet: Fleet, temp_c: Floats, device_j: Floats, seconds: Floats) -> Floats:
    """Degrees (F, G) after ``seconds`` of a device that used ``device_j``; all (F, G)."""
    watts = device_j / np.maximum(seconds, 1e-9)
    return warmed(temp_c, fleet.ambient_c, fleet.heat_c_per_w, fleet.heat_tau_s, watts, seconds)


def warmed(
    temp_c: Floats, ambient_c: Floats, heat_c_per_w: Floats, heat_tau_s: Floats, watts: Floats,
    seconds: Floats,
) -> Floats:  # fmt: skip
    """Degrees after ``seconds`` at ``watts``, first-order RC; any shapes that broadcast."""
    settled_c = ambient_c + heat_c_per_w * watts
    return settled_c + (temp_c - settled_c) * np.exp(seconds / -heat_tau_s)


def throttled(opp: Ints | int, temp_c: Floats | float, trip_c: Floats | float) -> Ints:
    """The OPP that heat leaves of ``opp``; any shapes that broadcast.

    Above the trip point it is one step down, and one more for each ``THROTTLE_STEP_C`` above that.
    """
    above_c = np.asarray(temp_c - trip_c)
    steps = np.where(above_c > 0, 1 + np.floor(above_c / THROTTLE_STEP_C), 0).astype(np.int64)
    return np.maximum(opp - steps, 0)
