"""Augmentation: each batch shows its images in another way, drawn from the batch's own generator.

Arrays are (n, channels, height, width), of any dtype, which stays.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SHIFT_PX = 3
"""largest shift of a digit, either way"""
CONTRAST = 0.1
NOISE = 0.1
"""standard deviation, in those of the data set"""
CROP_PX = 4
"""black pixels around a photograph, of which a random crop takes part"""

Images = NDArray[Any]
Augment = Callable[[Images, np.random.Generator], Images]


def shift_and_dim(images: Images, rng: np.random.Generator) -> Images:
    """Shifted by up to ``SHIFT_PX``, dimmed, with noise; never mirrored: digits would change."""
    shifted = _shifted(images, SHIFT_PX, "edge", rng)
    contrast = rng.uniform(1 - CONTRAST, 1 + CONTRAST, (len(images), 1, 1, 1)).astype(np.float32)
    noise = rng.standard_normal(shifted.shape, dtype=np.float32)
    return shifted * contrast + np.float32(NOISE) * noise


def crop_and_flip(images: Images, rng: np.random.Generator) -> Images:
    """A random crop out of a black margin of ``CROP_PX``, half of them mirrored left to right."""
    shifted = _shifted(images, CROP_PX, "constant", rng)
    mirrored = rng.random((len(images), 1, 1, 1)) < 0.5
    return np.where(mirrored, shifted[..., ::-1], shifted)


def _shifted(
    images: Images, most_px: int, margin: Literal["edge", "constant"], rng: np.random.Generator
) -> Images:
    """Each image moved by -``most_px``..``most_px`` pixels down and right."""
    count, _, height, width = images.shape
    around = (most_px, most_px)
    padded = np.pad(images, ((0, 0), (0, 0), around, around), mode=margin)
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    down, right = rng.integers(0, 2 * most_px + 1, (2, count))
    return windows[np.arange(count), :, down, right]
