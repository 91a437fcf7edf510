"""Networks: the same seed gives the same weights, and the cuts are where they should be."""

import numpy as np
import pytest
import torch

from adaptoff.errors import InputError
from adaptoff.testbed import models, split
from adaptoff.testbed.split import DeviceHalf, ServerHalf, export_state

RESIDUAL = ["resnet18", "mobilenetv2"]
RATE = {"learning_rate": 0.05, "momentum": 0.9}


def test_vgg5_has_eight_cuts_with_these_activations():
    model = models.build("vgg5", seed=0)
    assert dict(zip(models.cut_names(model), models.activation_shapes(model), strict=True)) == {
        "input": (3, 32, 32),
        "conv1": (32, 32, 32),
        "pool1": (32, 16, 16),
        "conv2": (64, 16, 16),
        "pool2": (64, 8, 8),
        "conv3": (64, 8, 8),
        "fc1": (128,),
        "native": (10,),
    }


def test_resnet18_may_be_cut_between_its_residual_blocks():
    model = models.build("resnet18", seed=0)
    shapes = dict(zip(models.cut_names(model), models.activation_shapes(model), strict=True))
    edges = ("stem", "block1a", "block1b", "block2a", "block3a", "block4b", "native")
    assert len(shapes) == 11
    assert [shapes[name] for name in edges] == [
        (64, 32, 32), (64, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (10,),
    ]  # fmt: skip


def test_mobilenetv2_may_be_cut_between_its_inverted_residuals():
    model = models.build("mobilenetv2", seed=0)
    shapes = dict(zip(models.cut_names(model), models.activation_shapes(model), strict=True))
    edges = ("stem", "block2b", "block3c", "block4d", "block5c", "block6c", "native")
    assert len(shapes) == 18
    assert [shapes[name] for name in edges] == [
        (16, 32, 32), (24, 32, 32), (32, 16, 16), (64, 8, 8), (96, 8, 8), (160, 4, 4), (10,),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters"), [("resnet18", 11173962), ("mobilenetv2", 2236682)])
def test_they_have_as_many_parameters_as_published(name, parameters):
    """The ResNet-18 for CIFAR-10, and MobileNetV2 of width 1, with ten classes."""
    assert sum(p.numel() for p in models.build(name, 0).parameters()) == parameters


def test_a_shortcut_is_added_where_the_shape_stays():
    blocks = dict(models.build("mobilenetv2", 0).eval().named_children())
    inputs = torch.rand(2, 24, 32, 32)
    block = blocks["block2b"]
    torch.testing.assert_close(block(inputs), block.body(inputs) + inputs)
    assert not hasattr(blocks["block3a"], "shortcut")  # it halves the size


@pytest.mark.parametrize(
    ("name", "cut"), [(name, cut) for name in RESIDUAL for cut in (0, 1, 4, 9)] + [
        ("resnet18", 10), ("mobilenetv2", 14), ("mobilenetv2", 17),
    ],
)  # fmt: skip
def test_split_training_of_residual_networks_is_exact(name, cut):
    """Bit by bit the weights and losses of the unsplit network, on two separate models."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 4, 3, 32, 32), dtype=np.float32)
    batches = list(zip(images, rng.integers(0, 10, (2, 4)), strict=True))
    reference, mine, theirs = (models.build(name, seed=1) for _ in range(3))
    expected = split.train_unsplit(reference, batches, **RATE)
    device = DeviceHalf(mine, cut, **RATE)
    if cut == len(mine):
        losses = [device.train_batch(*batch) for batch in batches]
    else:
        server = ServerHalf(theirs, cut, **RATE)
        losses = [_step(device, server, *batch) for batch in batches]
    assert losses == expected
    joined = [*export_state(mine[:cut]), *export_state(theirs[cut:])]
    for got, wanted in zip(joined, export_state(reference), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert not np.array_equal(joined[0], export_state(models.build(name, seed=1))[0])


def _step(device, server, images, labels):
    activations = device.forward(images)
    sent = activations.copy()
    gradient, loss = server.step(activations, labels)
    np.testing.assert_array_equal(activations, sent)  # no block works in place on what travels
    device.backward(gradient)
    return loss


def test_asking_for_shapes_leaves_the_statistics_alone():
    model = models.build("vgg5", seed=0)
    before = [array.copy() for array in export_state(model)]
    models.activation_shapes(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, export_state(model), strict=True))
    assert model.training


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    first = export_state(models.build("vgg5", seed=3))
    torch.manual_seed(2)
    again = export_state(models.build("vgg5", seed=3))
    other = export_state(models.build("vgg5", seed=4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    models.build("vgg5", seed=3)
    assert torch.rand(1) == expected


def test_all_but_one_have_batch_norm():
    states = {name: models.build(name, 0).state_dict() for name in models.MODELS}
    without = [n for n, state in states.items() if not any("running_mean" in key for key in state)]
    assert without == ["vgg5-nobn"]


def test_an_unknown_model_names_what_is_allowed():
    with pytest.raises(InputError, match=r"'vgg6'.*vgg5, vgg5-nobn, resnet18, mobilenetv2"):
        models.build("vgg6", 0)
