"""How to get figures again: what was run, with what, on which fleets and traces."""

import platform
import shlex
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import numpy as np

from adaptoff import __version__
from adaptoff import policy as policies
from adaptoff.agents.results import Json
from adaptoff.envs.trials import TraceTrial
from adaptoff.fleet import Floats
from adaptoff.policy import Policy


def provenance(seeds: Sequence[int], rounds: int, episodes: int) -> Json:
    """Of any evaluation."""
    return {
        "command": shlex.join(["adaptoff", *sys.argv[1:]]),
        "versions": {
            "adaptoff": __version__,
            "numpy": version("numpy"),
            "python": platform.python_version(),
        },
        "seeds": list(seeds),
        "rounds": rounds,
        "episodes": episodes,
    }


def policy_facts(policy: Policy, name: str) -> Json:
    """Which policy it was: the digest of its file, and what that says of its origin."""
    shipped = resources.files("adaptoff.data") / policies.DEFAULT
    file = shipped if name == "default" else Path(name)
    origin = {key: value for key, value in policy.provenance.items() if key != "evaluation"}
    return {"name": name, "sha256": sha256(file.read_bytes()).hexdigest(), "origin": origin}


def traces_of(trial: TraceTrial, seeds: Sequence[int]) -> list[Json]:
    """The trace files that these seeds draw, and how: links, range of factors, uplink/downlink."""
    drawn = [(trial.draw(seed)[0].active, trial.replay(seed)) for seed in seeds]
    file, factor, ratio = (
        np.concatenate([getattr(replay, name)[active] for active, replay in drawn])
        for name in ("file", "factor", "up_over_down")
    )
    return [
        {
            "file": trial.traces.files[number].name,
            "links": int((file == number).sum()),
            "factor": [float(f"{end:.4g}") for end in _ends(factor[file == number])],
            "up_over_down": float(f"{ratio[file == number][0]:.4g}"),
        }
        for number in np.unique(file).tolist()
    ]


def _ends(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())
