"""What codecs cost in accuracy, and save in bytes: a network trained on the digits, cut in two.

Device and server halves train in this process; activations and gradients pass the codec both ways.
Each seed draws first weights, order and augmentation, alike for all codecs, so drops are paired.
In the later half of the rounds the learning rate is a tenth of that before, or chance alone moves
accuracy by a point. Accuracy is the share of the held-out samples, mean over that half. The drop is
that with float32, which no cut changes, less that with the codec; its 95 % interval is a bootstrap
over seeds. A drop below 0 is chance. uint8-zstd decodes to what uint8 does: ask for it with one
seed, to see its bytes.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from typing import get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from adaptoff.agents.results import Json
from adaptoff.agents.statistics import interval
from adaptoff.profile import Codec
from adaptoff.testbed import data, models
from adaptoff.testbed.codec import decode, encode
from adaptoff.testbed.federate import accuracy
from adaptoff.testbed.samples import Labels
from adaptoff.testbed.split import DeviceHalf, FloatArray, ServerHalf, single_thread

BATCH_SIZE = 50
LEARNING_RATE, MOMENTUM = 0.01, 0.9
EXAMPLE = (
    "example: python benchmarks/codecs.py --seeds 8 --rounds 10 --cuts conv1 pool1 pool2 --json"
)
HEADS = "codec", "cut", "up", "down", "encode GB/s", "decode GB/s", "accuracy", "drop", "95 %"


@dataclass
class Traffic:
    """What passed in one direction, or both."""

    plain_bytes: int = 0
    bytes: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0

    def carry(self, codec: Codec, values: FloatArray) -> FloatArray:
        """There, as it arrives; CPU seconds count."""
        start = time.thread_time()
        arrays = encode(codec, values)
        sent = time.thread_time()
        arrived = decode(codec, arrays, values.shape)
        self.decode_s += time.thread_time() - sent
        self.encode_s += sent - start
        self.plain_bytes += values.nbytes
        self.bytes += sum(array.nbytes for array in arrays)
        return arrived


@dataclass
class Run:
    """A network as it is trained."""

    codec: Codec
    cut: int
    up: Traffic = field(default_factory=Traffic)
    down: Traffic = field(default_factory=Traffic)
    tested: list[float] = field(default_factory=list)
    """accuracy after each round"""

    @property
    def accuracy(self) -> float:
        """Mean over the later half of the rounds."""
        return float(np.mean(self.tested[len(self.tested) // 2 :]))


@dataclass(frozen=True)
class Row:
    """A codec at a cut, over all seeds. Bytes are shares of float32's, labels left out."""

    codec: Codec
    cut: str
    up_bytes: float
    down_bytes: float
    encode_gb_per_s: float
    """of float32 values"""
    decode_gb_per_s: float
    accuracy: list[float]
    """of each seed"""
    drop: Json
    """mean and interval, paired by seed"""


def measure(options: argparse.Namespace) -> list[Row]:
    """All rows; float32 first, whose accuracy the others are held against."""
    names = models.cut_names(models.build(options.model, 0))
    seeds = range(options.seeds)
    last = names[-2]  # no cut changes it, and behind the last one least passes
    plain = [train(options, seed, "float32", names.index(last)) for seed in seeds]
    rows = [row(last, plain, plain)]
    for name in options.cuts:
        for codec in options.codecs:
            runs = [train(options, seed, codec, names.index(name)) for seed in seeds]
            rows.append(row(name, runs, plain))
    return rows


def train(options: argparse.Namespace, seed: int, codec: Codec, cut: int) -> Run:
    """One network, in rounds as a federated device trains them, tested after each."""
    model, run = models.build(options.model, seed), Run(codec, cut)
    samples, test = data.load("digits")
    n_batches = len(samples) // BATCH_SIZE
    for index in range(options.rounds):
        rate = LEARNING_RATE if index < options.rounds // 2 else LEARNING_RATE / 10
        halves = DeviceHalf(model, cut, rate, MOMENTUM), ServerHalf(model, cut, rate, MOMENTUM)
        for batch in data.batches(samples, seed, 0, index, BATCH_SIZE, n_batches):
            train_batch(run, *halves, *batch)
        run.tested.append(accuracy(model, test))
    return run


def train_batch(
    run: Run, device: DeviceHalf, server: ServerHalf, images: FloatArray, labels: Labels
) -> None:
    """There and back."""
    activations = run.up.carry(run.codec, device.forward(images))
    gradient, _ = server.step(activations, labels)
    device.backward(None if gradient is None else run.down.carry(run.codec, gradient))


def row(cut: str, runs: list[Run], plain: list[Run]) -> Row:
    """The runs of one codec and cut, one a seed, beside those with float32."""
    found, reference = (np.array([run.accuracy for run in each]) for each in (runs, plain))
    both = [*(run.up for run in runs), *(run.down for run in runs)]
    giga = sum(each.plain_bytes for each in both) / 1e9
    return Row(
        codec=runs[0].codec,
        cut=cut,
        up_bytes=share([run.up for run in runs]),
        down_bytes=share([run.down for run in runs]),
        encode_gb_per_s=giga / sum(each.encode_s for each in both),
        decode_gb_per_s=giga / sum(each.decode_s for each in both),
        accuracy=found.tolist(),
        drop=interval(reference - found),
    )


def share(traffic: list[Traffic]) -> float:
    """Bytes that travelled over those of float32."""
    return sum(each.bytes for each in traffic) / sum(each.plain_bytes for each in traffic)


def table(rows: list[Row]) -> Table:
    """Shares as x, accuracy and drop in points of 100."""
    made = Table(*HEADS, box=None, pad_edge=False)
    for each in rows:
        low, high = each.drop["ci95"]
        made.add_row(
            each.codec,
            each.cut,
            f"{each.up_bytes:.3f}",
            f"{each.down_bytes:.3f}",
            f"{each.encode_gb_per_s:.1f}",
            f"{each.decode_gb_per_s:.1f}",
            f"{100 * np.mean(each.accuracy):.2f}",
            f"{100 * each.drop['mean']:+.2f}",
            "" if low is None else f"{100 * low:+.2f} .. {100 * high:+.2f}",
        )
    return made


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--model", default="vgg5", choices=models.MODELS)
    parser.add_argument("--cuts", nargs="+", default=["conv1", "pool1", "pool2"])
    parser.add_argument(
        "--codecs", nargs="+", default=["float16", "uint8"], choices=get_args(Codec)
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10, help="passes over the training samples")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    allowed = models.cut_names(models.build(options.model, 0))[1:-1]
    if wrong := [name for name in options.cuts if name not in allowed]:
        parser.error(f"--cuts {', '.join(wrong)}: allowed are {', '.join(allowed)}")
    return options


def main() -> None:
    """Train and print."""
    options = parse()
    single_thread()
    rows = measure(options)
    if options.json:
        print(json.dumps({"options": vars(options), "rows": [asdict(each) for each in rows]}))
    else:
        Console().print(table(rows))


if __name__ == "__main__":
    main()
