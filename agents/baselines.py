"""Everything that can choose rows, by name, to compare the policy with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from adaptoff import candidates, controller
from adaptoff.agents import fedadapt_actor, tuned
from adaptoff.agents.bandit import LinUCB
from adaptoff.agents.fedadapt import FedAdapt, FedAdaptConstant
from adaptoff.agents.fedadapt_train import TrainedHere
from adaptoff.agents.heuristics import Threshold, Tiers
from adaptoff.agents.hindsight import Hindsight, Oracle
from adaptoff.agents.method import Forgetful, Method, Stateless, lowest, or_native, top_clock
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, FleetState, Ints, Rows
from adaptoff.policy import Policy


@dataclass
class Random(Forgetful):
    """A possible row of each cluster, uniformly."""

    name: str = "random"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """The same seed gives the same choices."""
        self._rng = np.random.default_rng([seed, 2])

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        table = candidates.build(fleet, state)
        return lowest(table, self._rng.random(len(table.options.way)))


def native() -> Method:
    """Classic federated learning at the fastest clock."""
    return Stateless("native", lambda fleet, _: fleet.native())


def all_offload() -> Method:
    """The lowest cut that each cluster may take, at its fastest clock."""

    def choose(fleet: Fleet, state: FleetState) -> Rows:
        table = top_clock(fleet, state)
        return lowest(table, table.options.way.astype(float))

    return Stateless("all-offload", choose)


def of_policy(policy: Policy, name: str = "policy") -> Method:
    """The frozen policy with its guard, as on a device."""
    return Stateless(name, lambda fleet, state: controller.decide(fleet, state, policy).rows)


def constant(cut: int, opp: int) -> Method:
    """The same cut and OPP everywhere and always, as far as each cluster can.

    Of several depths and codecs, the first of each.

    Where the cut is not possible it is native's; a cluster with fewer OPPs takes its fastest.
    """

    def choose(fleet: Fleet, state: FleetState) -> Rows:  # noqa: ARG001
        first = np.where((fleet.cut == cut).any(1), (fleet.cut == cut).argmax(1), fleet.n_ways - 1)
        return _everywhere(fleet, first[:, None], opp)

    return Stateless(f"constant-{cut}-{opp}", choose)


def _everywhere(fleet: Fleet, way: Ints, opp: int) -> Rows:
    """All clusters in a way (F, 1), as far as each can."""
    return or_native(
        fleet, Rows(np.broadcast_to(way, fleet.shape), np.minimum(opp, fleet.n_opps - 1))
    )


def best_constant() -> Method:
    """In hindsight, each fleet's cheapest constant row."""

    def options(fleet: Fleet) -> list[Method]:
        ways, opps = fleet.cut.shape[1], fleet.relative_speed.shape[2]
        return [
            Stateless(f"way {way}, OPP {opp}", partial(_constant_way, way, opp))
            for way, opp in product(range(ways), range(opps))
        ]

    return Hindsight("best-constant", options)


def _constant_way(way: int, opp: int, fleet: Fleet, state: FleetState) -> Rows:  # noqa: ARG001
    return _everywhere(fleet, np.minimum(way, fleet.n_ways - 1)[:, None], opp)


def best_planner() -> Method:
    """In hindsight, each fleet's cheapest planner."""
    return Hindsight(
        "planner-best", lambda _: [Stateless(*each) for each in tuned.PLANNERS.items()]
    )


MAKERS: dict[str, Callable[[], Method]] = {
    "native": native,
    "all-offload": all_offload,
    "random": Random,
    "best-constant": best_constant,
    "threshold": Threshold,
    "tiers": Tiers,
    "linucb": LinUCB,
    "fedadapt": TrainedHere,
    "fedadapt-constant": FedAdaptConstant,
    **{name: partial(Stateless, name, plan) for name, plan in tuned.PLANNERS.items()},
    "planner-best": best_planner,
    "oracle": Oracle,
}
NAMES = ("policy", *MAKERS)


def methods(names: Iterable[str], policy: Policy) -> list[Method]:
    """Methods by name; raises InputError.

    Beside ``NAMES``: ``constant-CUT-OPP``, and ``fedadapt:FILE`` for an agent trained before.
    """
    return [_method(name, policy) for name in names]


def _method(name: str, policy: Policy) -> Method:
    if name == "policy":
        return of_policy(policy)
    if name in MAKERS:
        return MAKERS[name]()
    if name.startswith("fedadapt:"):
        return FedAdapt(fedadapt_actor.load(Path(name.partition(":")[2])))
    head, *levers = name.split("-")
    if head == "constant" and len(levers) == 2 and all(part.isdecimal() for part in levers):
        return constant(int(levers[0]), int(levers[1]))
    raise InputError(f"method {name}: allowed: {', '.join(NAMES)}, constant-CUT-OPP, fedadapt:FILE")
