"""The networks that the testbed trains, as sequences of blocks.

A network may be cut before, between and after its blocks, so ``n`` blocks allow the cuts 0..n.
VGG-5 is FedAdapt's (Wu et al., IEEE IoT-J 2022); ``residual`` has the others. Another network is
one more entry of ``MODELS``. Its blocks must not change their input in place: at a cut it travels.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import torch
from torch import nn

from adaptoff.errors import InputError
from adaptoff.testbed.residual import mobilenetv2, resnet18

_GLOBAL_RANDOM = Lock()
"""torch draws first weights from one state for all threads"""
INPUT_SHAPE = (3, 32, 32)
"""of one sample: channels, height, width"""
CLASSES = 10


def _conv(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
    return nn.Sequential(conv, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU())


def _vgg5(norm: bool) -> nn.Sequential:
    blocks: list[tuple[str, nn.Module]] = [
        ("conv1", _conv(3, 32, norm)),
        ("pool1", nn.MaxPool2d(2)),
        ("conv2", _conv(32, 64, norm)),
        ("pool2", nn.MaxPool2d(2)),
        ("conv3", _conv(64, 64, norm)),
        ("fc1", nn.Sequential(nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU())),
        ("fc2", nn.Linear(128, CLASSES)),
    ]
    return nn.Sequential(OrderedDict(blocks))


MODELS: dict[str, Callable[[], nn.Sequential]] = {
    "vgg5": lambda: _vgg5(norm=True),
    # BatchNorm sees micro-batches: only without it is a batch the sum of its parts
    "vgg5-nobn": lambda: _vgg5(norm=False),
    "resnet18": lambda: resnet18(CLASSES),
    "mobilenetv2": lambda: mobilenetv2(CLASSES),
}


def build(name: str, seed: int) -> nn.Sequential:
    """The blocks of a network, initialised from ``seed`` alone.

    Input: float32 (batch, 3, 32, 32); output: logits float32 (batch, 10). The global random state
    of torch is left as it was. Raises InputError for a name that is not in ``MODELS``.
    """
    if name not in MODELS:
        raise InputError(f"model {name!r}: allowed are {', '.join(MODELS)}")
    with _GLOBAL_RANDOM, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MODELS[name]()


def cut_names(model: nn.Sequential) -> list[str]:
    """One name per cut, 0..native: the block after which it cuts."""
    blocks = [name for name, _ in model.named_children()]
    return ["input", *blocks[:-1], "native"]


def activation_shapes(
    model: nn.Sequential, sample: tuple[int, ...] = INPUT_SHAPE
) -> list[tuple[int, ...]]:
    """Shape of one sample's activations at each cut, 0..native, without the batch axis.

    ``sample``: the shape of one input.
    """
    training = model.training
    values = [torch.zeros(1, *sample)]
    with torch.inference_mode():
        for block in model.eval():
            values.append(block(values[-1]))
    model.train(training)
    return [tuple(value.shape[1:]) for value in values]
