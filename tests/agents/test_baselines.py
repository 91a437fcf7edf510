"""Methods by name, the simple ones, and those that know the episode's end."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from adaptoff import candidates, config
from adaptoff.agents import baselines, tuned
from adaptoff.agents.evaluate import evaluate
from adaptoff.agents.freeze import layers_of
from adaptoff.agents.method import Forgetful, Method, Stateless, play
from adaptoff.agents.scorer import make_actor
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.trials import DrawnTrial
from adaptoff.errors import InputError, PolicyError
from adaptoff.fleet import Fleet, FleetState, Floats, Outcome, Rows
from adaptoff.policy import Policy
from adaptoff.scenario import Workload
from tests.agents.steady import backend_of, small_fleet, state_of


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Untrained: it follows the cost model."""
    return Policy(layers_of(make_actor().state_dict()))


def mean_costs(method: Method, backend: EmulatedFleet, seed: int, rounds: int) -> Floats:
    return np.mean([done.cost for done in play(method, backend, seed, rounds)], 0)


def test_all_names_run_and_are_judged(policy) -> None:
    methods = baselines.methods(baselines.NAMES, policy)
    assert [method.name for method in methods] == list(baselines.NAMES)
    trained = next(method for method in methods if method.name == "fedadapt")
    trained.updates = 2
    figures = evaluate(methods, RandomFleets(8, 6), [5], 6)["methods"]
    assert list(figures) == list(baselines.NAMES)
    means = {name: each["cost"]["mean"] for name, each in figures.items()}
    assert np.isfinite(list(means.values())).all()
    assert means["oracle"] == min(means.values())
    assert means["planner-best"] <= min(means[name] for name in tuned.PLANNERS)
    assert means["best-constant"] < min(means["native"], means["random"])


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_method_takes_possible_rows_only(name, policy) -> None:
    [method] = baselines.methods([name], policy)
    if name == "fedadapt":
        method.updates = 1
    checked = Checked(method)
    play(checked, EmulatedFleet(RandomFleets(12, 4)), 3, 4)
    assert checked.rounds == 4


@dataclass
class Checked:
    """Another method, its rows looked up in the table."""

    inner: Method
    name: str = "checked"
    rounds: int = 0

    def reset(self, backend: EmulatedFleet, seed: int) -> None:
        self.inner.reset(backend, seed)

    def choose(self, fleet: Fleet, state: FleetState) -> Rows:
        rows, table = self.inner.choose(fleet, state), candidates.build(fleet, state)
        same = (table.rows.way == rows.way[..., None]) & (table.rows.opp == rows.opp[..., None])
        assert (same & table.valid).any(2).all()
        self.rounds += 1
        return rows

    def see(self, outcome: Outcome, cost: Floats) -> None:
        self.inner.see(outcome, cost)


def test_a_method_sees_what_it_caused() -> None:
    class Curious(Forgetful):
        name = "curious"
        seen: list[tuple[Outcome, Floats]] = []  # noqa: RUF012

        def choose(self, fleet: Fleet, state: FleetState) -> Rows:
            return Rows(fleet.native().way, np.zeros(fleet.shape, np.int64))

        def see(self, outcome: Outcome, cost: Floats) -> None:
            self.seen.append((outcome, cost))

    done = play(Curious(), EmulatedFleet(RandomFleets(3, 2)), 0, 2)
    assert len(Curious.seen) == 2
    for (outcome, cost), round_ in zip(Curious.seen, done, strict=True):
        assert outcome is round_.outcome
        assert cost is round_.cost
        assert cost.shape == (3,)
        assert (outcome.opp == 0).all()


@pytest.mark.parametrize("name", ["nonsense", "constant-1", "constant-1-x", "constant", ""])
def test_an_unknown_name_gets_the_allowed_ones_in_one_line(name, policy) -> None:
    with pytest.raises(InputError) as error:
        baselines.methods(["native", name], policy)
    text = str(error.value)
    assert text.startswith(f"method {name}: allowed: policy, native, ")
    assert all(known in text for known in baselines.NAMES)
    assert "\n" not in text


def test_a_missing_agent_file_is_named(policy, tmp_path) -> None:
    with pytest.raises(PolicyError, match="lost"):
        baselines.methods([f"fedadapt:{tmp_path / 'lost.safetensors'}"], policy)


def test_all_offload_keeps_to_min_cut_and_memory(profile, scenario) -> None:
    fleet = small_fleet(profile, scenario, min_cut=np.array([0]))
    rows = baselines.all_offload().choose(fleet, state_of(fleet))
    assert rows.way.tolist() == [[0, 0]]
    assert rows.opp.tolist() == [[1, 2]]
    fleet = small_fleet(profile, scenario, min_cut=np.array([1]))
    assert baselines.all_offload().choose(fleet, state_of(fleet)).way.tolist() == [[1, 1]]
    memory = np.array([[1e6, 9e6, 5e6, 5e6]])
    fleet = small_fleet(
        profile, scenario, memory_bytes=memory, memory_limit_bytes=np.array([[6e6, 6e7]])
    )
    assert baselines.all_offload().choose(fleet, state_of(fleet)).way.tolist() == [[2, 1]]


def test_a_constant_is_the_same_everywhere_as_far_as_possible(profile, scenario) -> None:
    fleet = small_fleet(profile, scenario)
    state = state_of(fleet)
    rows = baselines.constant(2, 2).choose(fleet, state)
    assert rows.way.tolist() == [[2, 2]]
    assert rows.opp.tolist() == [[1, 2]]  # the slow board has two OPPs
    rows = baselines.constant(0, 0).choose(fleet, state)  # below min_cut
    assert rows.way.tolist() == fleet.native().way.tolist()
    assert rows.opp.tolist() == fleet.native().opp.tolist()
    limited = small_fleet(profile, scenario, memory_limit_bytes=np.array([[1e6, 1e9]]))
    rows = baselines.constant(2, 0).choose(limited, state)
    assert rows.way.tolist() == [[3, 2]]
    assert rows.opp.tolist() == [[1, 0]]


def test_random_repeats_itself_with_the_same_seed() -> None:
    backend = EmulatedFleet(RandomFleets(16, 3))
    first, again, other = (
        [done.outcome.way for done in play(baselines.Random(), backend, 4, 3)] for _ in range(3)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, other)
    assert len({cut.tobytes() for cut in first}) == 3


def test_the_best_constant_is_the_cheapest_of_all_for_each_fleet() -> None:
    source = RandomFleets(10, 5, Limits(3, 5, 2))
    tried = [baselines.constant(*levers) for levers in product(range(5), range(2))]
    costs = np.array([mean_costs(m, EmulatedFleet(source), 8, 5) for m in tried])
    mine = mean_costs(baselines.best_constant(), EmulatedFleet(source), 8, 5)
    np.testing.assert_allclose(mine, costs.min(0))
    assert len(set(costs.argmin(0).tolist())) > 1
    assert mine.mean() < costs.mean(1).min()


def test_hindsight_is_taken_anew_for_each_seed() -> None:
    source = RandomFleets(10, 4, Limits(3, 5, 2))
    method, best = baselines.best_constant(), []
    for seed in (1, 2):
        mean_costs(method, EmulatedFleet(source), seed, 4)
        best.append(method.best)
    assert best[0].tolist() != best[1].tolist()


def test_the_best_planner_is_no_dearer_than_any_for_each_fleet() -> None:
    source = RandomFleets(10, 4, Limits(3, 5, 2))
    each = [Stateless(*item) for item in tuned.PLANNERS.items()]
    costs = np.array([mean_costs(m, EmulatedFleet(source), 3, 4) for m in each])
    [best] = baselines.methods(["planner-best"], None)
    np.testing.assert_allclose(mean_costs(best, EmulatedFleet(source), 3, 4), costs.min(0))


def test_the_oracle_sees_what_comes(profile, scenario) -> None:
    """Links that the estimates believe quick, and that are slow from the next round on."""
    fleet = small_fleet(profile, scenario)
    backend = backend_of(fleet)
    backend.source.later, backend.source.change = {"up_bps": 1e5, "down_bps": 1e5}, 1
    [oracle], [plan] = (baselines.methods([name], None) for name in ("oracle", "planner"))
    assert play(plan, backend, 0, 1)[0].outcome.way[0, 0] < 3
    assert play(oracle, backend, 0, 1)[0].outcome.way[0, 0] == 3


def test_constants_and_fedadapt_are_the_same_however_many_ways_there_are(policy) -> None:
    """A table of many ways has but the quickest of each cut: theirs need not be among them."""
    vgg5 = [config.find_profile("vgg5")]
    many = Workload(depths=(1, 2, 4), codecs=("float32", "uint8"))
    costs = {}
    for name in ("constant-2-9", "fedadapt-constant"):
        for work in (Workload(), many):
            [method] = baselines.methods([name], policy)
            backend = EmulatedFleet(DrawnTrial(vgg5, 4, 4, work=work))
            costs[name, work.depths] = mean_costs(method, backend, 0, 4)
        np.testing.assert_allclose(costs[name, (1, 2, 4)], costs[name, (1,)], rtol=1e-9)
    [best] = baselines.methods(["best-constant"], policy)
    backend = EmulatedFleet(DrawnTrial(vgg5, 4, 4, work=many))
    assert (mean_costs(best, backend, 0, 4) < costs["constant-2-9", (1,)]).all()
