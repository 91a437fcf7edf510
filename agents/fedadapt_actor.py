"""The network of FedAdapt's agent for NumPy, and its file: safetensors, nothing is unpickled."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from adaptoff.agents.fedadapt import GROUPS
from adaptoff.errors import PolicyError
from adaptoff.fleet import Floats
from adaptoff.policy import Layers

SIZES = (2 * GROUPS, 64, 32, GROUPS)
KIND = "fedadapt-1"
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Actor:
    """Layers (weight (n_in, n_out), bias (n_out,)), and what is known of their origin."""

    layers: Layers
    facts: dict[str, Any] = field(default_factory=dict)

    def __call__(self, state: Floats) -> Floats:
        """Shares (F, GROUPS) between 0 and 1 for states (F, 2 * GROUPS)."""
        x = state
        for weight, bias in self.layers[:-1]:
            x = np.tanh(x @ weight + bias)
        weight, bias = self.layers[-1]
        return (1 + np.tanh((x @ weight + bias) / 2)) / 2  # a sigmoid that cannot overflow


def save(actor: Actor, path: Path) -> None:
    """Write an actor."""
    pairs = enumerate(actor.layers)
    tensors = {f"{i}.{part}": v for i, both in pairs for part, v in zip(PARTS, both, strict=True)}
    save_file(tensors, path, {"kind": KIND, "facts": json.dumps(actor.facts, sort_keys=True)})


PARTS = ("weight", "bias")


def load(path: Path) -> Actor:
    """Read an actor; raises PolicyError naming file and field."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PolicyError(f"{path}: larger than the allowed {MAX_FILE_BYTES} bytes")
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(header.get("facts", "{}"))
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise PolicyError(f"{path}: not a FedAdapt agent: {error}") from None
    if header.get("kind") != KIND or not isinstance(facts, dict):
        raise PolicyError(f"{path}: field kind: must be {KIND}, with facts")
    return Actor([_layer(tensors, i, path) for i in range(len(SIZES) - 1)], facts)


def _layer(tensors: dict[str, Any], i: int, path: Path) -> tuple[Any, Any]:
    """One layer's weight and bias, checked."""
    shapes = (SIZES[i], SIZES[i + 1]), (SIZES[i + 1],)
    for part, shape in zip(PARTS, shapes, strict=True):
        value = tensors.get(f"{i}.{part}")
        typed = value is not None and value.shape == shape and value.dtype == np.float32
        if not typed or not np.isfinite(np.asarray(value)).all():
            raise PolicyError(f"{path}: field {i}.{part}: must be {shape} finite float32")
    return tensors[f"{i}.weight"], tensors[f"{i}.bias"]
