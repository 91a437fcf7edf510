"""Networks: the same seed gives the same weights, and the cuts are where they should be."""

import numpy as np
import pytest
import torch

from adaptoff.errors import InputError
from adaptoff.testbed import models
from adaptoff.testbed.split import export_state


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


def test_only_vgg5_has_batch_norm():
    names = {name: models.build(name, 0).state_dict() for name in models.MODELS}
    assert any("running_mean" in key for key in names["vgg5"])
    assert not any("running_mean" in key for key in names["vgg5-nobn"])


def test_an_unknown_model_names_what_is_allowed():
    with pytest.raises(InputError, match=r"'vgg6'.*vgg5, vgg5-nobn"):
        models.build("vgg6", 0)
