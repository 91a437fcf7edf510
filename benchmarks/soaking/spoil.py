"""Figures that no server should send, and policy files that nobody should use."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from adaptoff import policy
from adaptoff.messages import GONE, FleetFigures
from adaptoff.policy import Policy
from benchmarks.soaking.server import Spoil

BAD = (float("nan"), float("inf"), float("-inf"), -1.0)
TELEMETRY = (
    "device_s", "uplink_s", "server_s", "total_s", "up_bps", "down_bps", "temp_c", "energy_j",
)  # fmt: skip


def figures(rng: np.random.Generator) -> Spoil:
    """One kind of wrong figures."""
    bad = float(rng.choice(BAD))
    kinds: list[Callable[[FleetFigures], FleetFigures]] = [
        lambda f: _telemetry(f, str(rng.choice(TELEMETRY)), float(rng.choice(BAD))),
        lambda f: _telemetry(f, "device", 200),
        lambda f: _telemetry(f, "cut", 63),
        lambda f: _prior(f, rng, bad),
        lambda f: replace(f, prior={k: v for k, v in f.prior.items() if k != "speed"}),
        lambda f: replace(f, prior={k: v[:0] for k, v in f.prior.items()}),
        lambda f: replace(f, clusters=[GONE] * len(f.clusters)),
        lambda f: replace(f, clusters=[]),
        lambda f: replace(f, telemetry=[]),
        lambda f: replace(f, server_speed=bad),
        lambda f: replace(f, round_s=bad),
    ]
    return kinds[rng.integers(len(kinds))]


def _telemetry(at: FleetFigures, name: str, value: Any) -> FleetFigures:  # noqa: ANN401
    return replace(at, telemetry=[replace(t, **{name: value}) for t in at.telemetry])


def _prior(at: FleetFigures, rng: np.random.Generator, value: float) -> FleetFigures:
    name = str(rng.choice(sorted(at.prior)))
    return replace(at, prior={**at.prior, name: [value] * len(at.prior[name])})


def good(path: Path) -> bytes:
    """The policy that ships; ``path`` is for a file that is used in between."""
    return _encoded(policy.default(), path)


def silly(rng: np.random.Generator, path: Path) -> bytes:
    """A well-formed policy that likes rows at random."""
    layers = [
        (rng.standard_normal(w.shape).astype(np.float32), b) for w, b in policy.default().layers
    ]
    return _encoded(Policy(layers), path)


def broken(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes of no policy: corrupt, truncated, of another schema, or nothing like one."""
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:size])
    header["__metadata__"]["schema"] = "0"
    text = json.dumps(header).encode()
    at = int(rng.integers(size, len(data)))
    kinds = [
        data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :],
        data[: int(rng.integers(0, len(data)))],
        len(text).to_bytes(8, "little") + text + data[size:],
        rng.bytes(1000),
        b"",
    ]
    return kinds[rng.integers(len(kinds))]


def _encoded(of: Policy, path: Path) -> bytes:
    policy.save(of, path)
    return path.read_bytes()
