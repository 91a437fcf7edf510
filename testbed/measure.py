"""Measure what each cut of a network costs on one core of this machine.

``python -m adaptoff.testbed.measure --model vgg5 --batch-size 50 -o FILE``

Seconds are CPU seconds of the thread that computes (``time.thread_time``), so what else runs counts
little. Each cut runs real halves, as the testbed does; the cuts take turns, so a slow spell of the
machine hits all alike; the median of the repeats counts. More blocks cannot cost less: what noise
says otherwise is pooled by isotonic regression, rising for the device, falling for the server.
In training ``surcharges`` adds what micro-batches and codecs cost.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from msgspec.structs import replace
from sklearn.isotonic import isotonic_regression
from torch import nn

from adaptoff import config, profile
from adaptoff.errors import InputError
from adaptoff.profile import Mode, Profile
from adaptoff.testbed import data, footprint, models, surcharges
from adaptoff.testbed.blockwise import Batch, Pair
from adaptoff.testbed.split import DeviceHalf, ServerHalf
from adaptoff.testbed.split import single_thread as use_one_thread

WARM_UP = 2
# so small that the weights, and with them the arithmetic, stay the same over all repeats
LEARNING_RATE = 1e-9
MOMENTUM = 0.9
MOST_SURCHARGE_REPEATS = 3
Progress = Callable[[int], None]


def measure_profile(
    model_name: str,
    batch_size: int,
    repeats: int,
    progress: Progress = lambda _: None,
    mode: Mode = "training",
) -> Profile:
    """Profile all cuts of a network of ``models.MODELS``, on digits; sets torch to one thread.

    ``progress`` is told the number of repeats done. What codecs cost in accuracy is taken from the
    profile that ships, if one does. Raises InputError for an unknown model, for a batch below 2,
    which BatchNorm cannot train on (below 1 in inference), and for less than one repeat.
    """
    least = 2 if mode == "training" else 1
    if batch_size < least or repeats < 1:
        raise InputError(f"batch size {batch_size}, repeats {repeats}: at least {least} and 1")
    model = models.build(model_name, seed=0)
    name = model_name if mode == "training" else f"{model_name}-{mode}"
    found = measure_network(model, name, digits_batch(batch_size), repeats, progress, mode)
    if name not in config.shipped_profiles():
        return found
    return surcharges.with_accuracy_of(config.find_profile(name), found)


def measure_network(
    model: nn.Sequential,
    name: str,
    batch: Batch,
    repeats: int,
    progress: Progress = lambda _: None,
    mode: Mode = "training",
) -> Profile:
    """Profile all cuts of any classifier that is a sequence of blocks; torch gets one thread.

    ``batch``: inputs, float32 (batch, ...), and labels, int64 (batch,), below the number of
    classes. The statistics of BatchNorm change. Raises BadTensor for labels that do not fit.
    """
    use_one_thread()
    images, _ = batch
    cuts = footprint.count(model, images.shape[1:], len(images), mode)
    seconds = _pooled(_seconds(model, batch, repeats, progress, mode))
    found = Profile(
        name=name,
        batch_size=len(images),
        source=f"measured: seconds of one core, torch {torch.__version__}, one thread, "
        f"median of {repeats}; FLOPs counted",
        cuts=[
            replace(cut, device_s=device_s, server_s=server_s)
            for cut, (device_s, server_s) in zip(cuts, seconds, strict=True)
        ],
        mode=mode,
        reference_flops_per_s=(cuts[-1].device_flops or 0.0) / seconds[-1][0] or None,
    )
    few = min(repeats, MOST_SURCHARGE_REPEATS)
    return found if mode == "inference" else surcharges.added(found, model, batch, few)


def digits_batch(batch_size: int) -> Batch:
    """Digits as they are trained on, always the same."""
    train, _ = data.load("digits")
    return next(data.batches(train, 0, 0, 0, batch_size, 1))


def native_seconds(model: nn.Sequential, batch: Batch, repeats: int) -> float:
    """Median CPU seconds of a batch at the last cut; torch gets one thread."""
    use_one_thread()
    runs = [_train(model, len(model), batch) for _ in range(WARM_UP + repeats)]
    return statistics.median(seconds for seconds, _ in runs[WARM_UP:])


def _pooled(seconds: list[Pair]) -> list[Pair]:
    """Rising for the device, falling for the server."""
    device_s = isotonic_regression([device for device, _ in seconds])
    server_s = isotonic_regression([server for _, server in seconds], increasing=False)
    device_s[0] = server_s[-1] = 0.0
    return [*zip(device_s.tolist(), server_s.tolist(), strict=True)]


def _seconds(
    model: nn.Sequential, batch: Batch, repeats: int, progress: Progress, mode: Mode
) -> list[Pair]:
    """Median (device, server) CPU seconds per batch of each cut."""
    run = _train if mode == "training" else _infer
    runs: list[list[Pair]] = [[] for _ in range(len(model) + 1)]
    for repeat in range(WARM_UP + repeats):
        for cut, seconds in enumerate(runs):
            seconds.append(run(model, cut, batch))
        progress(max(0, repeat + 1 - WARM_UP))
    counted = (zip(*run[WARM_UP:], strict=True) for run in runs)
    return [(statistics.median(device), statistics.median(server)) for device, server in counted]


def _train(model: nn.Sequential, cut: int, batch: Batch) -> Pair:
    """CPU seconds of the second batch of a round: the first one allocates the momentum."""
    device = DeviceHalf(model, cut, LEARNING_RATE, MOMENTUM)
    server = ServerHalf(model, cut, LEARNING_RATE, MOMENTUM)
    step = _train_native if cut == len(model) else _train_split
    step(device, server, batch)
    return step(device, server, batch)


def _train_native(device: DeviceHalf, _: ServerHalf, batch: Batch) -> Pair:
    start = time.thread_time()
    device.train_batch(*batch)
    return time.thread_time() - start, 0.0


def _train_split(device: DeviceHalf, server: ServerHalf, batch: Batch) -> Pair:
    images, labels = batch
    start = time.thread_time()
    activations = device.forward(images)
    sent = time.thread_time()
    gradient, _ = server.step(activations, labels)
    answered = time.thread_time()
    device.backward(gradient)
    end = time.thread_time()
    return (sent - start) + (end - answered), answered - sent


@torch.inference_mode()
def _infer(model: nn.Sequential, cut: int, batch: Batch) -> Pair:
    model.eval()
    inputs = torch.from_numpy(batch[0])
    start = time.thread_time()
    activations = model[:cut](inputs)
    sent = time.thread_time()
    model[cut:](activations)
    return sent - start, time.thread_time() - sent


def main() -> None:
    """Command line: measure a model and write its profile as JSON."""
    parser = argparse.ArgumentParser(description="Measure the cuts of a network on this machine.")
    parser.add_argument("--model", default="vgg5", choices=models.MODELS)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--mode", default="training", choices=get_args(Mode))
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    try:
        measured = measure_profile(given.model, given.batch_size, given.repeats, mode=given.mode)
        profile.save(measured, given.output)
    except (InputError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
