"""A board's heat constants, learnt from what it draws and how warm it gets.

First-order heat: tau dT/dt = ambient + R P - T. Differences of noisy temperatures would say that
tau is shorter than it is, so both sides pass a low-pass filter f first, whose own derivative needs
no differences (state-variable filters; P. Young, Recursive Estimation and Time-Series Analysis):

    (T - f(T)) / FILTER_S = (f(ambient) + R f(P) - f(T)) / tau

It is linear in 1/tau, R/tau and ambient/tau. Recursive least squares solves it in Kalman's form, so
that each of them is forgotten as fast as it changes: a room's temperature within the hour, what the
board is made of within weeks. Where the power does not change and nothing can be told apart, what
was believed before stays.
"""

import math
from dataclasses import dataclass

import numpy as np

from adaptoff.fleet import Floats

FILTER_S = 20.0
MAX_GAP_S = 60.0
"""between samples; after a longer one the filter starts anew"""
NOISE_C = 1.0
"""of a reading; a second's worth of them counts as one"""
DOUBT = 3.0
"""relative error that the constants given first may well have"""
DOUBT_C = 60.0
"""and the ambient temperature given first"""
DRIFT, DRIFT_C = 0.02, 3.0
"""how far 1/tau and R/tau (relative) and the ambient temperature stray in an hour"""
C_PER_W, TAU_S, AMBIENT_C = (0.01, 100.0), (1.0, 1e5), (-40.0, 80.0)


@dataclass(frozen=True)
class Heat:
    """Constants of first-order heat."""

    c_per_w: float
    """degrees per watt, once settled"""
    tau_s: float
    ambient_c: float


class HeatFit:
    """Learns a board's constants, sample by sample."""

    def __init__(self, first: Heat) -> None:
        """``first``: the scenario's constants, believed until samples say otherwise."""
        self._first = first
        self._known = np.array([1.0, first.c_per_w, 0.0]) / first.tau_s
        scale = max(first.c_per_w, 1.0)
        doubt = np.array([DOUBT, DOUBT * scale, DOUBT_C]) / first.tau_s
        self._drift = np.array([DRIFT, DRIFT * scale, DRIFT_C])
        self._covariance = np.diag(doubt**2)
        self._last_c: float | None = None
        self._slow_c, self._filtered = 0.0, np.zeros(3)

    def add(self, seconds: float, watts: float, temp_c: float) -> None:
        """A temperature, and the mean power of the ``seconds`` since the one before.

        After a gap, or a value that is not finite, a sample only starts the filter anew.
        """
        temp_c -= self._first.ambient_c
        last_c, self._last_c = self._last_c, temp_c if math.isfinite(temp_c) else None
        if not (0 < seconds <= MAX_GAP_S and math.isfinite(watts)) or self._last_c is None:
            last_c = None
        if last_c is None:
            self._slow_c, self._filtered = temp_c, np.zeros(3)
        else:
            self._learn(seconds, np.array([-(last_c + temp_c) / 2, watts, 1.0]), temp_c)

    def heat(self) -> Heat:
        """The constants as they are known now, within bounds."""
        rate, gain, offset = (float(value) for value in self._known)
        rate = _within(rate, (1 / TAU_S[1], 1 / TAU_S[0]))
        ambient_c = self._first.ambient_c + offset / rate
        return Heat(_within(gain / rate, C_PER_W), 1 / rate, _within(ambient_c, AMBIENT_C))

    def error(self) -> float:
        """Relative standard error of R or tau, the larger one: 0.1 is 10 %, above 1 at first."""
        known, variance = self._known[:2], self._covariance[:2, :2]
        if known.min() <= 0:
            return math.inf
        (tau, both), (_, gain) = variance / np.outer(known, known)
        return math.sqrt(max(tau, tau + gain - 2 * both))

    def _learn(self, seconds: float, inputs: Floats, temp_c: float) -> None:
        keep = math.exp(-seconds / FILTER_S)
        self._filtered = keep * self._filtered + (1 - keep) * inputs
        self._slow_c = keep * self._slow_c - (1 - keep) * inputs[0]
        row, rise = self._filtered, (temp_c - self._slow_c) / FILTER_S
        drift = self._drift * _within(self._known[0], (1 / TAU_S[1], 1 / TAU_S[0]))
        self._covariance += np.diag(drift**2) * seconds / 3600
        seen = self._covariance @ row
        variance = (NOISE_C / FILTER_S) ** 2 / min(seconds, 1.0)
        gain = seen / (row @ seen + variance)
        self._known = self._known + gain * (rise - row @ self._known)
        self._covariance = self._covariance - np.outer(gain, seen)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return float(min(max(value, bounds[0]), bounds[1]))
