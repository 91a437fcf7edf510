"""Figures of methods: their intervals, what they are paired with, what is counted."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import bootstrap

from adaptoff.agents import baselines, episodes
from adaptoff.agents.episodes import Episodes, changed, together, too_hot
from adaptoff.agents.evaluate import evaluate, figure, summary
from adaptoff.agents.freeze import layers_of
from adaptoff.agents.method import play
from adaptoff.agents.scorer import make_actor
from adaptoff.agents.statistics import interval
from adaptoff.agents.tasks import Task, play_tasks
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.errors import InputError
from adaptoff.policy import Policy

FIGURES = {
    "cost",
    "round_time_ratio",
    "energy_ratio",
    "heat_violation",
    "regret",
    "decision_changes",
}
SOURCE = RandomFleets(6, 5, Limits(2, 4, 2))


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Untrained: it follows the cost model."""
    return Policy(layers_of(make_actor().state_dict()))


def test_a_figure_is_the_mean_of_seeds_with_the_interval_over_them() -> None:
    found = figure([np.array([1.0, 3.0]), np.array([5.0, 7.0])])
    assert found["mean"] == 4.0
    assert found["ci95"] == [2.0, 6.0]  # two seeds of means 2 and 6: a quarter of draws is either
    low, high = found["ci95_episodes"]
    assert 1.0 <= low < 4.0 < high <= 7.0


def test_alike_seeds_of_unlike_episodes_have_a_narrow_interval() -> None:
    found = figure([np.array([0.0, 10.0])] * 5)
    assert found["ci95"] == [5.0, 5.0]
    low, high = found["ci95_episodes"]
    assert low < 3.0
    assert high > 7.0


def test_one_seed_is_judged_over_its_episodes_and_one_episode_not_at_all() -> None:
    found = figure([np.array([1.0, 2.0, 6.0])])
    assert found["ci95"] == found["ci95_episodes"]
    assert found["ci95"][0] < 3.0 < found["ci95"][1]
    assert figure([np.array([7.0])]) == {
        "mean": 7.0,
        "ci95": [None, None],
        "ci95_episodes": [None, None],
    }


def test_intervals_are_those_of_a_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).exponential(2.0, 60)
    rng = np.random.default_rng(4)
    known = bootstrap((values,), np.mean, method="percentile", random_state=rng)
    mine = interval(values)
    assert mine["mean"] == values.mean()
    np.testing.assert_allclose(mine["ci95"], known.confidence_interval, rtol=0.05)


def test_equal_values_lie_within_their_interval() -> None:
    for value in (0.1, 0.3, 1.0, 1 / 3):
        for n in (2, 3, 7, 50):
            found = interval(np.full(n, value))
            assert found["ci95"][0] <= found["mean"] <= found["ci95"][1]
            np.testing.assert_allclose(found["ci95"], value, rtol=1e-12)


def plays(cost: list[float], **others: list[float]) -> dict[str, Episodes]:
    """One seed: what native, oracle and others cost; all else is like native's."""
    same = {name: np.ones(len(cost)) for name in ("energy_j", "hot", "changes")}
    return {
        name: Episodes(cost=np.array(each), rounds_s=np.ones((3, len(cost))), **same)
        for name, each in {"native": cost, "oracle": cost, **others}.items()
    }


def test_a_policy_that_is_always_better_has_a_paired_interval_below_zero() -> None:
    """Though costs differ far more between episodes than between the methods."""
    rng = np.random.default_rng(0)
    seeds = []
    for _ in range(5):
        planner = rng.exponential(10.0, 8) + 1
        mine = planner * rng.uniform(0.9, 0.99, 8)
        seeds.append(plays([1.0] * 8, policy=mine, planner=planner))
    found = summary(seeds, ["native", "policy", "planner"])
    assert set(found["paired"]) == {"policy - native", "policy - planner"}
    pair = found["paired"]["policy - planner"]
    assert -0.1 < pair["ci95"][0] <= pair["mean"] <= pair["ci95"][1] < -0.01
    apart = [found["methods"][name]["cost"]["ci95"] for name in ("policy", "planner")]
    assert apart[0][1] > apart[1][0]


def test_a_paired_difference_is_the_mean_ratio_minus_one() -> None:
    seeds = [
        plays([1.0, 1.0], policy=[2.0, 6.0], planner=[4.0, 4.0]),
        plays([1.0, 1.0], policy=[4.0, 4.0], planner=[2.0, 2.0]),
    ]
    found = summary(seeds, ["policy", "planner"])
    assert found["paired"]["policy - planner"]["mean"] == 0.5
    assert found["paired"]["policy - planner"]["ci95"] == [0.0, 1.0]
    assert found["methods"]["policy"]["regret"]["mean"] == 3.0
    assert summary(seeds, ["planner", "native"])["paired"] == {}


def test_ratios_are_to_native_in_the_same_episode() -> None:
    played = plays([1.0, 1.0], mine=[1.0, 1.0])
    played["native"] = replace(
        played["native"],
        rounds_s=np.array([[2.0, 10.0], [4.0, 10.0]]),
        energy_j=np.array([5.0, 20.0]),
    )
    played["mine"] = replace(
        played["mine"],
        rounds_s=np.array([[3.0, 10.0], [0.0, 0.0]]),
        energy_j=np.array([10.0, 10.0]),
    )
    found = summary([played], ["mine"])["methods"]["mine"]
    assert found["round_time_ratio"]["mean"] == 0.5
    assert found["energy_ratio"]["mean"] == 1.25


def fleet(count: list[float], *, active: list[bool]) -> SimpleNamespace:
    return SimpleNamespace(
        count=np.array([count]), active=np.array([active]), heat_limit_c=np.array([60.0])
    )


def test_heat_is_counted_by_device_and_padding_does_not_count() -> None:
    seen = SimpleNamespace(temp_c=np.array([[61.0, 60.0, 99.0]]))
    found = too_hot(fleet([1.0, 3.0, 5.0], active=[True, True, False]), seen)
    assert found.tolist() == [0.25]


def test_changes_are_of_cut_or_clock_and_padding_does_not_count() -> None:
    before = SimpleNamespace(way=np.array([[1, 2, 3, 4]]), opp=np.array([[0, 0, 0, 0]]))
    after = SimpleNamespace(way=np.array([[1, 2, 4, 5]]), opp=np.array([[0, 1, 0, 0]]))
    found = changed(fleet([1.0] * 4, active=[True, True, True, False]), before, after)
    np.testing.assert_allclose(found, 2 / 3)


def test_evaluation_gives_all_figures_of_all_methods(policy) -> None:
    names = ["native", "policy", "planner", "random", "oracle"]
    result = evaluate(baselines.methods(names, policy), SOURCE, [1, 2, 3], 5)
    assert json.loads(json.dumps(result)) == result
    assert list(result["methods"]) == names
    for figures in result["methods"].values():
        assert set(figures) == FIGURES
        for each in figures.values():
            assert set(each) == {"mean", "ci95", "ci95_episodes"}
            assert each["ci95"][0] <= each["mean"] <= each["ci95"][1]
    native, oracle = result["methods"]["native"], result["methods"]["oracle"]
    assert native["round_time_ratio"] == native["energy_ratio"]
    assert native["energy_ratio"] == {"mean": 1.0, "ci95": [1.0, 1.0], "ci95_episodes": [1.0, 1.0]}
    assert oracle["regret"]["mean"] == 0.0
    assert result["methods"]["random"]["decision_changes"]["mean"] > 0.5
    assert set(result["paired"]) == {f"policy - {n}" for n in names if n != "policy"}
    assert result["paired"]["policy - random"]["ci95"][1] < 0
    assert result["provenance"]["episodes"] == 18
    assert set(result["provenance"]["versions"]) == {"adaptoff", "numpy", "python"}


def test_figures_are_those_of_the_rounds_as_played() -> None:
    played = episodes.play_seed([baselines.Random()], SOURCE, 4, 5)["random"]
    rounds = play(baselines.Random(), EmulatedFleet(SOURCE), 4, 5)
    np.testing.assert_array_equal(played.cost, np.mean([r.cost for r in rounds], 0))
    np.testing.assert_array_equal(played.rounds_s, [r.outcome.round_s for r in rounds])
    joules = np.mean([r.outcome.energy_j.sum(1) for r in rounds], 0)
    np.testing.assert_array_equal(played.energy_j, joules)


def test_each_method_is_played_once_a_seed(policy) -> None:
    told: list[str] = []
    made = baselines.methods(["oracle", "random", "native"], policy)
    played = episodes.play_seed(made, SOURCE, 1, 2, told.append)
    assert sorted(told) == ["native", "oracle", "random"]
    assert set(played) == set(told)


def test_sources_join_along_their_episodes() -> None:
    parts = [episodes.play_seed([], SOURCE, seed, 3) for seed in (1, 2)]
    both = together(parts)["native"]
    assert both.cost.shape == (12,)
    assert both.rounds_s.shape == (3, 12)
    np.testing.assert_array_equal(both.hot[6:], parts[1]["native"].hot)
    np.testing.assert_array_equal(both.rounds_s[:, :6], parts[0]["native"].rounds_s)


def test_processes_side_by_side_find_the_same(policy) -> None:
    def tasks() -> list[Task]:
        return [Task(f"seed {s}", SOURCE, s, 3, ("policy", "linucb", "random")) for s in (1, 2, 3)]

    told: list[tuple[str, int]] = []
    alone = play_tasks(tasks(), policy, 1, lambda *_: None)
    beside = play_tasks(tasks(), policy, 2, lambda *what: told.append(what))
    assert sorted(told) == [("seed 1", 5), ("seed 2", 5), ("seed 3", 5)]
    for one, other in zip(alone, beside, strict=True):
        assert set(one) == set(other) == {"native", "oracle", "policy", "linucb", "random"}
        for name, known in one.items():
            np.testing.assert_array_equal(known.cost, other[name].cost)
            np.testing.assert_array_equal(known.changes, other[name].changes)


def test_a_failure_in_another_process_is_told(policy, tmp_path) -> None:
    lost = Task("lost", SOURCE, 1, 2, (f"fedadapt:{tmp_path / 'lost.safetensors'}",))
    with pytest.raises(InputError, match="lost"):
        play_tasks([lost], policy, 2, lambda *_: None)


@pytest.mark.parametrize(("seeds", "rounds"), [([], 5), ([1], 0)])
def test_nothing_to_evaluate_is_refused(seeds, rounds, policy) -> None:
    with pytest.raises(InputError):
        evaluate(baselines.methods(["native"], policy), SOURCE, seeds, rounds)
