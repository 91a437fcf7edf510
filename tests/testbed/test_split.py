"""Split training equals unsplit training, bit by bit, at every cut."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from adaptoff.errors import BadTensor, RunError
from adaptoff.testbed import models, split
from adaptoff.testbed.split import DeviceHalf, ServerHalf, export_state, load_state, state_specs

CUTS = range(8)
RATE = {"learning_rate": 0.05, "momentum": 0.9}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    split.single_thread()
    yield
    torch.set_num_threads(threads)


def _batches(count, size=6, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((size, 3, 32, 32), dtype=np.float32), rng.integers(0, 10, size))
        for _ in range(count)
    ]


def _train(device_model, server_model, cut, batches):
    """One round over two separate models, as the testbed does; returns the joined state."""
    device = DeviceHalf(device_model, cut, **RATE)
    if cut == len(device_model):
        losses = [device.train_batch(*batch) for batch in batches]
    else:
        server = ServerHalf(server_model, cut, **RATE)
        losses = [_step(device, server, *batch) for batch in batches]
    state = [*export_state(device_model[:cut]), *export_state(server_model[cut:])]
    return [array.copy() for array in state], losses


def _step(device, server, images, labels):
    gradient, loss = server.step(device.forward(images), labels)
    device.backward(gradient)
    return loss


def _assert_equal(state, other):
    for index, (mine, theirs) in enumerate(zip(state, other, strict=True)):
        np.testing.assert_array_equal(mine, theirs, err_msg=f"tensor {index}")


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("cut", CUTS)
def test_split_training_equals_unsplit_training(name, cut):
    reference = models.build(name, seed=1)
    start = [array.copy() for array in export_state(reference)]
    losses = split.train_unsplit(reference, _batches(3), **RATE)
    state, split_losses = _train(models.build(name, 1), models.build(name, 1), cut, _batches(3))
    _assert_equal(state, export_state(reference))
    assert split_losses == losses
    assert not np.array_equal(start[0], state[0])


def test_the_cut_may_change_between_rounds():
    reference = models.build("vgg5", seed=1)
    state = [array.copy() for array in export_state(reference)]
    for round_index, cut in enumerate([3, 7, 0, 1, 6]):
        batches = _batches(2, seed=round_index)
        split.train_unsplit(reference, batches, **RATE)
        device, server = models.build("vgg5", 2), models.build("vgg5", 3)
        load_state(device[:cut], state[: len(export_state(device[:cut]))])
        load_state(server, state)
        state, _ = _train(device, server, cut, batches)
        _assert_equal(state, export_state(reference))


def test_momentum_is_zero_at_the_start_of_a_round():
    model = models.build("vgg5", seed=1)
    batches = _batches(2)
    # two rounds of one batch each: with no momentum to carry over, plain descent does the same
    split.train_unsplit(model, batches[:1], 0.05, 0.0)
    split.train_unsplit(model, batches[1:], 0.05, 0.0)
    for cut in CUTS:
        device, server = models.build("vgg5", 1), models.build("vgg5", 1)
        _train(device, server, cut, batches[:1])
        state, _ = _train(device, server, cut, batches[1:])
        _assert_equal(state, export_state(model))
        one_round, _ = _train(models.build("vgg5", 1), models.build("vgg5", 1), cut, batches)
        assert not np.array_equal(one_round[0], state[0])


@pytest.mark.parametrize("cut", [1, 4])
def test_a_round_that_ended_within_a_batch_leaves_nothing_to_the_next(cut):
    model, fresh = models.build("vgg5", 1), models.build("vgg5", 1)
    start = [array.copy() for array in export_state(model)]
    half = DeviceHalf(model, cut, **RATE)
    images, _ = _batches(1)[0]
    activations = [half.forward(images[:4]), half.forward(images[4:])]
    half.backward(np.ones_like(activations[0]), last=False)  # and then the server went on
    load_state(model, start)
    load_state(fresh, start)
    batches = _batches(2)
    again, _ = _train(model, models.build("vgg5", 1), cut, batches)
    alone, _ = _train(fresh, models.build("vgg5", 1), cut, batches)
    _assert_equal(again, alone)


def test_at_cut_0_the_inputs_travel_and_no_gradient_comes_back():
    model = models.build("vgg5", 1)
    images, labels = _batches(1)[0]
    device = DeviceHalf(model, 0, **RATE)
    assert np.shares_memory(device.forward(images), images)
    gradient, _ = ServerHalf(model, 0, **RATE).step(images, labels)
    assert gradient is None
    device.backward(gradient)
    assert export_state(model[:0]) == []


@pytest.mark.parametrize("cut", range(1, 7))
def test_activations_and_gradient_are_float32_in_c_order(cut):
    model = models.build("vgg5", 1)
    images, labels = _batches(1)[0]
    activations = DeviceHalf(model, cut, **RATE).forward(images)
    gradient, _ = ServerHalf(model, cut, **RATE).step(activations, labels)
    assert activations.shape == (6, *models.activation_shapes(model)[cut]) == gradient.shape
    assert activations.dtype == gradient.dtype == np.float32
    assert activations.flags.c_contiguous
    assert gradient.flags.c_contiguous


def test_read_only_arrays_are_accepted_and_left_alone():
    def train(read_only):
        device, server = models.build("vgg5", 1), models.build("vgg5", 1)
        images, labels = _batches(1)[0]
        half = DeviceHalf(device, 2, **RATE)
        activations = half.forward(images).copy()
        kept = activations.copy()
        activations.flags.writeable = labels.flags.writeable = not read_only
        gradient = ServerHalf(server, 2, **RATE).step(activations, labels)[0].copy()
        gradient.flags.writeable = not read_only
        half.backward(gradient)
        np.testing.assert_array_equal(activations, kept)
        return [*export_state(device[:2]), *export_state(server[2:])]

    _assert_equal(train(read_only=True), train(read_only=False))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(6, 10), r"10\.\.10, allowed 0\.\.9"),
        (np.full(6, -100), "-100"),
        (np.zeros(5, np.int64), r"int64\[5\], expected int64\[6\]"),
        (np.zeros(6, np.int32), "int32"),
        (np.zeros((6, 1), np.int64), r"\[6, 1\]"),
    ],
)
def test_bad_labels_are_refused_before_they_change_a_weight(labels, message):
    model = models.build("vgg5", 1)
    weights = [p.detach().numpy().copy() for p in model.parameters()]
    with pytest.raises(BadTensor, match=message):
        ServerHalf(model, 0, **RATE).step(_batches(1)[0][0], labels)
    _assert_equal([p.detach().numpy() for p in model.parameters()], weights)


def test_values_that_are_not_finite_change_no_weight():
    model = models.build("vgg5", 1)
    weights = [p.detach().numpy().copy() for p in model.parameters()]
    images, labels = _batches(1)[0]
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(BadTensor, match="loss is nan"):
        ServerHalf(model, 0, **RATE).step(images, labels)
    _assert_equal([p.detach().numpy() for p in model.parameters()], weights)


def test_what_is_out_of_order_is_an_error():
    model = models.build("vgg5", 1)
    images, labels = _batches(1)[0]
    half = DeviceHalf(model, 2, **RATE)
    with pytest.raises(RunError, match="before the activations"):
        half.backward(images)
    with pytest.raises(RunError, match="native"):
        half.train_batch(images, labels)
    for cut in (-1, 8):
        with pytest.raises(RunError, match="allows 0 to 7"):
            DeviceHalf(model, cut, **RATE)
        with pytest.raises(RunError, match="allows 0 to 7"):
            ServerHalf(model, cut, **RATE)


def test_a_state_has_the_specs_of_its_blocks_in_state_dict_order():
    model = models.build("vgg5", 1)
    specs = state_specs(model[:2])
    assert [(spec.dtype, spec.shape) for spec in specs] == [
        ("float32", [32, 3, 3, 3]),
        ("float32", [32]),
        ("float32", [32]),
        ("float32", [32]),
        ("float32", [32]),
        ("float32", [32]),
        ("int64", []),
    ]
    for cut in CUTS:
        assert state_specs(model[:cut]) + state_specs(model[cut:]) == state_specs(model)


def test_a_state_that_does_not_fit_is_refused_whole():
    model = models.build("vgg5", 1)
    before = [array.copy() for array in export_state(model)]
    good = [np.zeros_like(array) for array in before]
    for bad in (
        good[:-1],
        [*good, good[0]],
        [*good[:-1], np.zeros(1, np.float32)],
        [*good[:-1], good[-1].astype(np.float64)],
    ):
        with pytest.raises(BadTensor):
            load_state(model, bad)
        _assert_equal(export_state(model), before)
    load_state(model, good)
    _assert_equal(export_state(model), good)


def test_training_loads_neither_compiler_nor_sklearn():
    program = """
import sys
from adaptoff.testbed import data, models, split
half = split.DeviceHalf(models.build("vgg5", 0), 7, 0.01, 0.9)
half.train_batch(*next(data.batches(data.load("digits")[0], 0, 0, 0, 2, 1)))
print([name for name in ("torch._dynamo", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
