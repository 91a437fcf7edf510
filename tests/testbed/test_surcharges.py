"""What micro-batches and codecs add to a cut, and how a profile that is there gets it."""

import time

import numpy as np
import pytest
from msgspec.structs import replace
from torch import nn

from adaptoff import config, profile
from adaptoff.errors import InputError
from adaptoff.testbed import blockwise, extend_profile, footprint, measure, models, surcharges
from adaptoff.testbed.split import DeviceHalf, ServerHalf

SLOW_S = 0.005


def test_a_block_that_is_slow_for_each_call_is_a_surcharge_from_its_cut_on():
    class Slow(nn.Module):
        def forward(self, values):
            end = time.thread_time() + SLOW_S
            while time.thread_time() < end:
                pass
            return values

    model = nn.Sequential(nn.Linear(3, 4), Slow(), nn.Linear(4, 2))
    batch = np.ones((8, 3), np.float32), np.zeros(8, np.int64)
    (device, server) = zip(*surcharges.measure_calls(model, batch, 3), strict=True)
    assert device[1] < SLOW_S / 2
    assert device[2] == pytest.approx(SLOW_S, rel=0.3)
    assert server[1] == pytest.approx(SLOW_S, rel=0.3)
    assert server[2] < SLOW_S / 2


def test_a_batch_too_small_for_parts_has_no_surcharge():
    batch = np.ones((3, 6), np.float32), np.zeros(3, np.int64)
    assert surcharges.measure_calls(nn.Sequential(nn.Linear(6, 2)), batch, 1) == [(0.0, 0.0)] * 2


def test_block_by_block_is_the_same_training():
    images, labels = measure.digits_batch(6)
    model, whole = models.build("vgg5-nobn", 0), models.build("vgg5-nobn", 0)
    _, (chain,) = blockwise.run(model, (images, labels), 1)
    device, server = DeviceHalf(whole, 2, 0.1, 0.0), ServerHalf(whole, 2, 0.1, 0.0)
    activations = device.forward(images)
    gradient, _ = server.step(activations, labels)
    np.testing.assert_array_equal(chain.inputs[2].detach().numpy(), activations)
    np.testing.assert_array_equal(chain.inputs[2].grad.numpy(), gradient)
    assert chain.inputs[0].grad is None
    assert all(parameter.grad is None for parameter in model.parameters())


def test_micro_batches_have_their_share_of_the_gradient():
    batch = measure.digits_batch(5)
    _, (whole,) = blockwise.run(models.build("vgg5-nobn", 0), batch, 1)
    _, parts = blockwise.run(models.build("vgg5-nobn", 0), batch, 2)
    together = np.concatenate([part.inputs[3].grad.numpy() for part in parts])
    np.testing.assert_allclose(together, whole.inputs[3].grad.numpy(), rtol=1e-3, atol=1e-7)


def test_a_profile_of_elsewhere_gets_surcharges_at_its_own_speed_and_nothing_else(tmp_path):
    model, path = models.build("vgg5-nobn", 0), tmp_path / "p.json"
    cuts = footprint.count(model, models.INPUT_SHAPE, 4, "training")
    cuts = [replace(cut, device_s=9.0 * (i > 0), server_s=0.0) for i, cut in enumerate(cuts)]
    profile.save(profile.Profile("elsewhere", 4, "by hand", cuts), path)
    before = path.read_text().splitlines()
    extend_profile.extend(path, "vgg5-nobn", 1)
    assert _without_added(path.read_text().splitlines(), before) == before
    found = profile.load(path)
    assert found.codecs["uint8"].cuts[1].device_s > 1e-3  # native takes thousands of times longer
    found = replace(found, codecs={"uint8": replace(found.codecs["uint8"], accuracy_drop=0.25)})
    profile.save(found, path)
    extend_profile.extend(path, "vgg5-nobn", 1)
    assert profile.load(path).codecs["uint8"].accuracy_drop == 0.25
    assert profile.load(path).codecs["float16"].accuracy_drop is None


def _without_added(lines, before):
    """``lines`` in so far as they are those of ``before``, in their order."""
    rest = iter(lines)
    return [line for line in before if line in rest]


@pytest.mark.parametrize("name", ["vgg5-inference", "resnet18"])
def test_a_profile_of_another_network_is_not_extended(tmp_path, name):
    path = tmp_path / "p.json"
    profile.save(config.find_profile(name), path)
    with pytest.raises(InputError, match=r"p\.json: not a profile of vgg5 in training"):
        extend_profile.extend(path, "vgg5", 1)
