"""What is to be played: one after another, or in processes side by side."""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import active_children, get_context

from adaptoff.agents.baselines import methods
from adaptoff.agents.episodes import Played, play_seed
from adaptoff.agents.method import Method
from adaptoff.envs.emulator import Source
from adaptoff.policy import Policy

Tell = Callable[[str, int], object]
"""hears what is played, and how many plays that are"""


@dataclass(frozen=True)
class Task:
    """Methods by name, native and the oracle, on one seed's fleets."""

    label: str
    source: Source
    seed: int
    rounds: int
    names: tuple[str, ...]

    @property
    def plays(self) -> int:
        """How many methods are played."""
        return len({"native", "oracle", *self.names})


def play_tasks(tasks: Sequence[Task], policy: Policy, jobs: int, tell: Tell) -> list[Played]:
    """What every task gives, in their order; the same with any number of ``jobs``."""
    return _side_by_side(tasks, policy, jobs, tell) if jobs > 1 else _in_turn(tasks, policy, tell)


def _in_turn(tasks: Sequence[Task], policy: Policy, tell: Tell) -> list[Played]:
    """Methods are kept: one that trains on a source need not do so for each seed."""

    @cache
    def made(names: tuple[str, ...]) -> list[Method]:
        return methods(names, policy)

    def played(task: Task) -> Played:
        def say(name: str) -> None:
            tell(f"{task.label}: {name}", 1)

        return play_seed(made(task.names), task.source, task.seed, task.rounds, say)

    return [played(task) for task in tasks]


def _side_by_side(tasks: Sequence[Task], policy: Policy, jobs: int, tell: Tell) -> list[Played]:
    # Threads of numeric libraries do not survive a fork; an interrupt is the parent's to handle.
    context, ignore = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(jobs, context, signal.signal, ignore) as pool:
        try:
            futures = {pool.submit(_play, task, policy): task for task in tasks}
            for done in as_completed(futures):
                done.result()
                tell(futures[done].label, futures[done].plays)
        except BaseException:
            for child in active_children():
                child.terminate()
            raise
    return [future.result() for future in futures]


def _play(task: Task, policy: Policy) -> Played:
    made = methods(task.names, policy)
    return play_seed(made, task.source, task.seed, task.rounds)
