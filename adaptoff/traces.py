"""Bandwidth traces: CSV ``t_s,up_mbps,down_mbps`` or mahimahi packet times.

A blank CSV cell is "not measured": the other direction stands in for it, and a row without any
keeps the rate before. A mahimahi file has one line of milliseconds for each 1500-byte packet that
could be delivered; it serves both directions. Traces repeat when they end.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptoff.errors import TraceError
from adaptoff.fleet import Floats

PACKET_BITS = 1500 * 8
MAHIMAHI_STEP_S = 1.0
MAX_MBPS = 1e6
MAX_T_S = 1e9
FLOOR_BPS = 10_000.0
"""an outage is modelled as a trickle, so that seconds stay finite"""


@dataclass(frozen=True)
class Trace:
    """Rates that hold from ``t_s[i]`` to ``t_s[i + 1]``; ``period_s`` is where it repeats."""

    t_s: Floats  # (N,) from 0, ascending
    up_bps: Floats  # (N,)
    down_bps: Floats  # (N,)
    period_s: float

    def at(self, seconds: float) -> tuple[float, float]:
        """(up, down) in bits per second."""
        i = int(np.searchsorted(self.t_s, seconds % self.period_s, "right")) - 1
        return float(self.up_bps[i]), float(self.down_bps[i])


def load(path: Path) -> Trace:
    """Read a trace; raises TraceError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from None
    first = text.lstrip().split("\n", 1)[0]
    return _csv(text, str(path)) if "," in first else _mahimahi(text, str(path))


def _csv(text: str, name: str) -> Trace:
    try:
        lines = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise TraceError(f"{name}: not CSV: {error}") from None
    if lines[0] != ["t_s", "up_mbps", "down_mbps"]:
        raise TraceError(f"{name}: line 1: must be t_s,up_mbps,down_mbps")
    rows = [_csv_row(line, f"{name}: line {i}") for i, line in enumerate(lines[1:], 2) if line]
    return _trace(np.array(rows, np.float64).reshape(-1, 3), name)


def _csv_row(line: list[str], where: str) -> list[float]:
    try:
        t_s, up, down = (float(cell) if cell.strip() else np.nan for cell in line)
    except ValueError:
        raise TraceError(f"{where}: must be three numbers, blank for not measured") from None
    rates = np.nan_to_num([up, down])
    if not abs(t_s) <= MAX_T_S or rates.min() < 0 or rates.max() > MAX_MBPS:
        raise TraceError(f"{where}: needs a time, and rates from 0 to {MAX_MBPS:.0f} Mbit/s")
    return [t_s, up, down]


def _trace(rows: Floats, name: str) -> Trace:
    rates = rows[:, 1:] * 1e6
    rates = np.where(np.isfinite(rates), rates, rates[:, ::-1])
    known = np.isfinite(rates).all(1)
    if not known.any() or (np.diff(rows[:, 0]) <= 0).any():
        raise TraceError(f"{name}: needs ascending times and at least one measured rate")
    last = np.maximum.accumulate(np.where(known, np.arange(len(rows)), known.argmax()))
    rates = np.maximum(rates[last], FLOOR_BPS)
    t_s = rows[:, 0] - rows[0, 0]
    step_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 1.0
    return Trace(t_s, rates[:, 0], rates[:, 1], float(t_s[-1]) + step_s)


def _mahimahi(text: str, name: str) -> Trace:
    try:
        at_s = np.array([int(line) for line in text.split()], float) / 1000
    except (ValueError, OverflowError):
        raise TraceError(f"{name}: neither a CSV trace nor whole milliseconds a line") from None
    if not at_s.size or (np.diff(at_s) < 0).any() or at_s[0] < 0 or at_s[-1] > 1e6:
        raise TraceError(f"{name}: milliseconds must ascend from 0 to at most 10^9")
    packets = np.bincount((at_s / MAHIMAHI_STEP_S).astype(int))
    rates = np.maximum(packets * PACKET_BITS / MAHIMAHI_STEP_S, FLOOR_BPS)
    t_s = np.arange(len(rates), dtype=np.float64) * MAHIMAHI_STEP_S
    return Trace(t_s, rates, rates, len(rates) * MAHIMAHI_STEP_S)
