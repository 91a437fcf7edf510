"""FedAvg: weighted, exact on equal states, deaf to arrival order once sorted."""

import numpy as np
import pytest

from adaptoff.errors import BadTensor
from adaptoff.testbed import federate, models
from adaptoff.testbed.data import Samples
from adaptoff.testbed.split import export_state, load_state, state_specs


def _state(seed):
    return [array.copy() for array in export_state(models.build("vgg5", seed))]


def _pair(value, count=0):
    return [np.full((2, 3), value, np.float32), np.array(count, np.int64)]


@pytest.mark.parametrize("samples", [[400, 400, 400], [1, 7, 399], [5, 0, 3]])
def test_the_average_of_equal_states_is_that_state(samples):
    averaged = federate.average([_state(3)] * 3, samples)
    for mine, wanted in zip(averaged, _state(3), strict=True):
        assert mine.dtype == wanted.dtype
        np.testing.assert_array_equal(mine, wanted)


def test_the_average_is_weighted_by_samples():
    averaged = federate.average([_pair(1.0), _pair(5.0)], [300, 100])
    np.testing.assert_array_equal(averaged[0], np.full((2, 3), 2.0, np.float32))


def test_counters_take_the_maximum():
    averaged = federate.average([_pair(1.0, 8), _pair(1.0, 16)], [1, 1])
    assert averaged[1] == 16
    assert averaged[1].dtype == np.int64
    assert averaged[1].shape == ()


def test_a_device_that_is_missing_or_trained_nothing_has_no_say():
    states = [_state(seed) for seed in range(3)]
    without = federate.average([states[0], states[2]], [10, 20])
    silent = federate.average(states, [10, 0, 20])
    for index, name in enumerate(state_specs(models.build("vgg5", 0))):
        np.testing.assert_array_equal(without[index], silent[index], err_msg=str(name))


def test_one_device_alone_is_taken_over():
    for mine, wanted in zip(federate.average([_state(1)], [50]), _state(1), strict=True):
        np.testing.assert_array_equal(mine, wanted)


def test_sorted_by_device_the_order_of_arrival_changes_no_bit():
    states = {device: _state(device) for device in range(5)}
    counts = {device: 100 + 7 * device for device in range(5)}

    def averaged(arrival):
        arrived = sorted(arrival)
        return federate.average([states[d] for d in arrived], [counts[d] for d in arrived])

    for mine, other in zip(averaged([4, 0, 3, 1, 2]), averaged([2, 1, 0, 4, 3]), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_average_shares_no_memory_with_what_it_averaged():
    state = _state(0)
    for mine, averaged in zip(state, federate.average([state], [1]), strict=True):
        assert not np.shares_memory(mine, averaged)


@pytest.mark.parametrize(
    ("states", "samples"),
    [
        ([], []),
        ([_pair(1.0)], []),
        ([_pair(1.0)], [0]),
        ([_pair(1.0), _pair(1.0)], [2, -1]),
        ([_pair(1.0), _pair(1.0)[:1]], [1, 1]),
        ([_pair(1.0), [np.zeros((3, 2), np.float32), np.array(0)]], [1, 1]),
        ([_pair(1.0), [np.zeros((2, 3), np.float64), np.array(0)]], [1, 1]),
        ([[np.zeros(2, np.float64)]], [1]),
        ([_pair(1.0), _pair(np.inf)], [1, 1]),
        ([_pair(1.0), _pair(np.nan)], [1, 1]),
    ],
)
def test_states_that_cannot_be_averaged_are_refused(states, samples):
    with pytest.raises(BadTensor):
        federate.average(states, samples)


def test_accuracy_counts_correct_answers_and_leaves_the_model_alone():
    model = models.build("vgg5", 0)
    state = export_state(model)
    zeros = [np.zeros_like(array) for array in state]
    zeros[-1][4] = 1.0  # the bias of the last block: whatever the image, the answer is 4
    load_state(model, zeros)
    labels = np.array([4] * 150 + [5] * 50)
    images = np.zeros((200, 3, 32, 32), np.float32)
    assert federate.accuracy(model, Samples(images, labels)) == 0.75
    assert model.training
    for mine, wanted in zip(export_state(model), zeros, strict=True):
        np.testing.assert_array_equal(mine, wanted)
