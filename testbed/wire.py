"""Frames <-> messages. Owns no socket.

A message is a msgpack header, ``Header``, followed by the raw bytes of its tensors. It is cut into
chunks; a chunk is one multipart of ``[envelope, part, ...]`` whose parts are slices of the message:

    chunk 0   [Data(seq, message, 0, ...),      header, tensor bytes...]
    chunk 1   [Data(seq+1, message, offset, ...), tensor bytes...]

The whole header is the first part of the first chunk, so that every size is known and checked
before anything is allocated. Tensors are never copied on the way out, and once on the way in.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from adaptoff.errors import BadTensor, Malformed, Oversize
from adaptoff.messages import AnyMessage, Struct, TensorSpec, Text

TYPE_CODE = {"float32": "<f4", "float16": "<f2", "int64": "<i8", "uint8": "|u1"}
"""NumPy code of each dtype that travels: little-endian"""
NAME = {np.dtype(code): name for name, code in TYPE_CODE.items()}
"""what NumPy takes microseconds to say"""

Array = NDArray[Any]
Buffer = bytes | memoryview
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Session = Annotated[int, Meta(ge=1, le=2**63 - 1)]
SinceFirst = Annotated[float, Meta(ge=0, le=1e9)]
"""seconds since the session's first message was queued"""
LEAST_BPS, MOST_BPS = 1.0, 1e13
LinkRate = Annotated[float, Meta(ge=LEAST_BPS, le=MOST_BPS)]


@dataclass(frozen=True)
class Limits:
    """What a peer may claim at most."""

    header_bytes: int = 1 << 20
    tensors: int = 256
    message_bytes: int = 256 << 20


class Header(Struct, frozen=True, array_like=True):
    """A message and the shapes of its tensors."""

    message: AnyMessage
    tensors: list[TensorSpec]


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """First frame of every multipart."""

    session: Session
    """of the sender: drawn at random when its link opens, it outlives a reconnect"""


class Data(Envelope, frozen=True, tag="d"):
    """A chunk follows."""

    seq: Count
    message: Count
    offset: Count
    header_bytes: Count
    total_bytes: Count
    """header and tensors"""
    queued_s: SinceFirst | None = None
    """when the message was queued; None where sending again begins: the arrival tells no rate"""


class Ack(Envelope, frozen=True, tag="a"):
    """All chunks below ``seq`` have arrived."""

    seq: Count
    message: Count | None = None
    """that became complete"""
    rate_bps: LinkRate | None = None
    """measured by dispersion, if that message made enough bytes for it"""
    spread_bytes: Count = 0
    """that the rate was measured with"""


class Beat(Envelope, frozen=True, tag="b"):
    """The sender's application is alive."""


class Drop(Envelope, frozen=True, tag="x"):
    """The sender has no state for the receiver, or gives it up."""

    reason: Text


AnyEnvelope = Data | Ack | Beat | Drop

_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(Header)
_envelope_decoder: msgspec.msgpack.Decoder[AnyEnvelope] = msgspec.msgpack.Decoder(AnyEnvelope)


@dataclass(frozen=True)
class Encoded:
    """A message ready to be cut: its parts are the header and one view per tensor."""

    header_bytes: int
    total_bytes: int
    parts: list[memoryview]

    def cut(self, offset: int, nbytes: int) -> list[memoryview]:
        """Views of ``nbytes`` from ``offset`` on; nothing is copied."""
        views = []
        for part in self.parts:
            view = part[offset : offset + nbytes]
            offset = max(0, offset - len(part))
            nbytes -= len(view)
            if len(view):
                views.append(view)
        return views


def encode(
    message: AnyMessage, arrays: Iterable[Array] = (), limits: Limits | None = None
) -> Encoded:
    """Header and views of ``arrays``; C-contiguous little-endian arrays are not copied.

    The arrays must not change until the message was acknowledged. Raises BadTensor for a dtype that
    does not travel and Oversize for what the peer would refuse.
    """
    tensors = [_contiguous(array) for array in arrays]
    specs = [TensorSpec(dtype=cast(Any, NAME[a.dtype]), shape=list(a.shape)) for a in tensors]
    header = _encoder.encode(Header(message=message, tensors=specs))
    total_bytes = len(header) + sum(a.nbytes for a in tensors)
    _check_size(len(header), total_bytes, limits or Limits())
    _check_specs(specs, total_bytes - len(header), limits or Limits())
    return Encoded(len(header), total_bytes, [memoryview(header), *(_flat(a) for a in tensors)])


def encode_envelope(envelope: AnyEnvelope) -> bytes:
    """First frame of a multipart."""
    return _encoder.encode(envelope)


def decode_envelope(frame: Buffer) -> AnyEnvelope:
    """Raises Malformed for anything but one whole envelope."""
    try:
        return _envelope_decoder.decode(frame)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"envelope: {error}") from None


def decode_header(frame: Buffer, tensor_bytes: int, limits: Limits) -> Header:
    """Header of a message with ``tensor_bytes`` of tensors; raises Malformed or Oversize."""
    try:
        header = _header_decoder.decode(frame)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"header: {error}") from None
    _check_specs(header.tensors, tensor_bytes, limits)
    return header


class Assembly:
    """An incoming message: checked and allocated by its first chunk, then filled in order."""

    def __init__(self, first: Data, parts: Sequence[Buffer], limits: Limits) -> None:
        """Raises Malformed or Oversize before anything is allocated."""
        _check_size(first.header_bytes, first.total_bytes, limits)
        if first.offset != 0 or not parts or len(parts[0]) != first.header_bytes:
            raise Malformed("the first part of a message must be its whole header")
        header = decode_header(parts[0], first.total_bytes - first.header_bytes, limits)
        self.first = first
        self.message = header.message
        self.arrays: list[Array] = [np.empty(s.shape, TYPE_CODE[s.dtype]) for s in header.tensors]
        self.filled_bytes = first.header_bytes
        self._free = [_flat(array) for array in reversed(self.arrays) if array.nbytes]
        self._fill(parts[1:])

    @property
    def complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self.filled_bytes == self.first.total_bytes

    def add(self, data: Data, parts: Sequence[Buffer]) -> None:
        """Fill with the next chunk; raises Malformed where it does not fit."""
        want = (self.first.message, self.first.header_bytes, self.first.total_bytes)
        if (data.message, data.header_bytes, data.total_bytes) != want:
            raise Malformed("a chunk of another message")
        if data.offset != self.filled_bytes:
            raise Malformed(f"chunk at byte {data.offset}, not {self.filled_bytes}")
        if not any(len(part) for part in parts):
            raise Malformed("an empty chunk")
        self._fill(parts)

    def _fill(self, parts: Sequence[Buffer]) -> None:
        nbytes = sum(len(part) for part in parts)
        if nbytes > self.first.total_bytes - self.filled_bytes:
            raise Malformed("more bytes than the message has")
        for part in parts:
            self._copy(memoryview(part))
        self.filled_bytes += nbytes

    def _copy(self, source: memoryview) -> None:
        while len(source):
            target = self._free.pop()
            count = min(len(target), len(source))
            target[:count] = source[:count]
            source = source[count:]
            if count < len(target):
                self._free.append(target[count:])


def check_tensors(
    arrays: Sequence[Array],
    expected: Sequence[tuple[str, tuple[int, ...]]],
    finite: bool = True,
) -> None:
    """Raise BadTensor unless dtypes and shapes are as ``expected`` and, if asked, values finite."""
    got = [(array.dtype.name, array.shape) for array in arrays]
    if got != list(expected):
        raise BadTensor(f"tensors {got}, expected {list(expected)}")
    for index, array in enumerate(arrays):
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadTensor(f"tensor {index} is not finite")


def _contiguous(array: Array) -> Array:
    if array.dtype in NAME:
        return np.asarray(array, order="C")
    if array.dtype.name not in TYPE_CODE:
        raise BadTensor(f"dtype {array.dtype}, allowed: {', '.join(TYPE_CODE)}")
    return np.asarray(array, dtype=TYPE_CODE[array.dtype.name], order="C")


def _flat(array: Array) -> memoryview:
    return memoryview(cast(Any, array.reshape(-1).view(np.uint8)))


def _check_size(header_bytes: int, total_bytes: int, limits: Limits) -> None:
    if header_bytes > limits.header_bytes:
        raise Oversize(f"header of {header_bytes} bytes, allowed {limits.header_bytes}")
    if total_bytes > limits.message_bytes:
        raise Oversize(f"message of {total_bytes} bytes, allowed {limits.message_bytes}")
    if not 0 < header_bytes <= total_bytes:
        raise Malformed(f"header of {header_bytes} in a message of {total_bytes} bytes")


def _check_specs(specs: Sequence[TensorSpec], tensor_bytes: int, limits: Limits) -> None:
    if len(specs) > limits.tensors:
        raise Oversize(f"{len(specs)} tensors, allowed {limits.tensors}")
    for spec in specs:
        # NumPy refuses a shape whose product overflows even where another dimension is 0
        if math.prod(max(1, size) for size in spec.shape) > limits.message_bytes:
            raise Oversize(f"tensor of shape {spec.shape}")
    claimed = sum(np.dtype(TYPE_CODE[s.dtype]).itemsize * math.prod(s.shape) for s in specs)
    if claimed != tensor_bytes:
        raise Malformed(f"tensors of {claimed} bytes, message has {tensor_bytes}")
