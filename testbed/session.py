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
from adaptoff.testbed.models import activation_shapes
from adaptoff.testbed.split import ServerHalf, State, export_state, load_state, state_specs

Array = np.ndarray[Any, np.dtype[Any]]
Spec = tuple[str, tuple[int, ...]]


class Shapes:
    """What each cut of a model sends, measured once by a forward pass of zeros."""

    def __init__(self, model: nn.Sequential, batch_size: int) -> None:
        self._batch_size = batch_size
        self._shapes = activation_shapes(model)

    def activations(self, cut: int) -> list[Spec]:
        """Activations and labels."""
        batch = self._batch_size
        return [("float32", (batch, *self._shapes[cut])), ("int64", (batch,))]


@dataclass
class Session:
    """One device's round; ``model`` is its own copy, which both halves end up in."""

    device: int
    n_opps: int
    model: nn.Sequential
    shapes: Shapes
    workload: Workload
    decision: Decision | None = None
    telemetry: Telemetry | None = None
    state: State | None = None
    batches: int = 0
    _half: ServerHalf | None = None

    @property
    def done(self) -> bool:
        """Weights and telemetry are here."""
        return self.state is not None and self.telemetry is not None

    @property
    def row(self) -> Row | None:
        """As decided, None before."""
        return self.decision.row if self.decision else None

    @property
    def native(self) -> int:
        """The cut at which the server has nothing to do."""
        return len(self.model)

    def begin(self, decision: Decision, start: State) -> State:
        """Take the global weights ``start``; returns the device's part of them."""
        cut = decision.row.cut
        _require(decision.device == self.device, f"a decision for device {decision.device}")
        _require(decision.row.opp < self.n_opps, f"OPP {decision.row.opp}: {self.n_opps} exist")
        _require(self.decision is None, "a second decision in a round")
        _require(cut <= self.native, f"cut {cut}: the model allows 0 to {self.native}")
        _require(
            cut >= min(self.workload.min_cut, self.native),
            f"cut {cut}: the scenario's min_cut is {self.workload.min_cut}",
        )
        load_state(self.model, start)
        self.decision = decision
        work = self.workload
        self._half = ServerHalf(self.model, cut, work.learning_rate, work.momentum)
        return start[: len(export_state(self.model[:cut]))]

    def train(
        self, batch: int, arrays: list[Array], pace: Callable[[int], AbstractContextManager[object]]
    ) -> Array | None:
        """One batch on the server's half, inside ``pace(cut)``; returns the gradient."""
        cut = self._cut()
        in_order = batch == self.batches < self.workload.batches
        _require(cut < self.native and in_order, f"batch {batch} out of order")
        wire.check_tensors(arrays, self.shapes.activations(cut), finite=True)
        if self._half is None:
            raise Malformed("activations before a decision")
        with pace(cut):
            gradient, _ = self._half.step(*arrays)
        self.batches += 1
        return gradient

    def finish(self, cut: int, arrays: list[Array]) -> None:
        """Join the device's new weights with the server's."""
        _require(cut == self._cut(), "weights of another cut than decided")
        done = self.batches == self.workload.batches or cut == self.native
        _require(done, "weights before the last batch")
        joined = [*arrays, *export_state(self.model[cut:])]
        specs = [(spec.dtype, tuple(spec.shape)) for spec in state_specs(self.model)]
        wire.check_tensors(joined, specs, finite=True)  # its activations may have spoilt our half
        self.state = joined

    def report(self, seen: Telemetry) -> None:
        """Take the telemetry, if it is of this device, its row and all of its samples."""
        _require(self.state is not None, "telemetry before the weights")
        mine = seen.device == self.device and Row(cut=seen.cut, opp=seen.opp) == self.row
        _require(mine, "telemetry of another device or row")
        samples = self.workload.batches * self.workload.batch_size
        _require(seen.samples == samples, f"{seen.samples} samples, {samples} were to be trained")
        self.telemetry = seen

    def _cut(self) -> int:
        if self.row is None:
            raise Malformed("a round's work before its decision")
        return self.row.cut


def _require(fine: bool, complaint: str) -> None:
    if not fine:
        raise Malformed(complaint)
