"""One episode round by round: what a method decided, and the links and heat that it met."""

from collections.abc import Sequence

import numpy as np

from adaptoff.agents.cases import Case
from adaptoff.agents.episodes import Played
from adaptoff.agents.method import Method, play_round
from adaptoff.agents.results import Json
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.fleet import Conditions, Fleet, Outcome

Seen = tuple[Conditions, Outcome]


def busiest(played: Sequence[Played], name: str) -> tuple[int, int]:
    """Class and fleet of the episode in which a method changed its rows most often."""
    changes = [each[name].changes for each in played]
    where = int(np.argmax([values.max() for values in changes]))
    return where, int(changes[where].argmax())


def timeline(case: Case, method: Method, seed: int, number: int, played: Played) -> Json:
    """The episode of one fleet of the class, played again."""
    episode = Episode(backend := EmulatedFleet(case.source))
    episode.reset(seed)
    method.reset(backend, seed)
    seen = [(backend.truth(), play_round(method, episode).outcome) for _ in range(case.rounds)]
    fleet, active = backend.fleet, backend.fleet.active[number]
    shown = [name for name in ("native", method.name, "oracle") if name in played]
    return {
        "class": case.name,
        "seed": seed,
        "fleet": number,
        "method": method.name,
        "energy_weight": float(fleet.energy_weight[number]),
        "heat_limit_c": float(fleet.heat_limit_c[number]),
        "native_cut": int(fleet.cut[number].max()),
        "round_s": {name: played[name].rounds_s[:, number].tolist() for name in shown},
        "clusters": [_cluster(fleet, seen, (number, i)) for i in np.flatnonzero(active).tolist()],
    }


def _cluster(fleet: Fleet, seen: Sequence[Seen], at: tuple[int, int]) -> Json:
    """Rates are the true ones, rows those applied; lists are by round."""
    return {
        "devices": int(fleet.count[at]),
        "top_opp": int(fleet.n_opps[at]) - 1,
        "cut": [int(fleet.cut[at[0], outcome.way[at]]) for _, outcome in seen],
        "opp": [int(outcome.opp[at]) for _, outcome in seen],
        "up_mbps": [float(true.up_bps[at]) / 1e6 for true, _ in seen],
        "down_mbps": [float(true.down_bps[at]) / 1e6 for true, _ in seen],
        "temp_c": [float(outcome.temp_c[at]) for _, outcome in seen],
    }
