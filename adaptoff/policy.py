"""The frozen policy: a small MLP that scores candidate rows, as a safetensors file.

The file's header holds the schema of the observation, the feature names, where the policy comes
from, and a SHA-256 of the weights. Nothing in it is executed.
"""

import hashlib
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from adaptoff.errors import PolicyError
from adaptoff.fleet import Bools, Ints
from adaptoff.observation import FEATURES, SCHEMA, Observation

MAX_FILE_BYTES = 4 << 20
MASKED = np.float32(-1e8)
DEFAULT = "policy.safetensors"

Weights = npt.NDArray[np.float32]
Layers = list[tuple[Weights, Weights]]


@dataclass(frozen=True)
class Policy:
    """Layers (weight (n_in, n_out), bias (n_out,)) with tanh between, and their provenance."""

    layers: Layers
    provenance: dict[str, Any] = field(default_factory=dict)

    def scores(self, features: Observation, valid: Bools) -> Weights:
        """Scores (F, G, R) of features (F, G, R, N); an impossible row scores -1e8."""
        x: Weights = features
        for weight, bias in self.layers[:-1]:
            x = x @ weight
            x += bias
            np.tanh(x, out=x)
        weight, bias = self.layers[-1]
        return np.where(valid, (x @ weight + bias)[..., 0], MASKED)

    def choose(self, features: Observation, valid: Bools) -> Ints:
        """Index (F, G) of the row with the highest score."""
        return self.scores(features, valid).argmax(-1)


def save(policy: Policy, path: Path) -> None:
    """Write a policy; the same policy always gives the same bytes."""
    tensors: dict[str, Weights] = {}
    for i, (weight, bias) in enumerate(policy.layers):
        tensors |= {f"{i}.weight": weight, f"{i}.bias": bias}
    header = {
        "schema": str(SCHEMA),
        "features": json.dumps(FEATURES),
        "provenance": json.dumps(policy.provenance, sort_keys=True),
        "sha256": _digest(policy.layers),
    }
    path.write_bytes(_ordered(save_tensors(tensors, metadata=header)))


def _ordered(data: bytes) -> bytes:
    """The same file with its header's keys in order: the library writes them in any."""
    size = _header_bytes(data)
    text = json.dumps(json.loads(data[8:size]), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)  # tensors start at multiples of 8
    return len(text).to_bytes(8, "little") + text + data[size:]


def _header_bytes(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def default() -> Policy:
    """The policy that ships with the package."""
    return decode((resources.files("adaptoff.data") / DEFAULT).read_bytes(), DEFAULT)


def load(path: Path) -> Policy:
    """Read a policy; raises PolicyError naming file and field."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PolicyError(f"{path}: larger than the allowed {MAX_FILE_BYTES} bytes")
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from None


def decode(data: bytes, name: str) -> Policy:
    """A policy from its file's bytes; ``name`` is what an error calls it."""
    try:
        tensors = load_tensors(data)
        header = _header(data)
        provenance = json.loads(header.get("provenance", "{}"))
    except KeyError as error:  # what safetensors says of a type that NumPy lacks
        raise PolicyError(f"{name}: field dtype: must be float32, not {error}") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise PolicyError(f"{name}: not a policy file: {error}") from None
    _check(header.get("schema") == str(SCHEMA), name, "schema", f"{SCHEMA}")
    _check(header.get("features") == json.dumps(FEATURES), name, "features", "this version's")
    _check(isinstance(provenance, dict), name, "provenance", "a JSON object")
    layers = _layers(tensors, name)
    _check(header.get("sha256") == _digest(layers), name, "sha256", "the weights' own digest")
    return Policy(layers, provenance)


def _header(data: bytes) -> dict[str, str]:
    """The ``__metadata__`` of a safetensors file that its library has already validated."""
    header = json.loads(data[8 : _header_bytes(data)])
    return dict(header.get("__metadata__") or {})


def _layers(tensors: dict[str, Weights], name: str) -> Layers:
    layers, width = [], len(FEATURES)
    _check(len(tensors) % 2 == 0, name, "tensors", "a weight and a bias a layer")
    for i in range(len(tensors) // 2):
        weight, bias = tensors.get(f"{i}.weight"), tensors.get(f"{i}.bias")
        if weight is None or bias is None:
            raise PolicyError(f"{name}: field {i}.weight or {i}.bias: missing")
        fits = weight.ndim == 2 and weight.shape[0] == width and bias.shape == weight.shape[1:]
        _check(fits, name, f"{i}.weight", f"a shape ({width}, n) with a bias (n,)")
        typed = weight.dtype == bias.dtype == np.float32
        _check(typed, name, f"{i}.weight", "float32")
        finite = bool(np.isfinite(weight).all() and np.isfinite(bias).all())
        _check(finite, name, f"{i}.weight", "finite numbers")
        layers.append((weight, bias))
        width = weight.shape[1]
    _check(bool(layers) and width == 1, name, "last layer", "one output")
    return layers


def _check(fine: bool, name: str, what: str, allowed: str) -> None:
    if not fine:
        raise PolicyError(f"{name}: field {what}: must be {allowed}")


def _digest(layers: Layers) -> str:
    digest = hashlib.sha256()
    for weight, bias in layers:
        digest.update(np.ascontiguousarray(weight).tobytes())
        digest.update(np.ascontiguousarray(bias).tobytes())
    return digest.hexdigest()
