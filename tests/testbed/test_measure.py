"""Profiles: bytes that follow from the network, seconds that are monotone, a file that loads."""

import importlib.resources
import sys

import pytest

from adaptoff import profile
from adaptoff.errors import InputError
from adaptoff.testbed import measure, models


@pytest.fixture(scope="module")
def measured():
    return measure.measure_profile("vgg5", batch_size=2, repeats=1)


def _shipped():
    text = importlib.resources.files("adaptoff.data").joinpath("vgg5.json").read_bytes()
    return profile.decode(lambda: text, "vgg5.json")


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


@pytest.mark.parametrize("check", [_check_bytes, _check_seconds])
def test_a_measured_profile_is_consistent(measured, check):
    check(measured)


@pytest.mark.parametrize("check", [_check_bytes, _check_seconds])
def test_the_shipped_profile_is_consistent(check):
    check(_shipped())


def test_the_shipped_profile_says_how_it_was_measured():
    assert (_shipped().name, _shipped().batch_size) == ("vgg5", 50)
    assert _shipped().source.startswith("measured: seconds of one core, torch ")


def test_memory_counts_weights_thrice_and_what_backward_needs(measured):
    images = 4 * 2 * 3 * 32 * 32
    conv1 = measured.cuts[1]
    parameters = 4 * (32 * 3 * 9 + 3 * 32)
    # BatchNorm keeps the result of the convolution; the activations and their gradient travel
    at_least = images + 2 * parameters + conv1.sync_bytes + 3 * conv1.down_bytes
    assert at_least <= conv1.memory_bytes <= 1.05 * at_least
    assert measured.cuts[0].memory_bytes == images


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
