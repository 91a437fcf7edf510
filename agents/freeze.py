"""Checkpoint -> frozen policy: the actor's weights for NumPy, with where they come from."""

from pathlib import Path
from typing import Any

import numpy as np

from adaptoff.agents import checkpoint as checkpoints
from adaptoff.agents.scorer import make_actor
from adaptoff.errors import PolicyError
from adaptoff.policy import Layers, Policy


def freeze(checkpoint: Path, evaluation: dict[str, Any] | None = None) -> Policy:
    """The policy of a checkpoint; ``evaluation`` figures join its provenance.

    Raises PolicyError for a file that is no checkpoint or has another network.
    """
    saved = checkpoints.load(checkpoint)
    actor = make_actor()
    weights = {
        name.removeprefix("actor."): value
        for name, value in saved.part("policy").items()
        if name.startswith("actor.")
    }
    try:
        actor.load_state_dict(weights)
    except RuntimeError as error:
        raise PolicyError(f"{checkpoint}: not this version's network: {error}") from None
    provenance = {**saved.facts, "evaluation": evaluation or {}}
    return Policy(layers_of(actor.state_dict()), provenance)


def layers_of(state: dict[str, Any]) -> Layers:
    """(weight (n_in, n_out), bias (n_out,)) of each linear layer of a torch Sequential."""
    indices = sorted({int(name.split(".")[0]) for name in state})
    return [
        (
            np.ascontiguousarray(state[f"{i}.weight"].numpy().T),
            np.ascontiguousarray(state[f"{i}.bias"].numpy()),
        )
        for i in indices
    ]
