"""Everything that can choose rows, behind one interface, to compare the policy with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from adaptoff import candidates, controller, planner
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.errors import InputError
from adaptoff.fleet import Fleet, FleetState, Floats, Rows
from adaptoff.policy import Policy


class Method(Protocol):
    """Chooses the rows of the coming round; ``reset`` starts an episode."""

    name: str

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        """Start an episode on ``backend``; only an oracle looks into it later."""

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""


@dataclass
class Stateless:
    """A method that is a function of fleet and estimates."""

    name: str
    function: Callable[[Fleet, FleetState], Rows]

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        """Nothing to forget."""

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        return self.function(fleet, state)


@dataclass
class Random:
    """A possible row of each cluster, uniformly."""

    name: str = "random"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """The same seed gives the same choices."""
        self._rng = np.random.default_rng([seed, 2])

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        table = candidates.build(fleet, state)
        return table.take(
            np.where(table.valid, self._rng.random(table.valid.shape), -1.0).argmax(2)
        )


@dataclass
class Oracle:
    """Knows the true conditions of the coming round, searches from three starts; myopic in heat."""

    name: str = "oracle"

    def reset(self, backend: EmulatedFleet, seed: int) -> None:  # noqa: ARG002
        """Remember where the truth is."""
        self._backend = backend

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        """Rows (F, G)."""
        true = replace(state, **vars(self._backend.truth()))
        native = replace(true, cut=fleet.native().cut, opp=fleet.native().opp)
        guess = planner.plan(fleet, state)
        informed = replace(true, cut=guess.cut, opp=guess.opp)
        tries = [planner.plan(fleet, start) for start in (true, native, informed)]
        return cheapest(tries, [planner.joint_cost(fleet, true, rows) for rows in tries])


def cheapest(tries: list[Rows], costs: list[Floats]) -> Rows:
    """Of several rows (F, G), each fleet's with the lowest cost (F,)."""
    best = np.stack(costs).argmin(0)
    each = np.arange(len(best))
    cut, opp = (np.stack([getattr(rows, name) for rows in tries]) for name in ("cut", "opp"))
    return Rows(cut[best, each], opp[best, each])


def native() -> Method:
    """Classic federated learning at the fastest clock."""
    return Stateless("native", lambda fleet, _: fleet.native())


def plan() -> Method:
    """The planner, trusting the estimates."""
    return Stateless("planner", planner.plan)


def of_policy(policy: Policy, name: str = "policy") -> Method:
    """The frozen policy with its guard, as on a device."""
    return Stateless(name, lambda fleet, state: controller.decide(fleet, state, policy).rows)


def constant(cut: int, opp: int) -> Method:
    """The same cut and OPP everywhere and always, held to what each cluster can do."""

    def choose(fleet: Fleet, state: FleetState) -> Rows:
        table = candidates.build(fleet, state)
        wanted = (table.rows.cut == cut) & (table.rows.opp == opp) & table.valid
        possible = wanted.any(2)
        rows, fallback = table.take(wanted.argmax(2)), fleet.native()
        return Rows(
            np.where(possible, rows.cut, fallback.cut), np.where(possible, rows.opp, fallback.opp)
        )

    return Stateless(f"constant-{cut}-{opp}", choose)


def methods(names: Iterable[str], policy: Policy) -> list[Method]:
    """Methods by name; ``constant-C-K`` is cut C at OPP K. Raises InputError."""
    return [_method(name, policy) for name in names]


NAMES = ("native", "policy", "planner", "random", "oracle")


def _method(name: str, policy: Policy) -> Method:
    makers: dict[str, Callable[[], Method]] = {
        "native": native,
        "policy": lambda: of_policy(policy),
        "planner": plan,
        "random": Random,
        "oracle": Oracle,
    }
    if name in makers:
        return makers[name]()
    head, *levers = name.split("-")
    if head == "constant" and len(levers) == 2 and all(part.isdecimal() for part in levers):
        return constant(int(levers[0]), int(levers[1]))
    raise InputError(f"method {name}: allowed: {', '.join(NAMES)}, constant-CUT-OPP")
