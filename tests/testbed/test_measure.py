"""Profiles: bytes and FLOPs that follow from the network, monotone seconds, a file that loads."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from adaptoff import config, profile
from adaptoff.errors import BadTensor, InputError
from adaptoff.profile import Coded
from adaptoff.testbed import footprint, measure, models


@pytest.fixture(scope="module")
def measured():
    return measure.measure_profile("vgg5", batch_size=2, repeats=1)


def _check_bytes(found):
    cuts, model = found.cuts, models.build("vgg5", 0)
    assert [cut.name for cut in cuts] == models.cut_names(model)
    labels = 8 * found.batch_size
    assert cuts[0].up_bytes == 4 * found.batch_size * 3 * 32 * 32 + labels
    assert cuts[2].up_bytes == 4 * found.batch_size * 32 * 16 * 16 + labels
    assert cuts[-1].up_bytes == cuts[-1].down_bytes == cuts[0].down_bytes == 0
    for cut in cuts[1:-1]:
        assert cut.down_bytes == cut.up_bytes - labels
    parameters = sum(p.numel() for p in model.parameters())
    assert cuts[-1].sync_bytes == 4 * parameters + 4 * 2 * (32 + 64 + 64) + 3 * 8


def _check_seconds(found):
    device = [cut.device_s for cut in found.cuts]
    server = [cut.server_s for cut in found.cuts]
    assert device[0] == server[-1] == 0
    assert device == sorted(device)
    assert server == sorted(server, reverse=True)
    assert device[-1] > device[1] > 0
    assert server[0] > server[-2] > 0


def _check_flops(found):
    conv1 = 2 * 32 * 32 * 32 * 3 * 9 * found.batch_size
    whole = found.cuts[0].server_flops
    assert found.cuts[1].device_flops == 2 * conv1  # forward, and the gradient of the weights
    assert all(cut.device_flops + cut.server_flops == whole for cut in found.cuts)
    assert found.reference_flops_per_s == pytest.approx(whole / found.cuts[-1].device_s)


def _check_calls(found):
    device = [cut.device_call_s for cut in found.cuts]
    server = [cut.server_call_s for cut in found.cuts]
    assert device[0] == server[-1] == 0
    whole_s = found.cuts[0].server_s
    assert 0 <= min(device + server) <= max(device + server) < 0.2 * whole_s


PER_SAMPLE = 8
"""bytes of least and step, which uint8 sends along"""


def _check_codecs(found):
    half, levels, packed = (found.codecs[name] for name in ("float16", "uint8", "uint8-zstd"))
    labels, scales = 8 * found.batch_size, PER_SAMPLE * found.batch_size
    for index, cut in enumerate(found.cuts[:-1]):
        values = cut.up_bytes - labels
        assert half.cuts[index].up_bytes == values / 2 + labels
        assert levels.cuts[index].up_bytes == values / 4 + labels + scales
        assert half.cuts[index].down_bytes == cut.down_bytes / 2
        assert levels.cuts[index].down_bytes == (cut.down_bytes / 4 + scales) * (index > 0)
    for codec in (half, levels, packed):
        assert codec.cuts[-1] == Coded()
        assert all(min(cut.device_s, cut.server_s) > 0 for cut in codec.cuts[:-1])
        assert all(cut.up_bytes > labels for cut in codec.cuts[:-1])
    assert packed.cuts[1].up_bytes < 0.9 * levels.cuts[1].up_bytes  # some levels are more frequent


CHECKS = [_check_bytes, _check_seconds, _check_flops, _check_calls, _check_codecs]


@pytest.mark.parametrize("check", CHECKS)
def test_a_measured_profile_is_consistent(measured, check):
    check(measured)


@pytest.mark.parametrize("check", CHECKS)
def test_the_shipped_profile_is_consistent(check):
    check(config.find_profile("vgg5"))


def test_what_ships_was_counted_of_these_networks():
    for name in ("vgg5", "resnet18", "mobilenetv2"):
        _same_count(config.find_profile(name), name, "training")
    _same_count(config.find_profile("vgg5-inference"), "vgg5", "inference")


@pytest.mark.parametrize("name", ["vgg5", "resnet18", "mobilenetv2"])
def test_what_ships_has_codecs_and_calls(name):
    shipped = config.find_profile(name)
    _check_calls(shipped)
    _check_codecs(shipped)
    assert shipped.cuts[-2].server_call_s > 0


def test_zstandard_takes_longer_and_saves_most_on_gradients_behind_a_pool():
    levels, packed = (config.find_profile("vgg5").codecs[name] for name in ("uint8", "uint8-zstd"))
    assert packed.cuts[1].down_bytes < 0.5 * levels.cuts[1].down_bytes
    assert packed.cuts[1].device_s > 2 * levels.cuts[1].device_s


def test_accuracy_drops_are_taken_from_what_ships(measured):
    shipped = config.find_profile("vgg5").codecs
    assert {name: costs.accuracy_drop for name, costs in measured.codecs.items()} == {
        name: costs.accuracy_drop for name, costs in shipped.items()
    }
    assert shipped["uint8"].accuracy_drop is not None
    unknown = measure.measure_profile("vgg5-nobn", 2, 1)
    assert {costs.accuracy_drop for costs in unknown.codecs.values()} == {None}


def _same_count(found, name, mode):
    cuts = footprint.count(models.build(name, 0), models.INPUT_SHAPE, found.batch_size, mode)
    for mine, shipped in zip(cuts, found.cuts, strict=True):
        for field in mine.__struct_fields__:
            if not field.endswith("_s"):
                assert getattr(mine, field) == getattr(shipped, field), (name, mine.name, field)


def test_the_shipped_profile_says_how_it_was_measured():
    shipped = config.find_profile("vgg5")
    assert shipped.batch_size == 50
    assert shipped.source.startswith("measured: seconds of one core, torch ")


def test_memory_counts_weights_thrice_and_what_backward_needs(measured):
    images = 4 * 2 * 3 * 32 * 32
    conv1 = measured.cuts[1]
    parameters = 4 * (32 * 3 * 9 + 3 * 32)
    # BatchNorm keeps the result of the convolution; the activations and their gradient travel
    at_least = images + 2 * parameters + conv1.sync_bytes + 3 * conv1.down_bytes
    assert at_least <= conv1.memory_bytes <= 1.05 * at_least
    assert measured.cuts[0].memory_bytes == images
    # besides weights, BatchNorm's mean and deviation of a batch
    assert conv1.weights_memory_bytes == 2 * parameters + conv1.sync_bytes + 2 * 32 * 4


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_only_the_activations_memory_grows_with_the_batch(mode):
    few, more = (
        footprint.count(models.build("vgg5", 0), models.INPUT_SHAPE, size, mode) for size in (3, 30)
    )
    for cut, other in zip(few, more, strict=True):
        assert cut.weights_memory_bytes == other.weights_memory_bytes
        grown = other.memory_bytes - other.weights_memory_bytes
        assert grown == 10 * (cut.memory_bytes - cut.weights_memory_bytes) > 0


def test_each_channel_has_its_own_filter_in_the_flops_of_a_grouped_convolution():
    grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1))
    first, second = 2 * 5 * 16 * 16 * 8 * 9, 2 * 5 * 16 * 16 * 8 * 4
    cuts = footprint.count(grouped, (8, 16, 16), 5, "training")
    assert [cut.device_flops for cut in cuts] == [0, 2 * first, 2 * first + 3 * second]
    assert [cut.server_flops for cut in cuts] == [2 * first + 3 * second, 3 * second, 0]
    cuts = footprint.count(grouped, (8, 16, 16), 5, "inference")
    assert [cut.device_flops for cut in cuts] == [0, first, first + second]


def test_in_inference_a_result_comes_back_and_no_weights_travel():
    found = measure.measure_profile("vgg5", 4, 1, mode="inference")
    assert (found.name, found.mode) == ("vgg5-inference", "inference")
    _check_seconds(found)
    result = 4 * 4 * models.CLASSES
    assert [cut.down_bytes for cut in found.cuts] == [*[result] * 7, 0]
    assert {cut.sync_bytes for cut in found.cuts} == {0}
    assert found.cuts[0].up_bytes == 4 * 4 * 3 * 32 * 32
    weights = sum(t.nbytes for t in models.build("vgg5", 0).state_dict().values())
    assert found.cuts[-1].weights_memory_bytes == weights
    training = footprint.count(models.build("vgg5", 0), models.INPUT_SHAPE, 4, "training")
    assert found.cuts[-1].memory_bytes < training[-1].memory_bytes
    assert not found.codecs
    assert {cut.device_call_s for cut in found.cuts} == {0}


def _own_network():
    return nn.Sequential(nn.Sequential(nn.Linear(6, 20), nn.ReLU()), nn.Linear(20, 3))


def test_any_classifier_that_is_a_sequence_can_be_measured():
    batch = np.ones((5, 6), np.float32), np.array([0, 1, 2, 0, 1])
    found = measure.measure_network(_own_network(), "mine", batch, 1)
    assert [cut.name for cut in found.cuts] == ["input", "0", "native"]
    assert found.cuts[1].up_bytes == 5 * 20 * 4 + 5 * 8
    assert found.cuts[1].sync_bytes == 4 * 7 * 20
    assert found.codecs["float16"].cuts[1].down_bytes == 5 * 20 * 2
    with pytest.raises(BadTensor, match=r"allowed 0\.\.2"):
        measure.measure_network(_own_network(), "mine", (batch[0], batch[1] + 1), 1)


def test_measuring_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    measure.measure_profile("vgg5-nobn", 2, 1)
    assert torch.rand(1) == expected


def test_progress_counts_the_repeats():
    seen = []
    measure.measure_profile("vgg5-nobn", 2, 2, progress=seen.append)
    assert seen == [0, 0, 1, 2]


@pytest.mark.parametrize(("name", "size", "repeats"), [("x", 2, 1), ("vgg5", 1, 1), ("vgg5", 2, 0)])
def test_wrong_input_is_refused(name, size, repeats):
    with pytest.raises(InputError):
        measure.measure_profile(name, size, repeats)


def test_the_command_writes_a_profile_that_loads(tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    argv = ["measure", "--model", "vgg5-nobn", "--batch-size", "2", "--repeats", "1", "-o"]
    monkeypatch.setattr(sys, "argv", [*argv, str(path)])
    measure.main()
    assert profile.load(path).name == "vgg5-nobn"


def test_the_command_reports_wrong_input_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["measure", "--batch-size", "1", "-o", str(tmp_path / "p")])
    with pytest.raises(SystemExit) as stop:
        measure.main()
    assert stop.value.code == 2
    assert "at least 2" in capsys.readouterr().err


def test_the_programs_of_the_documentation_run(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "profile.md").read_text(encoding="utf-8")
    own, joined = (part.split("```")[0] for part in text.split("```python\n")[1:])
    copy = 'profile.save(measured, Path("mine-on-pi4.json"))\n'
    program = [sys.executable, "-c", own.replace("repeats=20", "repeats=1") + copy + joined]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True)
    found = profile.load(tmp_path / "mine.json")
    assert found.column("device_s", 20, "pi4") == found.column("device_s", 20)
