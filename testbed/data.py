"""Training data, sharded over devices, as a pure function of the seed.

Batches depend on (seed, device, round, batch) alone, so two runs that differ only in their cuts
train on the same samples, augmented alike.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adaptoff.errors import DatasetError
from adaptoff.testbed import cifar, digits
from adaptoff.testbed.samples import Inputs, Labels, Samples
from adaptoff.testbed.shards import shards

__all__ = ["DATASETS", "Samples", "batches", "load", "shards"]

DATASETS = ("digits", "cifar10")


def load(name: str, data_dir: str | None = None) -> tuple[Samples, Samples]:
    """Training and test samples of a data set, always the same.

    ``data_dir`` is where the files of one lie that does not ship. Raises DatasetError for another
    name, and for files that are missing or broken.
    """
    match name:
        case "digits":
            return digits.load()
        case "cifar10":
            if data_dir is None:
                raise DatasetError(
                    "dataset 'cifar10' needs workload.data_dir, the directory of its binary version"
                )
            return cifar.load(Path(data_dir))
        case _:
            raise DatasetError(f"dataset {name!r}: allowed are {', '.join(DATASETS)}")


def batches(
    shard: Samples,
    seed: int,
    device: int,
    round_index: int,
    batch_size: int,
    n_batches: int,
) -> Iterator[tuple[Inputs, Labels]]:
    """Yield exactly ``n_batches`` augmented batches: (batch_size, 3, 32, 32), int64 (batch_size,).

    The shard is gone through as often as it takes, each time in another order.
    """
    key = [seed, device, round_index]
    passes = -(-n_batches * batch_size // len(shard))
    orders = [np.random.default_rng([*key, 0, p]).permutation(len(shard)) for p in range(passes)]
    order = np.concatenate(orders)
    for batch in range(n_batches):
        chosen = shard.take(order[batch * batch_size : (batch + 1) * batch_size])
        yield chosen.varied(np.random.default_rng([*key, 1, batch])), chosen.labels
