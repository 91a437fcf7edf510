"""The wire: golden bytes, round trips, and everything that a peer can get wrong.

``python tests/testbed/test_wire.py --write`` writes the golden bytes anew.
"""

import contextlib
import sys
import tracemalloc
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptoff import messages as m
from adaptoff import scenario as sc
from adaptoff.errors import BadTensor, Malformed, Oversize, WireError
from adaptoff.profile import Cut, Profile
from adaptoff.testbed import wire
from adaptoff.testbed.wire import Assembly, Data, Limits, check_tensors, encode

GOLDEN = Path(__file__).parents[1] / "golden"
LIMITS = Limits()

ROW = m.Row(cut=2, opp=1)
TELEMETRY = m.Telemetry(
    device=3, round=7, cut=2, opp=1, opp_left=0, samples=400, device_s=1.5, uplink_s=0.5,
    server_s=0.25, downlink_s=0.125, sync_s=0.0625, total_s=2.4375, up_bps=2e7, down_bps=None,
    temp_c=48.5, temp_source="measured", energy_j=12.75, energy_source="modelled",
)  # fmt: skip
FIGURES = m.FleetFigures(
    epoch=1, round=7, clusters=[0, 0, 1], telemetry=[TELEMETRY, TELEMETRY],
    prior={"speed": [0.5, 0.25]}, round_s=2.5, server_speed=1.0,
)  # fmt: skip
DECISION = m.Decision(device=3, round=8, row=ROW, source="policy")
SCENARIO = sc.Scenario(
    name="golden",
    boards={"pi": sc.Board(speed=0.25, opps=[sc.Opp(mhz=1500, relative_speed=1, dynamic_w=4)])},
    links={"wifi": sc.Link(steps=[sc.Step(up_mbps=20, down_mbps=40)])},
    devices=[sc.Devices(board="pi", link="wifi", count=3)],
)
PROFILE = Profile("tiny", 50, "golden", [Cut(n, *[1.0] * 6) for n in ("all-server", "native")])
WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(5, dtype=np.int64)]
BATCH = [np.full((2, 2), 0.5, dtype=np.float32), np.array([1, 2], dtype=np.uint8)]

MESSAGES = {
    "hello": (m.Hello(protocol=m.PROTOCOL, version="0.1.0", role="device", device=3), []),
    "welcome": (m.Welcome(scenario=SCENARIO, profile=PROFILE, dilation=1.5, paced=True), []),
    "reset": (m.Reset(command=1, seed=1, restart=True), []),
    "run-round": (m.RunRound(command=2, rows=[ROW]), []),
    "run-round-each": (m.RunRound(command=2, each=[ROW, ROW]), []),
    "round-start": (m.RoundStart(round=8, seed=1, row=None, figures=FIGURES), []),
    "decision": (DECISION, []),
    "weights": (m.Weights(round=8, cut=2), WEIGHTS),
    "activations": (m.Activations(round=8, batch=0), BATCH),
    "gradient": (m.Gradient(round=8, batch=0, server_s=0.5), BATCH[:1]),
    "round-done": (m.RoundDone(round=8, cut=2), WEIGHTS),
    "report": (m.Report(telemetry=TELEMETRY), []),
    "round-report": (
        m.RoundReport(
            command=2, round=8, round_s=2.5, telemetry=[TELEMETRY], late=[1], decisions=[DECISION],
            figures=FIGURES, accuracy=0.5, valid=True,
        ),
        [],
    ),
    "new-policy": (m.NewPolicy(sha256="0" * 64), [np.arange(5, dtype=np.uint8)]),
    "policy-answer": (m.PolicyAnswer(sha256="0" * 64, refused="field schema"), []),
    "use-policy": (m.UsePolicy(sha256="0" * 64), []),
    "fault": (m.Fault(reason="out of memory", command=2), []),
    "bye": (m.Bye(), []),
}  # fmt: skip
ENVELOPES = {
    "data": Data(9, 3, 1, 65536, 40, 100_000),
    "ack": wire.Ack(9, 4, 1, 2e7),
    "beat": wire.Beat(9),
    "drop": wire.Drop(9, "unknown session"),
}


def flat(encoded):
    return b"".join(encoded.parts)


def golden():
    """File name -> bytes of every message and envelope."""
    files = {f"message-{name}.bin": flat(encode(*pair)) for name, pair in MESSAGES.items()}
    return files | {f"envelope-{n}.bin": wire.encode_envelope(e) for n, e in ENVELOPES.items()}


def announce(encoded, offset=0, **changes):
    fields = {"header_bytes": encoded.header_bytes, "total_bytes": encoded.total_bytes} | changes
    return Data(1, 0, 0, offset, **fields)


def assemble(encoded, chunk_bytes, limits=LIMITS):
    nbytes = max(chunk_bytes, encoded.header_bytes)
    assembly = Assembly(announce(encoded), encoded.cut(0, nbytes), limits)
    while not assembly.complete:
        offset = assembly.filled_bytes
        assembly.add(announce(encoded, offset), encoded.cut(offset, chunk_bytes))
    return assembly


@pytest.mark.parametrize("name", sorted(golden()))
def test_golden_bytes(name):
    assert (GOLDEN / name).read_bytes() == golden()[name]


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_golden_bytes_decode(name):
    message, arrays = MESSAGES[name]
    data = memoryview((GOLDEN / f"message-{name}.bin").read_bytes())
    header_bytes = encode(message, arrays).header_bytes
    first = Data(1, 0, 0, 0, header_bytes, len(data))
    assembly = Assembly(first, [data[:header_bytes], data[header_bytes:]], LIMITS)
    assert assembly.complete
    assert assembly.message == message
    for got, sent in zip(assembly.arrays, arrays, strict=True):
        np.testing.assert_array_equal(got, sent)
        assert got.dtype == sent.dtype


def test_every_message_kind_is_golden():
    assert {type(message) for message, _ in MESSAGES.values()} == set(m.AnyMessage.__args__)


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=list(ENVELOPES))
def test_envelopes_round_trip(envelope):
    assert wire.decode_envelope(wire.encode_envelope(envelope)) == envelope


SHAPES = st.lists(st.integers(0, 4), max_size=4)
DTYPES = st.sampled_from(sorted(wire.TYPE_CODE))


@given(st.lists(st.tuples(DTYPES, SHAPES), max_size=5), st.integers(1, 400))
def test_any_tensors_survive_any_chunking(specs, chunk_bytes):
    rng = np.random.default_rng(0)
    sent = [rng.integers(0, 200, size=shape).astype(dtype) for dtype, shape in specs]
    got = assemble(encode(m.Bye(), sent), chunk_bytes).arrays
    check_tensors(got, [(a.dtype.name, a.shape) for a in sent])
    assert all(np.array_equal(a, b) for a, b in zip(got, sent, strict=True))


def test_contiguous_arrays_are_not_copied():
    array = np.zeros((10, 10), dtype=np.float32)
    part = encode(m.Bye(), [array]).parts[1]
    array[0, 0] = 1.0
    assert np.frombuffer(part, dtype=np.float32)[0] == 1.0


@pytest.mark.parametrize(
    "array",
    [np.arange(12, dtype=np.float32).reshape(3, 4).T, np.arange(3, dtype=">f4")],
    ids=["transposed", "big-endian"],
)
def test_other_layouts_are_converted(array):
    (got,) = assemble(encode(m.Bye(), [array]), 1000).arrays
    assert np.array_equal(got, array)
    assert got.dtype.newbyteorder("<") == np.dtype("<f4")


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", "object", "complex64"])
def test_other_dtypes_do_not_travel(dtype):
    with pytest.raises(BadTensor, match="allowed: float32"):
        encode(m.Bye(), [np.zeros(2, dtype=dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", ">f2", ">i8"])
def test_dtypes_that_travel(dtype):
    sent = np.arange(6, dtype=dtype).reshape(2, 3)
    (got,) = assemble(encode(m.Bye(), [sent]), 1000).arrays
    assert got.dtype == sent.dtype.newbyteorder("<")
    assert np.array_equal(got, sent)


def test_read_only_arrays_travel():
    array = np.arange(3, dtype=np.int64)
    array.flags.writeable = False
    assert np.array_equal(assemble(encode(m.Bye(), [array]), 1000).arrays[0], array)


# --- what a peer can get wrong

MESSAGE = encode(m.Weights(round=1, cut=1), [np.ones((3, 4), dtype=np.float32)])


@pytest.mark.parametrize("cut_bytes", range(MESSAGE.header_bytes))
def test_truncated_headers(cut_bytes):
    header = bytes(MESSAGE.parts[0][:cut_bytes])
    first = announce(MESSAGE, header_bytes=cut_bytes, total_bytes=cut_bytes + 48)
    with pytest.raises(Malformed):
        Assembly(first, [header, bytes(48)], LIMITS)


def test_rows_by_cluster_and_by_device_are_too_many():
    with pytest.raises(ValueError, match="not both"):
        m.RunRound(command=1, rows=[ROW], each=[ROW])
    row = {"cut": 2, "opp": 1}
    fields = {"type": "run-round", "command": 1, "rows": [row], "each": [row]}
    with pytest.raises(Malformed, match="not both"):
        wire.decode_header(msgspec.msgpack.encode([fields, []]), 0, LIMITS)


def test_trailing_header_bytes():
    header = bytes(MESSAGE.parts[0]) + b"\0"
    first = announce(MESSAGE, header_bytes=len(header), total_bytes=len(header) + 48)
    with pytest.raises(Malformed, match="trailing"):
        Assembly(first, [header, bytes(48)], LIMITS)


def test_trailing_tensor_bytes():
    with pytest.raises(Malformed, match="more bytes"):
        Assembly(announce(MESSAGE), [*MESSAGE.parts, b"\0"], LIMITS)


def test_sizes_that_do_not_add_up():
    claimed = announce(MESSAGE, total_bytes=MESSAGE.total_bytes + 4)
    with pytest.raises(Malformed, match="tensors of 48 bytes"):
        Assembly(claimed, [*MESSAGE.parts, bytes(4)], LIMITS)


@pytest.mark.parametrize(
    "changes",
    [{"header_bytes": 0}, {"header_bytes": 10}, {"total_bytes": 1}, {"offset": 4}],
    ids=str,
)
def test_announcements_that_do_not_fit(changes):
    with pytest.raises(Malformed):
        Assembly(msgspec.structs.replace(announce(MESSAGE), **changes), MESSAGE.parts, LIMITS)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"message": 1}, [bytes(8)]),
        ({"offset": 5}, [bytes(8)]),
        ({"total_bytes": 90}, [bytes(8)]),
        ({}, []),
        ({}, [b""]),
        ({}, [bytes(49)]),
    ],
)
def test_following_chunks_that_do_not_fit(changes, parts):
    assembly = Assembly(announce(MESSAGE), MESSAGE.parts[:1], LIMITS)
    follow = msgspec.structs.replace(announce(MESSAGE, MESSAGE.header_bytes), **changes)
    with pytest.raises(Malformed):
        assembly.add(follow, parts)


def claim(shape, dtype="float32"):
    spec = m.TensorSpec(dtype=dtype, shape=shape)
    return msgspec.msgpack.encode(wire.Header(message=m.Bye(), tensors=[spec]))


@pytest.mark.parametrize("shape", [[2**31 - 1] * 8, [2**28], [0, *[2**31 - 1] * 3], [2**26]])
def test_oversize_claims_allocate_nothing(shape):
    header = claim(shape)
    tensor_bytes = 4 * int(np.prod([int(s) for s in shape], dtype=object))
    first = Data(1, 0, 0, 0, len(header), min(len(header) + tensor_bytes, 2**63 - 1))
    tracemalloc.start()
    try:
        with pytest.raises(Oversize):
            Assembly(first, [header], LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "limits",
    [Limits(header_bytes=10), Limits(tensors=0), Limits(message_bytes=50)],
    ids=["header", "tensors", "message"],
)
def test_bounds_hold_on_both_sides(limits):
    with pytest.raises(Oversize):
        Assembly(announce(MESSAGE), MESSAGE.parts, limits)
    with pytest.raises(Oversize):
        encode(m.Weights(round=1, cut=1), [np.ones((3, 4), dtype=np.float32)], limits)


def bad_header(**changes):
    fields = {"type": "weights", "round": 1, "cut": 1} | changes
    return msgspec.msgpack.encode([fields, []])


def nested(depth):
    return b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize(
    "header",
    [
        bad_header(type="no-such-kind"),
        bad_header(cut=64),
        bad_header(round=-1),
        bad_header(round="1"),
        bad_header(extra=1),
        msgspec.msgpack.encode([{"type": "bye"}]),
        msgspec.msgpack.encode([{"type": "bye"}, [["float64", [1]]]]),
        msgspec.msgpack.encode([{"type": "bye"}, [["float32", [-1]]]]),
        msgspec.msgpack.encode([{"type": "bye"}, [["float32", [1] * 9]]]),
        b"\x92\x81\xa4type\xa3\xff\xfe\xfd\x90",
        b"\x92\xdf\xff\xff\xff\xff\x90",
        b"\x92\xdb\xff\xff\xff\xff\x90",
        nested(100_000),
        b"\x92" + nested(100_000),
        b"\x92\x82\xa5extra" + nested(100_000),
    ],
)
def test_wrong_headers(header):
    with pytest.raises(Malformed):
        wire.decode_header(header, 0, LIMITS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("field", ["device_s", "up_bps", "temp_c", "energy_j"])
def test_telemetry_out_of_range(field, value):
    bad = msgspec.structs.replace(TELEMETRY, **{field: value if field != "temp_c" else value - 99})
    with pytest.raises(Malformed):
        wire.decode_header(encode(m.Report(telemetry=bad)).parts[0], 0, LIMITS)


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", nested(100_000), b"\x92\xa1b\x00", b"\x92\xa1z\x01"]
)
def test_wrong_envelopes(frame):
    with pytest.raises(Malformed):
        wire.decode_envelope(frame)


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_junk_gives_typed_errors_only(junk, total_bytes):
    first = Data(1, 0, 0, 0, len(junk), total_bytes)
    for attempt in (lambda: wire.decode_envelope(junk), lambda: Assembly(first, [junk], LIMITS)):
        with contextlib.suppress(WireError):  # any other exception fails the test
            attempt()


@given(st.data())
def test_damaged_messages_give_typed_errors_only(data):
    message, arrays = data.draw(st.sampled_from(list(MESSAGES.values())))
    encoded = encode(message, arrays)
    header = bytearray(encoded.parts[0])
    for _ in range(data.draw(st.integers(1, 4))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):  # any other exception fails the test
        Assembly(announce(encoded), [bytes(header), *encoded.parts[1:]], LIMITS)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[1.0, np.nan]], dtype=np.float32), "not finite"),
        (np.array([[1.0, -np.inf]], dtype=np.float32), "not finite"),
        (np.ones((2, 1), dtype=np.float32), "expected"),
        (np.ones((1, 2), dtype=np.int64), "expected"),
    ],
)
def test_check_tensors_refuses(array, reason):
    with pytest.raises(BadTensor, match=reason):
        check_tensors([array], [("float32", (1, 2))])


def test_check_tensors_accepts_what_is_asked():
    nan = np.array([np.nan], dtype=np.float32)
    check_tensors([nan], [("float32", (1,))], finite=False)
    with pytest.raises(BadTensor):
        check_tensors([], [("float32", (1,))])


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(f"usage: {sys.argv[0]} --write")
    for name, content in golden().items():
        (GOLDEN / name).write_bytes(content)
