"""Measure what each cut of a network costs on one core of this machine.

``python -m adaptoff.testbed.measure --model vgg5 --batch-size 50 -o FILE``

Seconds are CPU seconds of the thread that trains (``time.thread_time``), so what else runs counts
little. Each cut runs real halves, as the testbed does; the cuts take turns, so a slow spell of the
machine hits all alike; the median of the repeats counts. More blocks cannot cost less: what noise
says otherwise is pooled by isotonic regression, rising for the device, falling for the server.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.isotonic import isotonic_regression
from torch import nn

from adaptoff import profile
from adaptoff.errors import InputError
from adaptoff.profile import Cut, Profile
from adaptoff.testbed import models
from adaptoff.testbed.split import DeviceHalf, FloatArray, Labels, ServerHalf, export_state
from adaptoff.testbed.split import single_thread as use_one_thread

WARM_UP = 2
# so small that the weights, and with them the arithmetic, stay the same over all repeats
LEARNING_RATE = 1e-9
MOMENTUM = 0.9
Batch = tuple[FloatArray, Labels]


def measure_profile(
    model_name: str,
    batch_size: int,
    repeats: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Profile:
    """Profile all cuts of a network; sets torch to one thread.

    ``progress`` is told the number of repeats done. Raises InputError for an unknown model, for a
    batch below 2, which BatchNorm cannot train on, and for less than one repeat.
    """
    if batch_size < 2 or repeats < 1:
        raise InputError(f"batch size {batch_size}, repeats {repeats}: at least 2 and 1")
    use_one_thread()
    model = models.build(model_name, seed=0)
    batch = _batch(batch_size)
    seconds = _seconds(model, batch, repeats, progress)
    device_s = isotonic_regression([device for device, _ in seconds])
    server_s = isotonic_regression([server for _, server in seconds], increasing=False)
    cuts = [
        _cut(model, cut, batch, float(device_s[cut]), float(server_s[cut]))
        for cut in range(len(model) + 1)
    ]
    source = f"measured: seconds of one core, torch {torch.__version__}, one thread"
    return Profile(name=model_name, batch_size=batch_size, source=source, cuts=cuts)


def _batch(batch_size: int) -> Batch:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch_size, *models.INPUT_SHAPE), dtype=np.float32)
    return images, rng.integers(0, models.CLASSES, batch_size)


def _seconds(
    model: nn.Sequential, batch: Batch, repeats: int, progress: Callable[[int], None]
) -> list[tuple[float, float]]:
    """Median (device, server) CPU seconds per batch of each cut."""
    cuts = range(len(model) + 1)
    runs: list[list[tuple[float, float]]] = [[] for _ in cuts]
    for repeat in range(WARM_UP + repeats):
        for cut in cuts:
            runs[cut].append(_run(model, cut, batch))
        progress(max(0, repeat + 1 - WARM_UP))
    counted = (zip(*run[WARM_UP:], strict=True) for run in runs)
    return [(statistics.median(device), statistics.median(server)) for device, server in counted]


def _run(model: nn.Sequential, cut: int, batch: Batch) -> tuple[float, float]:
    """CPU seconds of the second batch of a round: the first one allocates the momentum."""
    device = DeviceHalf(model, cut, LEARNING_RATE, MOMENTUM)
    server = ServerHalf(model, cut, LEARNING_RATE, MOMENTUM)
    train = _train_native if cut == len(model) else _train_split
    train(device, server, batch)
    return train(device, server, batch)


def _train_native(device: DeviceHalf, _: ServerHalf, batch: Batch) -> tuple[float, float]:
    start = time.thread_time()
    device.train_batch(*batch)
    return time.thread_time() - start, 0.0


def _train_split(device: DeviceHalf, server: ServerHalf, batch: Batch) -> tuple[float, float]:
    images, labels = batch
    start = time.thread_time()
    activations = device.forward(images)
    sent = time.thread_time()
    gradient, _ = server.step(activations, labels)
    answered = time.thread_time()
    device.backward(gradient)
    end = time.thread_time()
    return (sent - start) + (end - answered), answered - sent


def _cut(model: nn.Sequential, cut: int, batch: Batch, device_s: float, server_s: float) -> Cut:
    images, labels = batch
    split = cut < len(model)
    values = len(images) * int(np.prod(models.activation_shapes(model)[cut]))
    activation_bytes = values * images.itemsize
    return Cut(
        name=models.cut_names(model)[cut],
        device_s=device_s if cut else 0.0,
        server_s=server_s if split else 0.0,
        up_bytes=activation_bytes + labels.nbytes if split else 0,
        down_bytes=activation_bytes if split and cut else 0,
        sync_bytes=sum(array.nbytes for array in export_state(model[:cut])),
        memory_bytes=_memory_bytes(model[:cut], images, activation_bytes if cut else 0),
    )


def _memory_bytes(blocks: nn.Module, images: FloatArray, activation_bytes: int) -> int:
    """Peak of what a device holds for its blocks, without the libraries and the data set.

    State, gradients and momentum; the batch and every tensor that the backward pass needs, each
    memory counted once; the activations at the cut and their gradient (none at cut 0).
    """
    parameter_bytes = sum(p.nbytes for p in blocks.parameters())
    state_bytes = sum(array.nbytes for array in export_state(blocks))
    held = _held_bytes(blocks.train(), torch.from_numpy(images))
    return state_bytes + 2 * parameter_bytes + images.nbytes + held + 2 * activation_bytes


def _held_bytes(blocks: nn.Module, images: torch.Tensor) -> int:
    """Bytes that autograd keeps of a forward pass: intermediate results and indices."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = blocks(images)
    counted = [images, result, *blocks.state_dict().values()]
    for tensor in counted:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(storages.values())


def main() -> None:
    """Command line: measure a model and write its profile as JSON."""
    parser = argparse.ArgumentParser(description="Measure the cuts of a network on this machine.")
    parser.add_argument("--model", default="vgg5", choices=models.MODELS)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    try:
        measured = measure_profile(given.model, given.batch_size, given.repeats)
        profile.save(measured, given.output)
    except (InputError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
