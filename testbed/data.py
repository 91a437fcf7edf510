"""Training data, sharded over devices, as a pure function of the seed.

The data set is scikit-learn's digits: 1797 images of 8x8, which ship with the package and need no
download. They are scaled up to the input of the networks and shifted, dimmed and blurred with
noise anew in every batch. Batches depend on (seed, device, round, batch) alone, so two runs that
differ only in their cuts train on the same samples.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from adaptoff.errors import DatasetError
from adaptoff.testbed.models import CLASSES, INPUT_SHAPE

TEST_SAMPLES = 360
SHIFT_PX = 3
"""largest shift of an image in a batch, either way"""
CONTRAST = 0.1
NOISE = 0.1
"""standard deviation, in those of the data set"""
_SPLIT_SEED = 20220901
"""all runs hold out the same test images"""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Images with their labels."""

    images: NDArray[np.float32]
    """(n, 3, 32, 32), zero mean and unit variance over the training set"""
    labels: NDArray[np.int64]
    """(n,)"""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> "Samples":
        """The samples at ``indices``, copied."""
        return Samples(self.images[indices], self.labels[indices])


def load(name: str) -> tuple[Samples, Samples]:
    """Training and test samples of a data set, always the same; DatasetError for another name."""
    if name not in DATASETS:
        raise DatasetError(f"dataset {name!r}: allowed are {', '.join(DATASETS)}")
    images, labels = DATASETS[name]()
    train, test = _hold_out(labels)
    images = (images - images[train].mean()) / images[train].std()
    samples = Samples(images, labels)
    return samples.take(train), samples.take(test)


def shards(
    labels: NDArray[np.int64], n_devices: int, seed: int, alpha: float | None = None
) -> list[Indices]:
    """Disjoint, non-empty, sorted indices into ``labels``, one array per device.

    IID without ``alpha``; else each class is dealt out by a Dirichlet draw of concentration
    ``alpha``: the smaller, the fewer classes a device sees. Raises DatasetError for more devices
    than samples, and for an ``alpha`` outside 0.01..1000.
    """
    if not 1 <= n_devices <= len(labels):
        raise DatasetError(f"{n_devices} devices: {len(labels)} samples allow 1 to {len(labels)}")
    rng = np.random.default_rng(seed)
    if alpha is None:
        parts = np.array_split(rng.permutation(len(labels)), n_devices)
    else:
        parts = _dirichlet(labels, n_devices, alpha, rng)
    return [np.sort(part) for part in parts]


def batches(
    shard: Samples,
    seed: int,
    device: int,
    round_index: int,
    batch_size: int,
    n_batches: int,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield exactly ``n_batches`` augmented batches: (batch_size, 3, 32, 32), int64 (batch_size,).

    The shard is gone through as often as it takes, each time in another order.
    """
    key = [seed, device, round_index]
    passes = -(-n_batches * batch_size // len(shard))
    orders = [np.random.default_rng([*key, 0, p]).permutation(len(shard)) for p in range(passes)]
    order = np.concatenate(orders)
    for batch in range(n_batches):
        chosen = shard.take(order[batch * batch_size : (batch + 1) * batch_size])
        yield _augment(chosen.images, np.random.default_rng([*key, 1, batch])), chosen.labels


def _augment(images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    count, _, height, width = images.shape
    margin = (SHIFT_PX, SHIFT_PX)
    padded = np.pad(images, ((0, 0), (0, 0), margin, margin), mode="edge")
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    down, right = rng.integers(0, 2 * SHIFT_PX + 1, (2, count))
    shifted = windows[np.arange(count), :, down, right]
    contrast = rng.uniform(1 - CONTRAST, 1 + CONTRAST, (count, 1, 1, 1)).astype(np.float32)
    noise = rng.standard_normal(shifted.shape, dtype=np.float32)
    result: NDArray[np.float32] = shifted * contrast + np.float32(NOISE) * noise
    return result


def _hold_out(labels: NDArray[np.int64]) -> tuple[Indices, Indices]:
    """Indices for training and test, with the shares of the classes alike in both."""
    rng = np.random.default_rng(_SPLIT_SEED)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    picked = np.linspace(0, len(labels) - 1, TEST_SAMPLES).round().astype(np.int64)
    return np.sort(np.delete(by_class, picked)), np.sort(by_class[picked])


def _dirichlet(
    labels: NDArray[np.int64], n_devices: int, alpha: float, rng: np.random.Generator
) -> list[Indices]:
    if not 0.01 <= alpha <= 1000:
        raise DatasetError(f"alpha {alpha}: allowed are 0.01 to 1000")
    parts: list[list[Indices]] = [[] for _ in range(n_devices)]
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        shares = rng.dirichlet(np.full(n_devices, alpha))
        bounds = (np.cumsum(shares)[:-1] * len(members)).round().astype(np.int64)
        for part, dealt in zip(parts, np.split(members, bounds), strict=True):
            part.append(dealt)
    return _fill_empty([rng.permutation(np.concatenate(part)) for part in parts])


def _fill_empty(parts: list[Indices]) -> list[Indices]:
    """Give each device that drew nothing one sample of the device that has most."""
    for index, part in enumerate(parts):
        if len(part) == 0:
            richest = max(range(len(parts)), key=lambda other: len(parts[other]))
            parts[index], parts[richest] = parts[richest][:1], parts[richest][1:]
    return parts


def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All digits as (n, 3, 32, 32), and their labels."""
    table = np.loadtxt(_digits_file(), delimiter=",", dtype=np.float32)
    small = torch.from_numpy(table[:, :-1]).reshape(-1, 1, 8, 8)
    large = interpolate(small, INPUT_SHAPE[1:], mode="bilinear", align_corners=False)
    images = np.ascontiguousarray(large.expand(-1, INPUT_SHAPE[0], -1, -1).numpy())
    return images, table[:, -1].astype(np.int64)


def _digits_file() -> Path:
    # read as a file: importing sklearn costs every device process 0.6 s and 70 MB
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DatasetError("dataset 'digits' ships with scikit-learn: install adaptoff[testbed]")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise DatasetError(f"{path}: no such data set in this version of scikit-learn")
    return path


DATASETS: dict[str, Callable[[], tuple[NDArray[np.float32], NDArray[np.int64]]]] = {
    "digits": _digits,
}
