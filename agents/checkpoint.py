"""Checkpoints of training: safetensors and JSON, so that loading one runs nothing.

One is taken between two legs (``TrainConfig.leg``): after an update, when an episode begins. It
holds all that training goes on from, so that a training that is stopped and resumed, with the same
settings and versions on the same machine, gives the same bits as one that was not: weights, Adam's
moments, torch's random state (minibatches, choices), the steps done, from which the learning rate
and the fleets of the next episode follow, and how the policy was judged so far.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from adaptoff.agents.settings import TrainConfig
from adaptoff.errors import PolicyError
from adaptoff.observation import FEATURES, SCHEMA

PACKAGES = ("adaptoff", "numpy", "torch", "stable-baselines3", "gymnasium")
MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name (policy., optimizer., rng) and what is known of their origin."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    @staticmethod
    def of(model: BaseAlgorithm, config: TrainConfig, **more: Any) -> "Checkpoint":  # noqa: ANN401
        """A copy of the state of a model in training; ``more`` facts are kept with it."""
        tensors = {f"policy.{k}": v for k, v in model.policy.state_dict().items()}
        for i, moments in model.policy.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
        tensors["rng"] = torch.get_rng_state()
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        facts = {"config": asdict(config), "steps": model.num_timesteps, "versions": versions()}
        return Checkpoint(copies, facts | more)

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors below ``name``."""
        return {k[len(name) + 1 :]: v for k, v in self.tensors.items() if k.startswith(f"{name}.")}


@cache
def versions() -> Mapping[str, str]:
    """Of everything that the weights depend on."""
    return {name: version(name) for name in PACKAGES}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all."""
    header = {
        "schema": str(SCHEMA),
        "features": json.dumps(FEATURES),
        "facts": json.dumps(checkpoint.facts, sort_keys=True),
    }
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    unfinished = path.with_suffix(".part")
    save_file(tensors, unfinished, header)
    unfinished.replace(path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; raises PolicyError naming the file."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PolicyError(f"{path}: larger than the allowed {MAX_FILE_BYTES} bytes")
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(header.get("facts", "null"))
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror or error}") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: not a checkpoint: {error}") from None
    if header.get("schema") != str(SCHEMA) or header.get("features") != json.dumps(FEATURES):
        raise PolicyError(f"{path}: field schema: must be {SCHEMA}, with this version's features")
    _check(path, facts)
    return Checkpoint(tensors, facts)


def _check(path: Path, facts: object) -> None:
    kinds = {"steps": int, "config": dict, "versions": dict, "validation": dict}
    if not isinstance(facts, dict) or not all(
        isinstance(facts.get(name), kind) for name, kind in kinds.items()
    ):
        raise PolicyError(f"{path}: field facts: must hold {', '.join(kinds)}")


def restore(model: PPO, path: Path) -> Checkpoint:
    """Put a checkpoint into a fresh model, and return it; raises PolicyError."""
    saved = load(path)
    try:
        model.policy.load_state_dict(saved.part("policy"))
        optimizer = model.policy.optimizer.state_dict()
        optimizer["state"] = _moments(saved.part("optimizer"))
        model.policy.optimizer.load_state_dict(optimizer)
        torch.set_rng_state(saved.tensors["rng"])
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).split("\n", 1)[0]
        raise PolicyError(f"{path}: does not fit this version's network: {reason}") from None
    model.num_timesteps = saved.facts["steps"]
    return saved


def _moments(flat: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    return state
