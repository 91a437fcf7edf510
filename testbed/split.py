"""Exact split training: a device half and a server half give the weights of the unsplit network.

A half is made for one round and begins with zero momentum, so making it is the start of the round.
Both halves train a network in place; pacing, validation of what a peer sent, and the network
between them are the caller's. Arrays go in and out float32, in C order, no copy but for a read-only
array. Activations and gradients are fresh memory for every batch.

A batch may be trained in micro-batches: gradients add up, each weighted by its share of the batch,
and both halves take one step a batch. That equals the whole batch but for rounding, unless there is
BatchNorm, which then sees the statistics of each micro-batch.
"""

import math
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from msgspec import ValidationError, convert
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.sgd import sgd

from adaptoff.errors import BadTensor, RunError
from adaptoff.messages import TensorSpec

FloatArray = NDArray[np.float32]
Labels = NDArray[np.int64]
State = list[NDArray[Any]]
"""weights and buffers in state-dict order: float32, and the int64 counters of BatchNorm"""


def single_thread() -> None:
    """Let torch compute in the calling thread alone, as the emulated clocks expect."""
    torch.set_num_threads(1)


def export_state(blocks: nn.Module) -> State:
    """The state of ``blocks``, which may be a slice of a network: ``export_state(model[:cut])``.

    The arrays are views: they change with the next step or load. Copy what must last.
    """
    return [tensor.numpy() for tensor in blocks.state_dict().values()]


def load_state(blocks: nn.Module, state: State) -> None:
    """Copy ``state`` into ``blocks``; raises BadTensor, and changes nothing, if it does not fit."""
    check_state(state, state_specs(blocks))
    for mine, new in zip(export_state(blocks), state, strict=True):
        np.copyto(mine, new)


def state_specs(blocks: nn.Module) -> list[TensorSpec]:
    """Dtype and shape of each array of ``export_state(blocks)``."""
    return specs_of(export_state(blocks))


def specs_of(state: State) -> list[TensorSpec]:
    """Dtype and shape of each array of ``state``; BadTensor for a dtype that never travels."""
    try:
        return [convert((array.dtype.name, array.shape), TensorSpec) for array in state]
    except ValidationError as error:
        raise BadTensor(f"a state cannot travel: {error}") from None


def check_state(state: State, specs: list[TensorSpec]) -> None:
    """Raise BadTensor unless ``state`` has exactly these dtypes and shapes."""
    found = [(array.dtype.name, list(array.shape)) for array in state]
    wanted = [(spec.dtype, spec.shape) for spec in specs]
    if len(found) != len(wanted):
        raise BadTensor(f"a state of {len(found)} tensors, expected {len(wanted)}")
    for index, (got, want) in enumerate(zip(found, wanted, strict=True)):
        if got != want:
            raise BadTensor(f"tensor {index} of a state is {got}, expected {want}")


def micro_batches(batch_size: int, depth: int) -> list[slice]:
    """Where a batch is split into ``depth`` parts of nearly equal size, the larger ones first."""
    size, larger = divmod(batch_size, depth)
    ends = [part * size + min(part, larger) for part in range(depth + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


class Sgd:
    """SGD with momentum over ``parameters``, momentum zero at first.

    The function behind ``torch.optim.SGD`` is called directly: making the first optimiser object of
    a process imports a compiler, which costs every device process 0.7 s and 70 MB.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, momentum: float
    ) -> None:
        self._parameters: list[Tensor] = list(parameters)
        self._velocity: list[Tensor | None] = [None] * len(self._parameters)
        self._learning_rate = learning_rate
        self._momentum = momentum

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients that backward passes have added up, and forget them."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        sgd(
            self._parameters,
            gradients,
            self._velocity,
            foreach=False,
            lr=self._learning_rate,
            momentum=self._momentum,
            weight_decay=0.0,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for parameter in self._parameters:
            parameter.grad = None


class DeviceHalf:
    """``model[:cut]`` on a device, for one round; RunError for a cut that the model lacks."""

    def __init__(
        self, model: nn.Sequential, cut: int, learning_rate: float, momentum: float
    ) -> None:
        _check_cut(model, cut)
        self._blocks = model[:cut].train()
        self._native = cut == len(model)
        self._sgd = Sgd(self._blocks.parameters(), learning_rate, momentum)
        self._in_flight: deque[Tensor] = deque()
        for parameter in model.parameters():
            parameter.grad = None  # a round may have ended within a batch

    def forward(self, images: FloatArray) -> FloatArray:
        """Images (n, 3, 32, 32) to the activations at the cut, (n, ...), of a micro-batch."""
        self._in_flight.append(self._blocks(_tensor(images)).contiguous())
        return _array(self._in_flight[-1])

    def backward(self, gradient: FloatArray | None, last: bool = True) -> None:
        """Go back along the gradient of the oldest activations in flight; ``None`` at cut 0.

        The ``last`` one of a batch takes the step. Raises RunError when nothing is in flight.
        """
        if not self._in_flight:
            raise RunError("a gradient came before the activations that it belongs to")
        activations = self._in_flight.popleft()
        if gradient is None or not activations.requires_grad:
            return
        activations.backward(_tensor(gradient))  # type: ignore[no-untyped-call]
        if last:
            self._sgd.step()

    def train_batch(self, images: FloatArray, labels: Labels) -> float:
        """Native training of one batch, without a server; returns the mean loss."""
        if not self._native:
            raise RunError("only the native cut trains without a server")
        loss = _backward(self._blocks(_tensor(images)), labels, 1.0)
        self._sgd.step()
        return loss


class ServerHalf:
    """``model[cut:]`` on the server, for one device and round."""

    def __init__(
        self, model: nn.Sequential, cut: int, learning_rate: float, momentum: float
    ) -> None:
        _check_cut(model, cut)
        self._blocks = model[cut:].train()
        self._sends_gradient = cut > 0
        self._sgd = Sgd(self._blocks.parameters(), learning_rate, momentum)

    def step(
        self, activations: FloatArray, labels: Labels, share: float = 1.0, last: bool = True
    ) -> tuple[FloatArray | None, float]:
        """Train a micro-batch; returns the gradient of the activations (None at cut 0), its loss.

        It is ``share`` of its batch, which weights the gradient; the loss is the mean of its own
        samples. The ``last`` one of a batch takes the step. ``labels``: int64 (n,). Raises
        BadTensor for labels that the model has no class for and for values whose loss is not
        finite; neither changes a weight.
        """
        inputs = _tensor(activations).requires_grad_(self._sends_gradient)
        loss = _backward(self._blocks(inputs), labels, share)
        if last:
            self._sgd.step()
        return None if inputs.grad is None else _array(inputs.grad.contiguous()), loss


def rehearse(
    model: nn.Sequential, batch_size: int, shape: tuple[int, ...], depths: Iterable[int] = (1,)
) -> None:
    """Train noise at every cut, so that no round pays for what torch does once for each size.

    ``model`` is spoilt by it; ``shape`` is one sample's.
    """
    images = np.random.default_rng(0).random((batch_size, *shape), np.float32)
    labels = np.zeros(batch_size, np.int64)
    DeviceHalf(model, len(model), 1e-6, 0.0).train_batch(images, labels)
    sizes = {p.stop - p.start for depth in depths for p in micro_batches(batch_size, depth)}
    for cut in range(len(model)):
        device, server = DeviceHalf(model, cut, 1e-6, 0.0), ServerHalf(model, cut, 1e-6, 0.0)
        for size in sizes:
            gradient, _ = server.step(device.forward(images[:size]), labels[:size])
            device.backward(gradient)


def train_unsplit(
    model: nn.Sequential,
    batches: Iterable[tuple[FloatArray, Labels]],
    learning_rate: float,
    momentum: float,
) -> list[float]:
    """One round of plain torch, which split training must equal; returns the losses."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum)
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


def _backward(logits: Tensor, labels: Labels, share: float) -> float:
    """Add up the gradients of ``share`` of the loss; returns the loss."""
    _check_labels(labels, *logits.shape)
    loss = cross_entropy(logits, _tensor(labels))
    value = loss.item()
    if not math.isfinite(value):
        raise BadTensor(f"the loss is {value}: bad input, or the learning rate is too high")
    loss.backward(torch.tensor(share))  # type: ignore[no-untyped-call]
    return value


def _check_cut(model: nn.Sequential, cut: int) -> None:
    if not 0 <= cut <= len(model):
        raise RunError(f"cut {cut}: the model allows 0 to {len(model)}")


def _check_labels(labels: Labels, batch: int, classes: int) -> None:
    if labels.shape != (batch,) or labels.dtype != np.int64:
        raise BadTensor(f"labels {labels.dtype}{list(labels.shape)}, expected int64[{batch}]")
    # cross_entropy would skip a label of -100 in silence
    if labels.min() < 0 or labels.max() >= classes:
        raise BadTensor(f"labels {labels.min()}..{labels.max()}, allowed 0..{classes - 1}")


def _tensor(array: NDArray[Any]) -> Tensor:
    # torch cannot mark a tensor read-only and warns of the array that is
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _array(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().numpy()
    return array
