"""Images with their labels, and how they become inputs of a network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptoff.testbed.augment import Augment, shift_and_dim

Indices = NDArray[np.int64]
Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Scale:
    """What makes pixels of each channel zero mean and unit variance over the training set."""

    mean: Inputs
    """(3,)"""
    deviation: Inputs
    """(3,), above 0"""

    def of(self, pixels: NDArray[Any]) -> Inputs:
        """Inputs (n, 3, height, width) of pixels (n, 3, height, width)."""
        mean, deviation = (each[:, None, None] for each in (self.mean, self.deviation))
        result: Inputs = (pixels.astype(np.float32) - mean) / deviation
        return result


@dataclass(frozen=True)
class Samples:
    """Images with their labels; images are kept as compact as they were stored."""

    images: NDArray[np.float32] | NDArray[np.uint8]
    """(n, 3, 32, 32), with ``scale`` as pixels, else scaled already"""
    labels: Labels
    """(n,)"""
    scale: Scale | None = None
    augment: Augment = shift_and_dim
    """how training varies these images"""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> "Samples":
        """The samples at ``indices``, copied."""
        return Samples(self.images[indices], self.labels[indices], self.scale, self.augment)

    def inputs(self, which: slice) -> Inputs:
        """Images (n, 3, 32, 32) of zero mean and unit variance over the training set."""
        return self._scaled(self.images[which])

    def varied(self, rng: np.random.Generator) -> Inputs:
        """All images as inputs, augmented by ``rng``."""
        return self._scaled(self.augment(self.images, rng))

    def _scaled(self, images: NDArray[Any]) -> Inputs:
        return self.scale.of(images) if self.scale else images
