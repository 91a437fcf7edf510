"""FedAdapt's agent: groups, state, action, reward, training, file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from adaptoff.agents import baselines, fedadapt_actor, fedadapt_train
from adaptoff.agents.fedadapt import (
    FAST,
    POOL1_SHARE,
    SLOW,
    FedAdapt,
    FedAdaptConstant,
    failed,
    nearest,
    observe,
    reward,
    share_of,
    slow_and_fast,
)  # fmt: skip
from adaptoff.agents.fedadapt_actor import Actor
from adaptoff.agents.fedadapt_ppo import STD, Credit, Learner, returns
from adaptoff.agents.fedadapt_train import ROUNDS, TrainedHere, train_fedadapt
from adaptoff.agents.method import play
from adaptoff.config import find_profile
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.errors import InputError, PolicyError
from adaptoff.fleet import Fleet, Rows
from tests.agents.steady import backend_of, small_fleet, state_of


@pytest.fixture
def fleet(profile, scenario) -> Fleet:
    """Shares of the work: 0, 0.25, 0.625 and 1 at cuts 0 to 3."""
    return small_fleet(profile, scenario)


def wide(fleet: Fleet, clusters: int, **changes) -> Fleet:
    """The slow cluster ``clusters`` times over."""
    copies = {
        name: np.repeat(values[:, :1], clusters, 1)
        for name, values in vars(fleet).items()
        if values.shape[:2] == fleet.shape
    }
    # Columns of the DNN are (F, C), which here never equals (F, G).
    return replace(fleet, **(copies | changes))


@pytest.mark.parametrize(
    ("share", "cut"),
    [(-1.0, 1), (0.0, 1), (0.4, 1), (0.43, 1), (0.45, 2), (0.8, 2), (0.9, 3), (1.0, 3), (9.0, 3)],
)
def test_an_action_is_mapped_to_the_cut_of_nearest_work(fleet, share, cut) -> None:
    for lowest_cut in (0, 1):  # cut 0 is no choice of FedAdapt's
        free = replace(fleet, min_cut=np.array([lowest_cut]))
        rows = nearest(free, np.full(free.shape, share))
        assert rows.way.tolist() == [[cut, cut]]
        assert rows.opp.tolist() == [[1, 2]]


def test_mapped_cuts_keep_to_min_cut_and_memory(fleet) -> None:
    some = np.full(fleet.shape, 0.1)
    limited = replace(fleet, min_cut=np.array([2]))
    assert nearest(limited, some).way.tolist() == [[2, 2]]
    tight = replace(fleet, memory_limit_bytes=np.array([[1.0, 1e12]]))
    assert nearest(tight, some).way.tolist() == [[3, 1]]


def test_of_cuts_with_equal_work_the_later_is_taken(fleet) -> None:
    same = replace(fleet, device_work_s=np.array([[[0.0, 1.0, 1.0, 2.0]] * 2]))
    assert nearest(same, np.full(same.shape, 0.4)).way.tolist() == [[2, 2]]


def test_groups_are_the_two_means_of_the_devices(fleet) -> None:
    four = wide(fleet, 4)
    groups = slow_and_fast(four, np.array([[9.0, 1.0, 10.0, 2.0]]))
    assert groups.tolist() == [[SLOW, FAST, SLOW, FAST]]
    seconds = np.array([[1.0, 5.0, 8.0, 8.0]])
    assert slow_and_fast(four, seconds).tolist() == [[FAST, SLOW, SLOW, SLOW]]
    # Many devices pull a mean to them, and a padded cluster none.
    crowd = replace(four, count=np.array([[30.0, 30.0, 1.0, 1.0]]))
    assert slow_and_fast(crowd, seconds).tolist() == [[FAST, SLOW, SLOW, SLOW]]
    crowd = replace(four, count=np.array([[1.0, 1.0, 90.0, 90.0]]))
    assert slow_and_fast(crowd, np.array([[5.0, 4.0, 6.0, 8.0]])).tolist()[0][3] == SLOW
    padded = replace(four, active=np.array([[True, True, True, False]]))
    groups = slow_and_fast(padded, np.array([[1.0, 2.0, 5.0, 1000.0]]))
    assert groups[0, :3].tolist() == [FAST, FAST, SLOW]
    assert slow_and_fast(wide(fleet, 1), np.array([[3.0]])).tolist() == [[SLOW]]


def test_the_state_is_of_each_group_s_slowest_device(fleet) -> None:
    three = wide(fleet, 3)
    seconds, share = np.array([[4.0, 6.0, 1.0]]), np.array([[0.3, 0.6, 1.0]])
    state = observe(three, np.array([[SLOW, SLOW, FAST]]), seconds, share)
    assert state.tolist() == [[6.0, 1.0, 0.0, 0.6, 1.0, 1.0]]
    padded = replace(three, active=np.array([[True, False, True]]))
    state = observe(padded, np.array([[SLOW, SLOW, FAST]]), seconds, share)
    assert state.tolist() == [[4.0, 1.0, 0.0, 0.3, 1.0, 1.0]]


def test_each_group_has_its_own_action_and_slow_links_are_a_group(fleet) -> None:
    shown = []

    def act(state):
        shown.append(state)
        return np.array([[0.0, 1.0, 0.6]])

    agent, state = FedAdapt(act), state_of(fleet)
    agent.reset(None, 0)
    assert agent.choose(fleet, state).way.tolist() == [[1, 3]]
    # Native took the slow board 0.04 / 0.1 s a batch, the fast one 0.04 s.
    np.testing.assert_allclose(shown[0], [[0.4, 0.04, 0.0, 1.0, 1.0, 1.0]])
    thin = replace(state, up_bps=np.array([[4.9e6, 5.1e6]]))
    assert agent.choose(fleet, thin).way.tolist() == [[2, 3]]
    np.testing.assert_allclose(shown[1], [[0.0, 0.04, 0.4, 1.0, 1.0, 1.0]])


def test_the_agent_sees_seconds_per_iteration_without_the_weights(fleet) -> None:
    agent, backend = FedAdapt(lambda _: np.array([[0.6, 1.0, 1.0]])), backend_of(fleet)
    seen = play(agent, backend, 0, 1)[0].outcome
    np.testing.assert_allclose(agent.seconds * 4, seen.total_s - seen.sync_s)
    assert agent.seconds[0, 0] < agent.baseline_s[0, 0]


def test_the_reward_sums_relative_gains_and_losses_of_devices(fleet) -> None:
    baseline, seconds = np.array([[4.0, 1.0]]), np.array([[1.0, 2.0]])
    assert reward(fleet, seconds, baseline).tolist() == [0.75 - 0.5]
    many = replace(fleet, count=np.array([[3.0, 2.0]]))
    assert reward(many, seconds, baseline).tolist() == [3 * 0.75 - 2 * 0.5]
    padded = replace(fleet, active=np.array([[True, False]]))
    assert reward(padded, seconds, baseline).tolist() == [0.75]


def test_an_episode_fails_when_the_slowest_gains_nothing(fleet) -> None:
    baseline = np.array([[4.0, 1.0]])
    assert failed(fleet, np.array([[4.0, 0.5]]), baseline).all()
    assert failed(fleet, np.array([[1.0, 4.0]]), baseline).all()
    assert not failed(fleet, np.array([[3.9, 3.9]]), baseline).any()


def test_the_shipped_constant_is_pool1_of_vgg5_for_the_slow_group_alone(scenario) -> None:
    vgg5 = find_profile("vgg5")
    fleet = small_fleet(vgg5, scenario)
    names = [cut.name for cut in vgg5.cuts]
    device_s = vgg5.column("device_s", vgg5.batch_size)
    assert abs(device_s[names.index("pool1")] / device_s[-1] - POOL1_SHARE) < 0.02
    agent = FedAdaptConstant()
    done = play(agent, backend_of(fleet), 0, 4)
    assert {tuple(each.outcome.way[0]) for each in done} == {(names.index("pool1"), vgg5.native)}
    swapped = play(agent, backend_of(fleet, speed=[[1.0, 0.1]]), 0, 4)
    assert {tuple(each.outcome.way[0]) for each in swapped} == {(vgg5.native, names.index("pool1"))}


def test_other_dnns_are_cut_nearest_to_the_same_share(fleet) -> None:
    shares = share_of(fleet, Rows(np.array([[1, 2]]), np.zeros((1, 2), np.int64)))
    np.testing.assert_allclose(shares, [[0.25, 0.625]])
    agent = FedAdaptConstant()
    agent.reset(None, 0)
    assert agent.choose(fleet, state_of(fleet)).way.tolist() == [[1, 3]]


def test_returns_stop_at_an_episode_s_end_and_at_baseline_rounds() -> None:
    def credit(value: float, *, ended: bool = False, kept: bool = True) -> Credit:
        return Credit(np.array([value]), np.array([ended]), np.array([kept]))

    rounds = [credit(1), credit(2, ended=True), credit(9, kept=False), credit(3), credit(4)]
    np.testing.assert_allclose(returns(rounds)[:, 0], [1 + 0.9 * 2, 2, 0, 3 + 0.9 * 4, 4])


def test_the_deviation_holds_and_then_falls() -> None:
    learner = Learner(0)
    values = []
    for update in range(50):
        learner.set_std(update / 50)
        values.append(learner.std)
    np.testing.assert_allclose(values[:21], STD)
    np.testing.assert_allclose(values[-1], STD * 0.9**29)


def test_an_update_makes_rewarded_actions_likelier() -> None:
    learner = Learner(0)
    state = np.repeat([[1.0, 0.1, 0.0, 1.0, 1.0, 1.0]], 64, 0)
    before = learner.actor(torch.as_tensor(state[:1], dtype=torch.float32))[0]
    for _ in range(5):
        actions = learner.explore(state)
        ones = np.ones(64, bool)
        learner.improve([Credit(-actions[:, 0] + actions[:, 1], ones, ones)])
    after = learner.actor(torch.as_tensor(state[:1], dtype=torch.float32))[0]
    assert after[0] < before[0] - 0.1
    assert after[1] > before[1] + 0.1


def test_rounds_for_a_new_baseline_teach_nothing() -> None:
    learner = Learner(0)
    weights = [p.clone() for p in learner.actor.parameters()]
    learner.explore(np.ones((4, 6)))
    none = np.zeros(4, bool)
    learner.improve([Credit(np.arange(4.0), none, none)])
    assert all(torch.equal(a, b) for a, b in zip(weights, learner.actor.parameters(), strict=True))


@pytest.fixture(scope="module")
def trained(profile, scenario) -> FedAdapt:
    """On a slow and a fast device with quick links."""
    source = backend_of(small_fleet(profile, scenario)).source
    return train_fedadapt(source, 500, 1)


def test_it_learns_to_offload_the_slow_device(fleet, trained) -> None:
    backend = backend_of(fleet)
    mine, native = (
        np.mean([each.outcome.round_s for each in play(method, backend, 0, 10)])
        for method in (trained, baselines.native())
    )
    assert mine < 0.8 * native
    assert trained.act.facts == {"steps": 500, "seed": 1, "updates": 50}


def test_a_fleet_that_failed_runs_native_once_for_a_new_baseline(fleet) -> None:
    """Links so slow that to offload always fails."""
    backend = backend_of(fleet, up_bps=1e5, down_bps=1e5)
    agent = FedAdapt(lambda state: np.zeros((len(state), 3)))
    played = fedadapt_train._play(agent, backend, 0)
    credits_ = [next(played) for _ in range(6)]
    assert [bool(each.kept[0]) for each in credits_] == [True, False] * 3
    assert all(each.ended[0] for each in credits_[::2])
    np.testing.assert_allclose(agent.baseline_s, [[0.4, 0.04]])


def test_the_same_seed_trains_the_same_agent(profile, scenario) -> None:
    source = backend_of(small_fleet(profile, scenario)).source
    rng = torch.get_rng_state()
    first, again, other = (train_fedadapt(source, 30, seed).act for seed in (3, 3, 4))
    assert torch.equal(rng, torch.get_rng_state())
    for (a, b), (c, d), (e, _) in zip(first.layers, again.layers, other.layers, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
        assert not np.array_equal(a, e)
    with pytest.raises(InputError, match="steps = 0"):
        train_fedadapt(source, 0, 0)


def test_the_network_for_numpy_is_the_one_that_was_trained() -> None:
    learner = Learner(5)
    actor = Actor(fedadapt_train.layers_of(learner.actor.state_dict()))
    states = np.random.default_rng(0).uniform(-3, 30, (20, 6))
    with torch.no_grad():
        expected = learner.actor(torch.as_tensor(states, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(actor(states), expected, atol=1e-6)


def test_an_agent_survives_its_file(trained, fleet, tmp_path) -> None:
    path = tmp_path / "agent.safetensors"
    fedadapt_actor.save(trained.act, path)
    again = fedadapt_actor.load(path)
    assert again.facts == trained.act.facts
    states = np.random.default_rng(0).uniform(0, 2, (5, 6))
    np.testing.assert_array_equal(again(states), trained.act(states))
    [method] = baselines.methods([f"fedadapt:{path}"], None)
    first, second = (play(m, backend_of(fleet), 0, 3)[-1].outcome for m in (method, trained))
    assert first.way.tolist() == second.way.tolist()


def test_a_broken_file_is_refused(trained, tmp_path) -> None:
    path = tmp_path / "broken.safetensors"
    fedadapt_actor.save(trained.act, path)
    whole, tensors = path.read_bytes(), load_file(path)
    for data in (b"", b"nonsense", whole[:-5], b"\0" * ((1 << 20) + 1)):
        path.write_bytes(data)
        with pytest.raises(PolicyError, match="broken"):
            fedadapt_actor.load(path)
    header = {"kind": "fedadapt-1", "facts": json.dumps({})}
    for change in (
        {"0.weight": tensors["0.weight"][:3]},
        {"1.bias": tensors["1.bias"].astype(np.float64)},
        {"2.bias": np.full(3, np.nan, np.float32)},
    ):
        save_file(tensors | change, path, header)
        with pytest.raises(PolicyError, match=next(iter(change))):
            fedadapt_actor.load(path)
    save_file({k: v for k, v in tensors.items() if k != "2.weight"}, path, header)
    with pytest.raises(PolicyError, match=r"2\.weight"):
        fedadapt_actor.load(path)
    for wrong in ({"kind": "policy", "facts": "{}"}, {"kind": "fedadapt-1", "facts": "[]"}):
        save_file(tensors, path, wrong)
        with pytest.raises(PolicyError, match="kind"):
            fedadapt_actor.load(path)
    save_file(tensors, path, {"kind": "fedadapt-1", "facts": "{"})
    with pytest.raises(PolicyError, match="broken"):
        fedadapt_actor.load(path)


def test_it_trains_once_for_each_source_it_is_judged_on(fleet, monkeypatch) -> None:
    trainings = []

    def fake(source, steps, seed):
        trainings.append((source, steps, seed))
        return FedAdapt(lambda state: np.ones((len(state), 3)))

    monkeypatch.setattr(fedadapt_train, "train_fedadapt", fake)
    method, sources = TrainedHere(updates=3), [backend_of(fleet).source for _ in range(2)]
    for source in (sources[0], sources[0], sources[1]):
        done = play(method, EmulatedFleet(source), 0, 2)
        assert done[-1].outcome.way.tolist() == [[3, 3]]
    assert [each[0] for each in trainings] == sources
    assert trainings[0][1:] == (3 * ROUNDS, 0)
