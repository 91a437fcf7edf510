"""Train a batch block by block, each with its own backward pass: one batch tells of all cuts.

At the edge before each block stand what a cut there sends up and, behind the backward pass, the
gradient that it would get back. Seconds are CPU seconds of the thread that computes.
"""

import time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adaptoff.testbed.split import FloatArray, Labels, micro_batches

Batch = tuple[FloatArray, Labels]
Pair = tuple[float, float]
"""seconds of the device and of the server"""


class Chain:
    """A micro-batch on its way through the blocks; adds to the ``seconds`` of each."""

    def __init__(self, model: nn.Sequential, seconds: list[float]) -> None:
        self.inputs: list[Tensor] = []
        """of each block; after ``backward`` with gradients, but for the first"""
        self._model = model.train()
        self._outputs: list[Tensor] = []
        self._seconds = seconds

    def forward(self, images: FloatArray) -> None:
        """Through all blocks; the statistics of BatchNorm change."""
        value = torch.from_numpy(images)
        for index, block in enumerate(self._model):
            start = time.thread_time()
            self.inputs.append(value.detach().requires_grad_(index > 0))
            value = block(self.inputs[-1]).contiguous()
            self._seconds[index] += time.thread_time() - start
            self._outputs.append(value)

    def backward(self, labels: Labels, share: float) -> None:
        """Back through all blocks from ``share`` of the loss; the weights' gradients add up."""
        start = time.thread_time()
        loss = share * cross_entropy(self._outputs.pop(), torch.from_numpy(labels))
        gradient: Tensor | None = None
        for index, outputs in reversed([*enumerate([*self._outputs, loss])]):
            if outputs.requires_grad:
                outputs.backward(gradient)  # type: ignore[no-untyped-call]
            gradient = self.inputs[index].grad
            self._seconds[index] += time.thread_time() - start
            start = time.thread_time()


def run(model: nn.Sequential, batch: Batch, depth: int) -> tuple[list[float], list[Chain]]:
    """A batch in ``depth`` micro-batches, all forward, then all back, and no step.

    Returns the seconds of each block, and the micro-batches.
    """
    images, labels = batch
    seconds = [0.0] * len(model)
    parts = micro_batches(len(labels), depth)
    chains = [Chain(model, seconds) for _ in parts]
    for chain, part in zip(chains, parts, strict=True):
        chain.forward(images[part])
    for chain, part in zip(chains, parts, strict=True):
        chain.backward(labels[part], len(labels[part]) / len(labels))
    for parameter in model.parameters():
        parameter.grad = None
    return seconds, chains
