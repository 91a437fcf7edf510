"""The server's side of one device in one round: checks what it says, trains its half."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from adaptoff.errors import Malformed
from adaptoff.messages import Decision, Row, Telemetry
from adaptoff.scenario import Workload
from adaptoff.testbed import wire
from adaptoff.testbed.codec import decode, encode, n_arrays
from adaptoff.testbed.shapes import Shapes
from adaptoff.testbed.split import (
    ServerHalf,
    State,
    export_state,
    load_state,
    state_specs,
)  # fmt: skip
from adaptoff.testbed.turns import FIRST, Place
from adaptoff.ways import Ways

Array = np.ndarray[Any, np.dtype[Any]]
Pace = Callable[[Row, float], AbstractContextManager[object]]
"""paces a share of the server's work on a batch of a row"""


@dataclass
class Session:
    """One device's round; ``model`` is its own copy, which both halves end up in."""

    device: int
    n_opps: int
    model: nn.Sequential
    shapes: Shapes
    ways: Ways
    decision: Decision | None = None
    telemetry: Telemetry | None = None
    state: State | None = None
    batches: int = 0
    """trained"""
    _half: ServerHalf | None = None
    _next: Place = FIRST
    """of the micro-batches that have come"""

    @property
    def done(self) -> bool:
        """Weights and telemetry are here."""
        return self.state is not None and self.telemetry is not None

    @property
    def row(self) -> Row | None:
        """As decided, None before."""
        return self.decision.row if self.decision else None

    @property
    def workload(self) -> Workload:
        """What is trained."""
        return self.ways.work

    def begin(self, decision: Decision, start: State) -> State:
        """Take the global weights ``start``; returns the device's part of them."""
        row, work = decision.row, self.workload
        _require(decision.device == self.device, f"a decision for device {decision.device}")
        _require(row.opp < self.n_opps, f"OPP {row.opp}: {self.n_opps} exist")
        _require(self.decision is None, "a second decision in a round")
        self._check(row)
        load_state(self.model, start)
        self.decision = decision
        self._half = ServerHalf(self.model, row.cut, work.learning_rate, work.momentum)
        return start[: len(export_state(self.model[: row.cut]))]

    def arrive(self, place: Place, arrays: list[Array]) -> None:
        """Check a micro-batch that is to wait: in order, and no larger than it can be.

        Those of a batch come after the batch before was trained, so at most ``depth`` wait.
        """
        row = self._row()
        in_order = place == self._next and place.batch == self.batches < self.workload.batches
        complaint = f"part {place.part} of batch {place.batch} out of order"
        _require(row.cut < self.ways.native and in_order, complaint)
        nbytes, most = sum(a.nbytes for a in arrays), self.shapes.most_bytes(row, place.part)
        _require(nbytes <= most, f"{nbytes} bytes of activations, at most {most}")
        self._next = place.after(row.depth)

    def train(self, place: Place, arrays: list[Array], pace: Pace) -> list[Array]:
        """A micro-batch that has arrived, inside ``pace``; returns the gradient, encoded."""
        row, last = self._row(), place.after(self._row().depth).part == 0
        shape = self.shapes.activations(row, place.part)
        share = self.shapes.share(row, place.part)
        _require(len(arrays) == n_arrays(row.codec) + 1, f"{len(arrays)} tensors of {row.codec}")
        wire.check_tensors(arrays[-1:], [("int64", shape[:1])])
        if self._half is None:
            raise Malformed("activations before a decision")
        with pace(row, share):
            activations = decode(row.codec, arrays[:-1], shape)
            gradient, _ = self._half.step(activations, arrays[-1], share, last)
            answer = [] if gradient is None else encode(row.codec, gradient)
        self.batches += last
        return answer

    def finish(self, cut: int, arrays: list[Array]) -> None:
        """Join the device's new weights with the server's."""
        _require(cut == self._row().cut, "weights of another cut than decided")
        done = self.batches == self.workload.batches or cut == self.ways.native
        _require(done, "weights before the last batch")
        joined = [*arrays, *export_state(self.model[cut:])]
        specs = [(spec.dtype, tuple(spec.shape)) for spec in state_specs(self.model)]
        wire.check_tensors(joined, specs, finite=True)  # its activations may have spoilt our half
        self.state = joined

    def report(self, seen: Telemetry) -> None:
        """Take the telemetry, if it is of this device, its row and all of its samples."""
        _require(self.state is not None, "telemetry before the weights")
        mine = seen.device == self.device and seen.row == self.row
        _require(mine, "telemetry of another device or row")
        samples = self.workload.batches * self.workload.batch_size
        _require(seen.samples == samples, f"{seen.samples} samples, {samples} were to be trained")
        self.telemetry = seen

    def _check(self, row: Row) -> None:
        try:
            self.ways.check(row)
        except ValueError as error:
            raise Malformed(str(error)) from None
        # BatchNorm cannot train on a single sample
        samples = self.workload.batch_size
        _require(2 * row.depth <= samples, f"depth {row.depth}: a batch has {samples} samples")

    def _row(self) -> Row:
        if self.row is None:
            raise Malformed("a round's work before its decision")
        return self.row


def _require(fine: bool, complaint: str) -> None:
    if not fine:
        raise Malformed(complaint)
