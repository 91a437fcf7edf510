"""Data: the real digits, shards for any fleet, batches that depend on nothing but their key."""

from typing import get_args

import numpy as np
import pytest
from sklearn.datasets import load_digits

from adaptoff.errors import DatasetError
from adaptoff.scenario import Workload
from adaptoff.testbed import augment, data, digits


@pytest.fixture(scope="module", name="digits")
def loaded():
    return data.load("digits")


def _take(samples, count=2, batch_size=50, **key):
    key = {"seed": 1, "device": 2, "round_index": 3} | key
    return list(data.batches(samples, batch_size=batch_size, n_batches=count, **key))


def test_the_digits_are_those_of_sklearn_scaled_up():
    images, labels = digits.everything()
    small = load_digits()
    np.testing.assert_array_equal(labels, small.target)
    assert images.shape == (1797, 3, 32, 32)
    assert images.dtype == np.float32
    blocks = images[:, 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    for index in range(0, 1797, 100):
        assert np.corrcoef(blocks[index].ravel(), small.images[index].ravel())[0, 1] > 0.95


def test_the_test_set_is_fixed_stratified_and_apart(digits):
    train, test = digits
    assert (len(train), len(test)) == (1437, 360)
    shares = [np.bincount(part.labels) / len(part) for part in (train, test)]
    np.testing.assert_allclose(*shares, atol=0.003)
    seen = {image.tobytes() for image in train.images[:, 0]}
    overlap = sum(image.tobytes() in seen for image in test.images[:, 0])
    assert overlap == 0
    again = data.load("digits")[1]
    np.testing.assert_array_equal(again.labels, test.labels)
    np.testing.assert_array_equal(again.images, test.images)


def test_the_training_set_is_normalised(digits):
    train, _ = digits
    assert train.images.dtype == np.float32
    assert abs(train.images.mean(dtype=np.float64)) < 1e-4
    assert train.images.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_an_unknown_dataset_names_what_is_allowed():
    with pytest.raises(DatasetError, match=r"'cifar'.*digits, cifar10$"):
        data.load("cifar")


def test_a_scenario_may_name_exactly_the_datasets_that_there_are():
    assert get_args(Workload.__annotations__["dataset"]) == data.DATASETS


@pytest.mark.parametrize("alpha", [None, 0.01, 0.5, 1000])
@pytest.mark.parametrize("n_devices", [1, 2, 7, 64, 256])
def test_shards_deal_out_every_sample_once_and_leave_nobody_empty(digits, n_devices, alpha):
    labels = digits[0].labels
    shards = data.shards(labels, n_devices, seed=5, alpha=alpha)
    assert len(shards) == n_devices
    assert min(len(shard) for shard in shards) >= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(shards)), np.arange(len(labels)))


def test_a_small_alpha_leaves_devices_few_classes(digits):
    labels = digits[0].labels

    def classes(alpha):
        return np.mean([len(np.unique(labels[s])) for s in data.shards(labels, 10, 0, alpha)])

    assert classes(0.05) < 5
    assert classes(None) > 9


@pytest.mark.parametrize("alpha", [None, 0.5])
def test_shards_depend_on_the_seed(digits, alpha):
    labels = digits[0].labels
    first, again, other = (data.shards(labels, 5, seed, alpha)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("n_devices", [0, -1, 11])
def test_a_fleet_that_the_samples_do_not_reach_for_is_refused(n_devices):
    with pytest.raises(DatasetError, match="1 to 10"):
        data.shards(np.arange(10), n_devices, seed=0)


@pytest.mark.parametrize("alpha", [0, -1, 1e9, float("nan")])
def test_alpha_has_bounds(alpha):
    with pytest.raises(DatasetError, match=r"0\.01 to 1000"):
        data.shards(np.arange(10), 2, seed=0, alpha=alpha)


@pytest.mark.parametrize("size", [1, 3, 49, 50, 287])
def test_batches_are_full_whatever_the_size_of_the_shard(digits, size):
    shard = digits[0].take(np.arange(size))
    for images, labels in _take(shard, count=3):
        assert images.shape == (50, 3, 32, 32)
        assert labels.shape == (50,)
        assert (images.dtype, labels.dtype) == (np.float32, np.int64)
        assert images.flags.c_contiguous


def test_a_shard_is_gone_through_evenly():
    shard = data.Samples(np.zeros((20, 3, 32, 32), np.float32), np.arange(20))
    labels = np.concatenate([labels for _, labels in _take(shard, count=4, batch_size=10)])
    np.testing.assert_array_equal(np.sort(labels[:20]), np.arange(20))
    np.testing.assert_array_equal(np.sort(labels[20:]), np.arange(20))
    assert not np.array_equal(labels[:20], labels[20:])


def test_batches_are_a_pure_function_of_their_key(digits):
    shard = digits[0].take(np.arange(100))
    first = _take(shard)
    for mine, again in zip(first, _take(shard), strict=True):
        np.testing.assert_array_equal(mine[0], again[0])
        np.testing.assert_array_equal(mine[1], again[1])
    np.testing.assert_array_equal(first[1][0], _take(shard, count=5)[1][0])
    for change in ({"seed": 9}, {"device": 9}, {"round_index": 9}):
        assert not np.array_equal(first[0][0], _take(shard, **change)[0][0])


@pytest.mark.parametrize("change", [{"seed": 9}, {"device": 9}, {"round_index": 9}])
def test_augmentation_depends_on_the_whole_key(digits, change):
    one = digits[0].take(np.array([0]))  # of one sample there is only one order
    assert not np.array_equal(_take(one)[0][0], _take(one, **change)[0][0])
    assert not np.array_equal(_take(one)[0][0], _take(one)[1][0])


def test_augmentation_moves_and_dims_but_keeps_the_digit(digits):
    one = digits[0].take(np.array([0]))
    images, labels = _take(one)[0]
    assert set(labels) == set(one.labels)
    assert not np.array_equal(images[0], images[1])
    assert _best_match(images[0], one.images[0]) > 0.9
    assert min(_best_match(image, one.images[0]) for image in images) > 0.9


def _best_match(image, original):
    """Correlation of the image with the original, shifted as far as augmentation may."""
    reach = range(-augment.SHIFT_PX, augment.SHIFT_PX + 1)
    inner = (slice(None), slice(4, -4), slice(4, -4))
    shifted = [np.roll(original, (down, right), (1, 2))[inner] for down in reach for right in reach]
    return max(np.corrcoef(image[inner].ravel(), other.ravel())[0, 1] for other in shifted)
