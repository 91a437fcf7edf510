"""Scikit-learn's digits: 1797 images of 8x8, which ship with the package and need no download.

They are scaled up to the input of the networks; a fixed fifth is held out as the test set.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from adaptoff.errors import DatasetError
from adaptoff.testbed.models import INPUT_SHAPE
from adaptoff.testbed.samples import Indices, Inputs, Labels, Samples

TEST_SAMPLES = 360
_SPLIT_SEED = 20220901
"""all runs hold out the same test images"""


def load() -> tuple[Samples, Samples]:
    """Training and test samples, scaled as one channel; DatasetError where they do not ship."""
    images, labels = everything()
    train, test = _hold_out(labels)
    images = (images - images[train].mean()) / images[train].std()
    samples = Samples(images, labels)
    return samples.take(train), samples.take(test)


def everything() -> tuple[Inputs, Labels]:
    """All digits as (1797, 3, 32, 32), from 0 to 16, and their labels."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.float32)
    small = torch.from_numpy(table[:, :-1]).reshape(-1, 1, 8, 8)
    large = interpolate(small, INPUT_SHAPE[1:], mode="bilinear", align_corners=False)
    images = np.ascontiguousarray(large.expand(-1, INPUT_SHAPE[0], -1, -1).numpy())
    return images, table[:, -1].astype(np.int64)


def _hold_out(labels: Labels) -> tuple[Indices, Indices]:
    """Indices for training and test, with the shares of the classes alike in both."""
    rng = np.random.default_rng(_SPLIT_SEED)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    picked = np.linspace(0, len(labels) - 1, TEST_SAMPLES).round().astype(np.int64)
    return np.sort(np.delete(by_class, picked)), np.sort(by_class[picked])


def _file() -> Path:
    # read as a file: importing sklearn costs every device process 0.6 s and 70 MB
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DatasetError("dataset 'digits' ships with scikit-learn: install adaptoff[testbed]")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise DatasetError(f"{path}: no such data set in this version of scikit-learn")
    return path
