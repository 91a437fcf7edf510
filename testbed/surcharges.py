"""Measure what micro-batches and codecs add to each cut of a network in training.

What the codecs get are the activations and gradients of one batch with the weights as they are:
training changes what Zstandard makes of them by a few per cent. Seconds are CPU seconds of the
thread that computes. Measuring changes the statistics of BatchNorm.
"""

import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from typing import get_args

from msgspec.structs import replace
from torch import Tensor, nn

from adaptoff.profile import Codec, CodecCosts, Coded, Profile
from adaptoff.testbed import blockwise
from adaptoff.testbed.blockwise import Batch, Pair
from adaptoff.testbed.codec import decode, encode
from adaptoff.testbed.split import FloatArray

PARTS = 4
"""micro-batches that a batch is split into, to be compared with the whole"""


def added(found: Profile, model: nn.Sequential, batch: Batch, repeats: int) -> Profile:
    """``found`` with what micro-batches and codecs cost, measured on ``batch``."""
    calls = measure_calls(model, batch, repeats)
    cuts = [
        replace(cut, device_call_s=device_s, server_call_s=server_s)
        for cut, (device_s, server_s) in zip(found.cuts, calls, strict=True)
    ]
    return replace(found, cuts=cuts, codecs=measure_codecs(model, batch, repeats))


def with_accuracy_of(other: Profile, found: Profile) -> Profile:
    """``found`` with the accuracy drops of ``other``'s codecs."""
    codecs = {
        codec: replace(costs, accuracy_drop=other.codecs[codec].accuracy_drop)
        for codec, costs in found.codecs.items()
        if codec in other.codecs
    }
    return replace(found, codecs=found.codecs | codecs)


def measure_calls(model: nn.Sequential, batch: Batch, repeats: int) -> list[Pair]:
    """What each micro-batch beyond the first adds, (device, server) seconds at each cut.

    0 for a batch below 4, as a part has at least two samples, and where parts are faster than the
    whole: blocks with much to compute are, as more of it stays in the cache, and those with many
    weights are not, so more blocks may add less.
    """
    parts = min(PARTS, len(batch[1]) // 2)
    if parts < 2:
        return [(0.0, 0.0)] * (len(model) + 1)
    runs = [_surplus(model, batch, parts) for _ in range(1 + repeats)][1:]
    blocks = [statistics.median(block) for block in zip(*runs, strict=True)]
    device_s, server_s = _sums(blocks), _sums(blocks[::-1])[::-1]
    return [*zip(device_s, server_s, strict=True)]


def measure_codecs(model: nn.Sequential, batch: Batch, repeats: int) -> dict[Codec, CodecCosts]:
    """What each codec but float32 makes of the batch at each cut."""
    _, (chain,) = blockwise.run(model, batch, 1)
    label_bytes = batch[1].nbytes
    return {
        codec: CodecCosts(
            [*(_coded(codec, edge, label_bytes, repeats) for edge in chain.inputs), Coded()]
        )
        for codec in get_args(Codec)
        if codec != "float32"
    }


def _surplus(model: nn.Sequential, batch: Batch, parts: int) -> list[float]:
    """Seconds of each block for a micro-batch more."""
    (whole, _), (split, _) = (blockwise.run(model, batch, depth) for depth in (1, parts))
    return [(more - once) / (parts - 1) for once, more in zip(whole, split, strict=True)]


def _sums(blocks: list[float]) -> list[float]:
    """Of the first 0, 1, ... blocks, at least 0."""
    return [max(seconds, 0.0) for seconds in accumulate(blocks, initial=0.0)]


def _coded(codec: Codec, edge: Tensor, label_bytes: int, repeats: int) -> Coded:
    """A cut at ``edge``, which has a gradient unless it is the input."""
    up_bytes, up_s, up_back_s = _travel(codec, edge, repeats)
    down_bytes, down_s, down_back_s = _travel(codec, edge.grad, repeats)
    return Coded(up_bytes + label_bytes, down_bytes, up_s + down_back_s, up_back_s + down_s)


def _travel(codec: Codec, tensor: Tensor | None, repeats: int) -> tuple[int, float, float]:
    """Bytes, and CPU seconds to encode and to decode; nothing for no tensor."""
    if tensor is None:
        return 0, 0.0, 0.0
    values: FloatArray = tensor.detach().contiguous().numpy()
    arrays = encode(codec, values)
    encode_s = _median_s(lambda: encode(codec, values), repeats)
    decode_s = _median_s(lambda: decode(codec, arrays, values.shape), repeats)
    return sum(array.nbytes for array in arrays), encode_s, decode_s


def _median_s(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(1 + repeats):
        start = time.thread_time()
        work()
        seconds.append(time.thread_time() - start)
    return statistics.median(seconds[1:])
