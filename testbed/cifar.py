"""CIFAR-10 from the files of its binary version, which a user has downloaded.

``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin`` are records of 3073 bytes: the
label, then 32x32 red, green and blue values, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
Nothing is unpickled. Images stay bytes: as floats the training set would take 600 MB.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptoff.errors import DatasetError
from adaptoff.testbed.augment import crop_and_flip
from adaptoff.testbed.models import CLASSES, INPUT_SHAPE
from adaptoff.testbed.samples import Samples, Scale

TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
RECORD_BYTES = 1 + int(np.prod(INPUT_SHAPE))
MOST_RECORDS = 10_000
"""of a file, as in the official ones"""
BLOCK = 1000
LEAST_VARIANCE = 1e-3
"""of pixels, so that a channel of one value does not divide by 0"""

Bytes = NDArray[np.uint8]


def load(directory: Path) -> tuple[Samples, Samples]:
    """Training and test samples, scaled channel by channel over the training set.

    A file may hold fewer than the official 10,000 records. Raises DatasetError naming the file and
    what is wrong with it.
    """
    train = _records([directory / name for name in TRAINING])
    test = _records([directory / TEST])
    scale = _scale(_images(train))
    return _samples(train, scale), _samples(test, scale)


def _records(paths: list[Path]) -> Bytes:
    """All records (n, 3073) of the files, one after another; sizes are known before any is read."""
    counts = [_count(path) for path in paths]
    records = np.empty((sum(counts), RECORD_BYTES), np.uint8)
    for path, count, end in zip(paths, counts, np.cumsum(counts).tolist(), strict=True):
        _fill(records[end - count : end], path)
    return records


def _count(path: Path) -> int:
    """Whole records of a file, 1 to ``MOST_RECORDS``."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from None
    if size is None:
        raise DatasetError(f"{path}: no such file; needed are {', '.join(TRAINING)} and {TEST}")
    count, rest = divmod(size, RECORD_BYTES)
    if rest or not 1 <= count <= MOST_RECORDS:
        raise DatasetError(
            f"{path}: {size} bytes: allowed are 1 to {MOST_RECORDS} records of {RECORD_BYTES} bytes"
        )
    return count


def _fill(records: Bytes, path: Path) -> None:
    try:
        with path.open("rb", buffering=0) as file:
            got = file.readinto(records.data)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from None
    if got != records.nbytes:
        raise DatasetError(f"{path}: {got} bytes could be read, {records.nbytes} were expected")
    if (bad := np.flatnonzero(records[:, 0] >= CLASSES)).size:
        label = records[bad[0], 0]
        raise DatasetError(f"{path}: record {bad[0]}: label {label}: allowed are 0 to 9")


def _samples(records: Bytes, scale: Scale) -> Samples:
    return Samples(_images(records), records[:, 0].astype(np.int64), scale, crop_and_flip)


def _images(records: Bytes) -> Bytes:
    """(n, 3, 32, 32), not copied."""
    return records[:, 1:].reshape(-1, *INPUT_SHAPE)


def _scale(images: Bytes) -> Scale:
    """In blocks: at no time are all images floats."""
    sums = np.zeros((2, INPUT_SHAPE[0]))
    for first in range(0, len(images), BLOCK):
        block = images[first : first + BLOCK].astype(np.float32)
        block = block.reshape(len(block), INPUT_SHAPE[0], -1)
        squares = np.einsum("ncp,ncp->nc", block, block)
        sums += [each.sum(0, np.float64) for each in (block.sum(2), squares)]
    mean, mean_square = sums / (images.size / INPUT_SHAPE[0])
    deviation = np.sqrt(np.maximum(mean_square - mean**2, LEAST_VARIANCE))
    return Scale(mean.astype(np.float32), deviation.astype(np.float32))
