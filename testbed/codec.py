"""How activations and gradients travel: what goes instead of a tensor, and back to one.

uint8 is the quantisation of JALAD (Li et al., ICPADS 2018), equal steps between least and most, but
for each sample by itself: its gradients are large only while the network gets it wrong. Zero, where
a sample's values span it, stays exact (Jacob et al., CVPR 2018), or the many zeros behind a ReLU or
a pool would all come back shifted to the same side. Values are rounded to the nearest step. What a
sample becomes does not depend on the others of its batch.

float16 rounds, and clips to +-65504. What is not finite is for the receiver to refuse.
"""

from collections.abc import Iterable, Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from adaptoff.errors import BadTensor
from adaptoff.profile import Codec
from adaptoff.testbed.split import FloatArray
from adaptoff.testbed.wire import Array, check_tensors

ZSTD_LEVEL = 1
HALF_MAX = 65504.0
STEPS = 254
"""between least and most; one of the 256 levels is left for the shift that makes zero exact"""
LEAST_STEP = float(np.finfo(np.float32).tiny)
"""below it, values count as equal: the inverse of a smaller step is no float32"""
MOST_WINDOW_BYTES = 8 << 20
"""what any decoder of Zstandard is asked to allow; our level takes 0.5 MB"""
Shape = tuple[int, ...]
Levels = NDArray[np.uint8]


def rehearse(codecs: Iterable[Codec]) -> None:
    """Use each once, so that no round pays for what is loaded then."""
    values = np.zeros((2, 2), np.float32)
    for codec in codecs:
        decode(codec, encode(codec, values), values.shape)


def encode(codec: Codec, values: FloatArray) -> list[Array]:
    """What travels instead of ``values``: float32 (samples, ...) in C order.

    float32: ``values`` itself, no copy. float16: values of that type. uint8: levels of the same
    shape, and float32 (samples,) of the value at level 0 and of the step. uint8-zstd: the levels
    as one Zstandard frame, uint8 (bytes,). Values that are not finite are encoded all the same.
    """
    if codec == "float32":
        return [values]
    if codec == "float16":
        clipped = np.clip(values, -HALF_MAX, HALF_MAX)
        return [torch.from_numpy(clipped).to(torch.float16).numpy()]
    levels, lows, steps = _quantise(values)
    return [_compress(levels) if codec == "uint8-zstd" else levels, lows, steps]


def decode(codec: Codec, arrays: Sequence[Array], shape: Shape) -> FloatArray:
    """The tensor of ``shape`` (samples, ...) that ``arrays`` stand for; float32: no copy.

    Raises BadTensor for another number, dtype, shape or size of arrays, before anything is
    allocated, and for what is not finite.
    """
    match codec:
        case "float32":
            check_tensors(arrays, [("float32", shape)])
            return arrays[0]
        case "float16":
            return _decode_half(arrays, shape)
        case "uint8":
            return _restore(*_checked(arrays, shape, shape))
        case "uint8-zstd":
            frame, lows, steps = _checked(arrays, _frame_shape(arrays, shape), shape)
            return _restore(_decompress(frame, shape), lows, steps)


def n_arrays(codec: Codec) -> int:
    """How many arrays a tensor takes."""
    return 3 if codec.startswith("uint8") else 1


def _decode_half(arrays: Sequence[Array], shape: Shape) -> FloatArray:
    check_tensors(arrays, [("float16", shape)], finite=False)
    values = torch.tensor(arrays[0], dtype=torch.float32).numpy()
    check_tensors([values], [("float32", shape)])
    return values


def _quantise(values: FloatArray) -> tuple[Levels, FloatArray, FloatArray]:
    rows = values.reshape(len(values), prod(values.shape[1:]))
    with np.errstate(all="ignore"):
        lows, highs = rows.min(axis=1), rows.max(axis=1)
        steps = (highs - lows) / STEPS
        steps[steps < LEAST_STEP] = 0.0
        per_step = np.where(steps > 0, 1 / steps, np.float32(0))
        spans_zero = (lows <= 0) & (highs >= 0)
        np.copyto(lows, np.rint(lows * per_step) * steps, where=spans_zero)
        scaled = rows - lows[:, None]
        scaled *= per_step[:, None]
        scaled += 0.5
        return scaled.astype(np.uint8).reshape(values.shape), lows, steps


def _restore(levels: Levels, lows: FloatArray, steps: FloatArray) -> FloatArray:
    each = (-1, *[1] * (levels.ndim - 1))
    values = levels.astype(np.float32)
    values *= steps.reshape(each)
    values += lows.reshape(each)
    return values


def _checked(arrays: Sequence[Array], first: Shape, shape: Shape) -> Sequence[Array]:
    """``arrays``, the first of them of shape ``first``; BadTensor where a level is not finite."""
    check_tensors(arrays, [("uint8", first), *[("float32", shape[:1])] * 2])
    _, lows, steps = arrays
    with np.errstate(over="ignore"):
        highs = lows + 255 * steps
    if not np.isfinite(highs).all():
        raise BadTensor("steps so large that values are not finite")
    return arrays


def _compress(levels: Levels) -> Levels:
    from zstandard import ZstdCompressor  # noqa: PLC0415 - only who uses it needs it

    return np.frombuffer(ZstdCompressor(level=ZSTD_LEVEL).compress(levels.data), np.uint8)


def _frame_shape(arrays: Sequence[Array], shape: Shape) -> Shape:
    """Of the frame, which has a length of its own; BadTensor for more than ``shape`` can need."""
    size, nbytes = prod(shape), arrays[0].nbytes if arrays else 0
    if nbytes > size + size // 256 + 64:  # at least ZSTD_COMPRESSBOUND
        raise BadTensor(f"a frame of {nbytes} bytes for {size} values")
    return (nbytes,)


def _decompress(frame: Levels, shape: Shape) -> Levels:
    """Raises BadTensor for all but one whole frame of exactly ``shape``, before it is allocated."""
    from zstandard import ZstdDecompressor, ZstdError, frame_content_size  # noqa: PLC0415

    size = prod(shape)
    try:
        if (claimed := frame_content_size(frame.data)) != size:
            raise BadTensor(f"a frame of {claimed} values, expected {size}")
        decompressor = ZstdDecompressor(max_window_size=MOST_WINDOW_BYTES)
        found = decompressor.decompress(frame.data, allow_extra_data=False)
    except ZstdError as error:
        raise BadTensor(f"a frame does not decompress: {error}") from None
    if len(found) != size:
        raise BadTensor(f"a frame of {len(found)} values, expected {size}")
    return np.frombuffer(found, np.uint8).reshape(shape)
