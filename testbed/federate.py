"""FedAvg on states (lists of arrays in state-dict order), and the accuracy of what comes out.

Sums run in the order given, so the caller sorts by device: arrival order then changes no bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adaptoff.errors import BadTensor
from adaptoff.testbed.samples import Samples
from adaptoff.testbed.split import State, check_state, specs_of

EVALUATION_BATCH = 100
"""bounds the memory of an evaluation: 13 MB of activations in VGG-5"""


def average(states: Sequence[State], samples: Sequence[int]) -> State:
    """FedAvg: mean of ``states`` weighted by the ``samples`` that each was trained on.

    Floats, weights and BatchNorm statistics alike, are summed in float64 and rounded once to
    float32; integer counters take the maximum. Raises BadTensor for states that differ in shape or
    dtype, for values that are not finite, and for counts that are negative or all zero.
    """
    _check(states, samples)
    return [_merge(arrays, samples) for arrays in zip(*states, strict=True)]


def accuracy(model: nn.Sequential, test: Samples) -> float:
    """Share of ``test`` that ``model`` classifies correctly, 0..1, BatchNorm as in use."""
    training = model.training
    model.eval()
    hits = 0
    with torch.inference_mode():
        for first in range(0, len(test), EVALUATION_BATCH):
            part = slice(first, first + EVALUATION_BATCH)
            guesses = model(torch.from_numpy(test.inputs(part))).argmax(dim=1).numpy()
            hits += int((guesses == test.labels[part]).sum())
    model.train(training)
    return hits / len(test)


def _merge(arrays: Sequence[NDArray[Any]], samples: Sequence[int]) -> NDArray[Any]:
    if np.issubdtype(arrays[0].dtype, np.integer):
        return np.asarray(np.maximum.reduce(arrays))
    total = np.zeros(arrays[0].shape)
    for array, count in zip(arrays, samples, strict=True):
        # counts, not shares: float64 holds count x float32 exactly, so equal states stay equal
        total += array.astype(np.float64) * count
    return np.asarray(total / sum(samples), dtype=np.float32)


def _check(states: Sequence[State], samples: Sequence[int]) -> None:
    if len(states) != len(samples) or min(samples, default=-1) < 0 or sum(samples) == 0:
        raise BadTensor(f"{len(states)} states cannot be averaged by sample counts {samples}")
    specs = specs_of(states[0])
    for state in states:
        check_state(state, specs)
        if not all(np.isfinite(array).all() for array in state):
            raise BadTensor("a state holds values that are not finite")
