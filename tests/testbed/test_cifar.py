"""CIFAR-10 from files in its binary format, which are generated here."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from adaptoff import config, policy
from adaptoff.errors import DatasetError
from adaptoff.messages import Welcome
from adaptoff.scenario import Scenario
from adaptoff.testbed import augment, cifar, data, federate, models
from adaptoff.testbed.cifar import RECORD_BYTES, TEST, TRAINING
from adaptoff.testbed.device import Device

Records = NDArray[np.uint8]


def records(count: int, seed: int = 0) -> Records:
    """Random images, brighter in one channel than in another; labels 0 to 9 in turn."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, [[60], [160], [256]], (count, 3, 1024), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return np.concatenate([labels[:, None], pixels.reshape(count, -1)], axis=1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for number, name in enumerate((*TRAINING, TEST)):
        (tmp_path / name).write_bytes(records(20, seed=number).tobytes())
    return tmp_path


def complaint(directory: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        data.load("cifar10", str(directory))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_and_labels_are_those_of_the_files(directory: Path) -> None:
    train, test = data.load("cifar10", str(directory))
    assert (len(train), len(test)) == (100, 20)
    wanted = np.concatenate([records(20, seed=number) for number in range(5)])
    np.testing.assert_array_equal(train.images, wanted[:, 1:].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(train.labels, wanted[:, 0])
    np.testing.assert_array_equal(test.images[3].ravel(), records(20, seed=5)[3, 1:])
    assert train.labels.dtype == np.int64


def test_each_channel_has_zero_mean_and_unit_variance_over_the_training_set(
    directory: Path,
) -> None:
    train, test = data.load("cifar10", str(directory))
    inputs = train.inputs(slice(None))
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean((0, 2, 3), np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std((0, 2, 3), np.float64), 1, atol=1e-5)
    assert test.scale is train.scale


def test_a_channel_of_one_value_becomes_zeros(directory: Path) -> None:
    for name in TRAINING:
        flat = records(20)
        flat[:, 1:1025] = 200
        (directory / name).write_bytes(flat.tobytes())
    train, _ = data.load("cifar10", str(directory))
    np.testing.assert_allclose(train.inputs(slice(None))[:, 0], 0, atol=1e-3)


def test_images_stay_bytes_until_they_are_used(directory: Path) -> None:
    train, _ = data.load("cifar10", str(directory))
    shard = train.take(np.array([1, 5]))
    assert shard.images.dtype == np.uint8
    assert shard.images.base is None  # what a device does not train on can go
    assert shard.scale is train.scale
    assert shard.augment is augment.crop_and_flip


def test_batches_are_floats_and_depend_on_their_key_alone(directory: Path) -> None:
    train, _ = data.load("cifar10", str(directory))
    first, again, other = (list(data.batches(train, 1, 0, r, 16, 8)) for r in (0, 0, 1))
    for (images, labels), (same, _) in zip(first, again, strict=True):
        assert (images.shape, images.dtype) == ((16, 3, 32, 32), np.float32)
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images, same)
    assert not np.array_equal(first[0][0], other[0][0])


def test_augmentation_crops_out_of_a_black_margin_and_mirrors_half() -> None:
    image = records(1)[0, 1:].reshape(3, 32, 32)
    varied = augment.crop_and_flip(np.repeat(image[None], 400, 0), np.random.default_rng(0))
    padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
    crops = {
        padded[:, down : down + 32, right : right + 32].tobytes(): (down, right)
        for down in range(9)
        for right in range(9)
    }
    plain = [each.tobytes() in crops for each in varied]
    mirrored = [each[..., ::-1].tobytes() in crops for each in varied]
    assert all(a != b for a, b in zip(plain, mirrored, strict=True))
    assert 0.4 < np.mean(mirrored) < 0.6
    assert len({each.tobytes() for each in varied}) > 80  # of 162


def test_a_model_is_judged_on_the_test_images(directory: Path) -> None:
    _, test = data.load("cifar10", str(directory))
    assert 0 <= federate.accuracy(models.build("vgg5", 0), test) <= 1


@pytest.mark.parametrize("name", [*TRAINING, TEST])
def test_a_missing_file_is_named_with_what_is_needed(directory: Path, name: str) -> None:
    (directory / name).unlink()
    message = complaint(directory)
    assert message.startswith(f"{directory / name}: no such file")
    assert "data_batch_5.bin and test_batch.bin" in message


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def trail(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def grow(path: Path) -> None:
    os.truncate(path, 10_001 * RECORD_BYTES)


def grow_vastly(path: Path) -> None:
    os.truncate(path, 2**40 // RECORD_BYTES * RECORD_BYTES)  # sparse


def mislabel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[7 * RECORD_BYTES] = 10
    path.write_bytes(content)


def be_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut_short, "61459 bytes: allowed are 1 to 10000 records of 3073 bytes"),
        (trail, "61461 bytes: allowed are"),
        (empty, ": 0 bytes: allowed are"),
        (grow, "30733073 bytes: allowed are"),
        (grow_vastly, "bytes: allowed are"),
        (mislabel, "record 7: label 10: allowed are 0 to 9"),
        (be_a_directory, "no such file"),
        (be_a_fifo, "no such file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_file_is_named_at_once(
    directory: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(directory / "data_batch_3.bin")
    start_s = time.monotonic()
    message = complaint(directory)
    assert message.startswith(str(directory / "data_batch_3.bin"))
    assert says in message
    assert time.monotonic() - start_s < 5


def test_a_file_that_shrinks_while_it_is_read_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "_count", lambda path: 21)
    assert "61460 bytes could be read, 64533 were expected" in complaint(directory)


@pytest.mark.parametrize("name", ["nowhere", "\0"])
def test_a_directory_that_cannot_be_is_named(name: str) -> None:
    assert "no such file" in complaint(Path(name))


def test_the_directory_must_be_given() -> None:
    with pytest.raises(DatasetError, match=r"'cifar10' needs workload\.data_dir"):
        data.load("cifar10")


class Idle:
    """A link to nobody."""

    def nap(self, seconds: float) -> None:
        """Waits for nothing."""

    def shape(self, peer: int, rate_at: Callable[[float], float]) -> None:
        """Has nothing to shape."""


@pytest.fixture
def skewed() -> Scenario:
    overrides = ("workload.dataset=cifar10", "workload.data_dir=nowhere", "workload.alpha=0.1")
    return config.load("demo", (*overrides, "workload.batch_size=4", "workload.depths=[1]"))


def test_a_device_keeps_its_share_of_its_own_directory(directory: Path, skewed: Scenario) -> None:
    welcome = Welcome(scenario=skewed, profile=config.profile_of(skewed), dilation=1.0, paced=True)
    shares = []
    for number in range(5):
        device = Device(number, Idle(), welcome, policy.default(), str(directory))
        shares.append(device._parts.shard)
    train, _ = data.load("cifar10", str(directory))
    wanted = data.shards(train.labels, 5, 0, alpha=0.1)
    assert sum(map(len, shares)) == len(train)
    assert len({len(share) for share in shares}) > 1  # so small an alpha deals unevenly
    for share, indices in zip(shares, wanted, strict=True):
        np.testing.assert_array_equal(share.images, train.images[indices])


def test_a_device_without_the_files_says_so(skewed: Scenario) -> None:
    welcome = Welcome(scenario=skewed, profile=config.profile_of(skewed), dilation=1.0, paced=True)
    with pytest.raises(DatasetError, match=r"nowhere.data_batch_1\.bin: no such file"):
        Device(0, Idle(), welcome, policy.default())
