"""Codecs: what comes back is near, equal where it should be, and junk is refused unopened."""

from contextlib import suppress
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from adaptoff.errors import BadTensor
from adaptoff.messages import Activations
from adaptoff.profile import Codec
from adaptoff.testbed import codec, wire

zstandard = pytest.importorskip("zstandard", reason="the extra 'testbed' is not installed")

CODECS = get_args(Codec)
LOSSY = CODECS[1:]
QUANTISED = ("uint8", "uint8-zstd")
SHAPE = (5, 4, 6, 6)


def _normal(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _sparse(shape=(50, 8, 16, 16)):
    """Like gradients behind a pool: three of four are zero, samples differ a hundredfold."""
    rng = np.random.default_rng(1)
    scales = 10.0 ** rng.uniform(-6, -3, (shape[0], *[1] * (len(shape) - 1)))
    kept = rng.random(shape) < 0.25
    return (rng.standard_normal(shape) * scales * kept).astype(np.float32)


def _back(name, values):
    return codec.decode(name, codec.encode(name, values), values.shape)


@pytest.mark.parametrize("name", CODECS)
def test_what_travels_is_counted_and_fits_the_wire(name):
    parts = codec.encode(name, _normal())
    assert len(parts) == codec.n_arrays(name)
    assert wire.encode(Activations(round=0, batch=0), parts).total_bytes > sum(
        part.nbytes for part in parts
    )


def test_float32_is_not_copied():
    values = _normal()
    (travels,) = codec.encode("float32", values)
    assert travels is values
    assert codec.decode("float32", [values], SHAPE) is values


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("shape", [SHAPE, (7, 12), (1, 3, 9), (4,), (0, 3, 2)])
def test_shape_and_type_come_back(name, shape):
    found = _back(name, _normal(shape))
    assert found.shape == shape
    assert found.dtype == np.float32
    assert found.flags.writeable


@pytest.mark.parametrize(("name", "error"), [("float16", 1e-3), ("uint8", 1 / 254)])
def test_the_error_is_at_most_half_a_step(name, error):
    values = _normal()
    rows = values.reshape(len(values), -1)
    allowed = error * (rows.max(1) - rows.min(1)) * 0.501
    assert (np.abs(_back(name, values).reshape(rows.shape) - rows) <= allowed[:, None]).all()


@pytest.mark.parametrize("name", CODECS)
def test_zeros_stay_zero(name):
    values = _sparse()
    found = _back(name, values)
    assert not found[values == 0].any()
    assert found[np.abs(values) > np.abs(values).max() / 10].all()


def test_small_gradients_keep_their_precision_beside_large_ones():
    values = _sparse()
    smallest = np.abs(values).max(axis=(1, 2, 3)).argmin()
    wrong = _back("uint8", values)[smallest] - values[smallest]
    assert np.linalg.norm(wrong) < 0.02 * np.linalg.norm(values[smallest])


@pytest.mark.parametrize("name", CODECS)
def test_a_sample_becomes_the_same_in_any_micro_batch(name):
    values = _sparse((10, 4, 3, 3))
    parts = [_back(name, part) for part in np.array_split(values, 4)]
    np.testing.assert_array_equal(np.concatenate(parts), _back(name, values))


def test_compression_changes_nothing_and_saves():
    values = _sparse()
    plain, packed = (codec.encode(name, values) for name in QUANTISED)
    np.testing.assert_array_equal(_back("uint8", values), _back("uint8-zstd", values))
    assert packed[0].nbytes < 0.6 * plain[0].nbytes
    assert plain[0].nbytes == values.size


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("value", [0.0, 5.0, -1e-42, 3e38])
def test_a_sample_of_equal_values(name, value):
    values = np.full((2, 3), value, np.float32)
    np.testing.assert_allclose(_back(name, values), values, atol=1e-40)


@given(arrays_of.arrays(np.float32, (3, 7), elements=st.floats(-(2.0**120), 2.0**120, width=32)))
@settings(max_examples=200)
def test_whatever_is_finite_comes_back_within_half_a_step(values):
    levels, lows, steps = codec.encode("uint8", values)
    found = codec.decode("uint8", [levels, lows, steps], values.shape)
    rounding = 4e-7 * np.abs(values).max(axis=1)
    allowed = 0.502 * steps + rounding + 254 * np.finfo(np.float32).tiny
    assert (np.abs(found - values) <= allowed[:, None]).all()


def test_float16_clips_to_its_range():
    found = _back("float16", np.array([[1e6, -1e6, 1.0]], np.float32))
    np.testing.assert_array_equal(found, [[65504, -65504, 1]])


@pytest.mark.parametrize("name", CODECS)
def test_nan_is_refused_by_the_receiver(name):
    values = _normal()
    values[1, 2, 3, 4] = np.nan
    with pytest.raises(BadTensor, match="finite"):
        _back(name, values)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("shape", [(5, 4, 6, 7), (6, 4, 6, 6), (4, 5, 6, 6), (720,)])
def test_another_shape_is_refused(name, shape):
    with pytest.raises(BadTensor):
        codec.decode(name, codec.encode(name, _normal()), shape)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("other", CODECS)
def test_another_codec_is_refused(name, other):
    if name == other:
        return
    with pytest.raises(BadTensor):
        codec.decode(name, codec.encode(other, _normal()), SHAPE)


@pytest.mark.parametrize("name", CODECS)
def test_another_number_of_arrays_is_refused(name):
    parts = codec.encode(name, _normal())
    for wrong in ([], parts[:-1], [*parts, parts[0]]):
        with pytest.raises(BadTensor):
            codec.decode(name, wrong, SHAPE)


TOO_LARGE = 1.5e36
"""a step of which 255 are more than a float32 can hold"""


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize(
    ("which", "value"),
    [(which, value) for which in (1, 2) for value in (np.nan, np.inf, -np.inf)] + [(2, TOO_LARGE)],
)
def test_scales_that_yield_what_is_not_finite_are_refused(name, which, value):
    parts = codec.encode(name, _normal())
    parts[which][3] = value
    with pytest.raises(BadTensor, match="finite"):
        codec.decode(name, parts, SHAPE)


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("which", [1, 2])
def test_scales_of_another_type_or_number_are_refused(name, which):
    parts = codec.encode(name, _normal())
    for wrong in (parts[which].astype(np.float64), parts[which][:-1], parts[which][:1]):
        with pytest.raises(BadTensor):
            codec.decode(name, [*parts[:which], wrong, *parts[which + 1 :]], SHAPE)


def _frame(data, **parameters):
    return zstandard.ZstdCompressor(**parameters).compress(bytes(data))


SIZE = 5 * 4 * 6 * 6
FRAMES = {
    "nothing": b"",
    "no frame": bytes(40),
    "short by one": _frame(bytes(SIZE - 1)),
    "long by one": _frame(bytes(SIZE + 1)),
    "a bomb": _frame(bytes(1 << 26)),
    "unknown size": _frame(bytes(SIZE), write_content_size=False),
    "truncated": _frame(bytes(SIZE))[:-1],
    "a byte more": _frame(bytes(SIZE)) + b"x",
    "two frames": _frame(bytes(SIZE)) * 2,
    "skippable": bytes.fromhex("502a4d18") + SIZE.to_bytes(4, "little") + bytes(SIZE),
    "longer than needed": _frame(bytes(SIZE)) + bytes(2 * SIZE),
}


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_that_is_not_exactly_the_levels_is_refused(case):
    _, lows, steps = codec.encode("uint8-zstd", _normal())
    frame = np.frombuffer(FRAMES[case], np.uint8)
    with pytest.raises(BadTensor, match="frame"):
        codec.decode("uint8-zstd", [frame, lows, steps], SHAPE)


@pytest.mark.parametrize("claim", [SIZE, 1 << 62])
def test_a_frame_that_claims_what_it_does_not_hold_is_refused(claim):
    """The claim is the eight bytes behind magic number and descriptor."""
    blocks = _frame(bytes(100), write_content_size=False)[6:]
    forged = bytes.fromhex("28b52ffde0") + claim.to_bytes(8, "little") + blocks
    assert zstandard.frame_content_size(forged) == claim
    _, lows, steps = codec.encode("uint8-zstd", _normal())
    with pytest.raises(BadTensor, match="frame"):
        codec.decode("uint8-zstd", [np.frombuffer(forged, np.uint8), lows, steps], SHAPE)


@given(st.binary(max_size=300), st.integers(0, 299))
def test_junk_in_a_frame_never_gets_through_unseen(junk, place):
    frame, lows, steps = codec.encode("uint8-zstd", _normal())
    spoilt = bytes(frame[:place]) + junk + bytes(frame[place + len(junk) :])
    parts = [np.frombuffer(spoilt, np.uint8), lows, steps]
    with suppress(BadTensor):
        assert codec.decode("uint8-zstd", parts, SHAPE).shape == SHAPE


def test_the_longest_frame_of_incompressible_levels_is_accepted():
    values = _normal((40, 64, 64))
    np.testing.assert_array_equal(_back("uint8-zstd", values), _back("uint8", values))
