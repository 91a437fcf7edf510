"""Real traces as links: the mean rate of each round, scaled by one factor, from a random offset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptoff import traces
from adaptoff.errors import InputError
from adaptoff.fleet import Floats, Ints
from adaptoff.processes import log_uniform
from adaptoff.traces import Trace


@dataclass(frozen=True)
class Replay:
    """Where the links of a draw came from, each (F, G)."""

    file: Ints  # index into the trace files
    start_s: Floats  # offset into the trace at the warm-up round
    factor: Floats  # what all rates of the trace were multiplied with
    up_over_down: Floats  # as measured where both directions were, else as stated


@dataclass(frozen=True)
class Traces:
    """Trace files and how to replay them.

    Each trace is scaled by one factor such that its mean downlink is log-uniform in
    ``scale_to_mbps``; None leaves it as measured. Where a file has one direction only, uplink =
    ``up_over_down`` x downlink. Raises InputError.
    """

    files: Sequence[Path]
    round_s: float = 5.0
    scale_to_mbps: tuple[float, float] | None = None
    up_over_down: float = 1.0

    def __post_init__(self) -> None:
        """Raises InputError."""
        low, high = self.scale_to_mbps or (1.0, 1.0)
        if not self.files or not 0 < low <= high or min(self.round_s, self.up_over_down) <= 0:
            raise InputError(
                f"{len(self.files)} traces, round_s {self.round_s}, scale_to_mbps "
                f"{self.scale_to_mbps}, up_over_down {self.up_over_down}: at least one, all above 0"
            )

    def load(self) -> list[Trace]:
        """All traces, their missing direction filled; raises TraceError."""
        return [with_both(traces.load(Path(file)), self.up_over_down) for file in self.files]

    def choose(
        self, rng: np.random.Generator, loaded: Sequence[Trace], shape: tuple[int, int]
    ) -> Replay:
        """A trace, an offset and a factor for each of ``shape`` links."""
        file = rng.integers(0, len(loaded), shape)
        means = np.array([mean_rates(trace) for trace in loaded])
        wanted = log_uniform(rng, *(self.scale_to_mbps or (1.0, 1.0)), shape) * 1e6
        return Replay(
            file=file,
            start_s=rng.random(shape) * np.array([trace.period_s for trace in loaded])[file],
            factor=wanted / means[file, 1] if self.scale_to_mbps else np.ones(shape),
            up_over_down=(means[:, 0] / means[:, 1])[file],
        )

    def rates(self, loaded: Sequence[Trace], replay: Replay, rounds: int) -> tuple[Floats, Floats]:
        """Up and down (T, F, G) in bits per second, each the mean over ``round_s`` seconds."""
        shape = replay.file.shape
        both = [
            averages(loaded[file], start_s, rounds, self.round_s)
            for file, start_s in zip(replay.file.ravel().tolist(), replay.start_s.flat, strict=True)
        ]
        up, down = np.moveaxis(np.array(both), 0, 2).reshape(2, rounds, *shape) * replay.factor
        return up, down


def with_both(trace: Trace, up_over_down: float) -> Trace:
    """The trace; if one direction stands in for the other, uplink = ratio x downlink."""
    if (trace.up_bps != trace.down_bps).any():
        return trace
    return Trace(trace.t_s, trace.down_bps * up_over_down, trace.down_bps, trace.period_s)


def averages(trace: Trace, start_s: float, rounds: int, round_s: float) -> Floats:
    """Mean rates (2, rounds), up and down, of consecutive ``round_s`` seconds of a trace."""
    edges_s: Floats = start_s + round_s * np.arange(rounds + 1, dtype=np.float64)
    bits = [_bits(trace, rate, edges_s) for rate in (trace.up_bps, trace.down_bps)]
    return np.diff(np.stack(bits), axis=1) / round_s


def mean_rates(trace: Trace) -> Floats:
    """Mean rates (2,), up and down, over the whole trace."""
    return averages(trace, 0.0, 1, trace.period_s)[:, 0]


def _bits(trace: Trace, rate_bps: Floats, at_s: Floats) -> Floats:
    """Bits carried from 0 to ``at_s`` of a trace that repeats."""
    edges_s = np.append(trace.t_s, trace.period_s)
    total = np.append(0.0, np.cumsum(rate_bps * np.diff(edges_s)))
    whole, rest_s = np.divmod(at_s, trace.period_s)
    return whole * total[-1] + np.interp(rest_s, edges_s, total)
