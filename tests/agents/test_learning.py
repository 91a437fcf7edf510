import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from adaptoff import candidates
from adaptoff import policy as policies
from adaptoff.agents import baselines, checkpoint
from adaptoff.agents.evaluate import evaluate, interval
from adaptoff.agents.freeze import freeze, layers_of
from adaptoff.agents.scorer import RowScorer, make_actor
from adaptoff.agents.train import TrainConfig, config_of, train
from adaptoff.envs.emulator import EmulatedFleet
from adaptoff.envs.episode import Episode
from adaptoff.envs.sampler import Limits, RandomFleets
from adaptoff.envs.vec_env import FleetVecEnv
from adaptoff.errors import InputError, PolicyError
from adaptoff.observation import FEATURES, observe
from adaptoff.policy import MASKED, Policy

TINY = TrainConfig(
    steps=256, n_fleets=8, rounds=8, n_steps=16, batch_size=64, clusters=2, cuts=4, opps=2
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(TINY, tmp_path_factory.mktemp("run"), progress=False)


def scorer(env: FleetVecEnv) -> RowScorer:
    torch.manual_seed(0)
    return RowScorer(env.observation_space, env.action_space, lambda _: 1e-3)


def fleets(n: int = 8) -> tuple[FleetVecEnv, dict[str, torch.Tensor]]:
    env = FleetVecEnv(EmulatedFleet(RandomFleets(n, 4, Limits(3, 5, 3))), 4)
    return env, {name: torch.as_tensor(value) for name, value in env.reset().items()}


def test_frozen_scores_are_the_networks() -> None:
    env, obs = fleets()
    model = scorer(env)
    with torch.no_grad():
        for weights in model.actor.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
        logits = model.logits(obs).numpy()
    frozen = Policy(layers_of(model.actor.state_dict()))
    table = env.episode.table
    scores = frozen.scores(env.episode.observe(), table.valid)
    possible = table.valid
    np.testing.assert_allclose(scores[possible], logits[possible], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scores[~possible], MASKED)


def test_impossible_rows_are_never_drawn() -> None:
    env, obs = fleets(64)
    model = scorer(env)
    for _ in range(20):
        actions = model(obs)[0].numpy()
        assert np.take_along_axis(env.episode.table.valid, actions[..., None], 2).all()


def test_an_absent_cluster_has_no_gradient() -> None:
    env, obs = fleets(64)
    model = scorer(env)
    absent = ~env.episode.fleet.active
    logits = model.logits(obs)
    logits.retain_grad()
    log_p = logits.log_softmax(-1)
    log_p.gather(2, log_p.argmax(-1)[..., None]).sum().backward()
    assert absent.any()
    assert (logits.grad[torch.as_tensor(absent)] == 0).all()
    assert (logits.grad[torch.as_tensor(~absent)] != 0).any()


def test_rollout_and_update_agree_on_log_probabilities() -> None:
    env, obs = fleets()
    model = scorer(env)
    actions, values, log_prob = model(obs)
    again = model.evaluate_actions(obs, actions.float())
    torch.testing.assert_close(again[0], values)
    torch.testing.assert_close(again[1], log_prob)
    torch.testing.assert_close(model.get_distribution(obs).log_prob(actions), log_prob)
    assert (again[2] >= 0).all()


def test_an_untrained_scorer_prefers_rows_predicted_to_be_cheap() -> None:
    cheap = np.zeros((1, 1, 2, len(FEATURES)), np.float32)
    cheap[0, 0, 1, FEATURES.index("cost_over_best_if_others_adapt")] = 1.0
    scores = Policy(layers_of(make_actor().state_dict())).scores(cheap, np.ones((1, 1, 2), bool))
    assert scores[0, 0, 0] > scores[0, 0, 1] + 3


def test_training_learns_without_help_of_the_prior(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("adaptoff.agents.scorer.PRIOR_SLOPE", 0.0)
    config = replace(TINY, steps=8192, n_fleets=32, learning_rate=3e-3, batch_size=256)
    source = RandomFleets(32, 8, config.limits)
    learnt = freeze(train(config, tmp_path, progress=False, source=source))
    blank = Policy(layers_of(make_actor().state_dict()))
    # Without the guard, which would hide what was not learnt.
    methods = [unguarded("learnt", learnt), unguarded("blank", blank), baselines.Random()]
    figures = evaluate(methods, source, [901, 902], 8)["methods"]
    regret = {name: value["regret"]["mean"] for name, value in figures.items()}
    assert regret["learnt"] < regret["blank"] / 4
    assert regret["learnt"] < regret["random"] / 4


def unguarded(name: str, policy: Policy) -> baselines.Method:
    def choose(fleet, state):
        table = candidates.build(fleet, state)
        return table.take(policy.choose(observe(fleet, state, table), table.valid))

    return baselines.Stateless(name, choose)


def test_a_frozen_policy_survives_its_file(trained, tmp_path) -> None:
    frozen = freeze(trained, {"regret": 0.5})
    assert frozen.provenance["steps"] == 256
    assert frozen.provenance["config"]["seed"] == 0
    assert frozen.provenance["evaluation"] == {"regret": 0.5}
    policies.save(frozen, tmp_path / "policy.safetensors")
    again = policies.load(tmp_path / "policy.safetensors")
    assert again.provenance == json.loads(json.dumps(frozen.provenance))
    for (a, b), (c, d) in zip(frozen.layers, again.layers, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_training_goes_on_from_a_checkpoint(trained, tmp_path) -> None:
    later = train(replace(TINY, steps=512), tmp_path, resume=trained, progress=False)
    before, after = checkpoint.load(trained), checkpoint.load(later)
    assert (before.facts["steps"], after.facts["steps"]) == (256, 512)
    steps = [saved.tensors["optimizer.0.step"].item() for saved in (before, after)]
    assert steps[1] == 2 * steps[0]
    with pytest.raises(InputError, match="nothing left"):
        train(TINY, tmp_path, resume=trained, progress=False)


def test_the_same_seed_trains_the_same_policy(trained, tmp_path) -> None:
    again = freeze(train(TINY, tmp_path, progress=False))
    for (a, _), (b, _) in zip(freeze(trained).layers, again.layers, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_broken_checkpoint_is_refused(trained, tmp_path) -> None:
    path = tmp_path / "broken.safetensors"
    with pytest.raises(PolicyError, match="broken"):
        freeze(path)
    for data in (b"", b"not a checkpoint", trained.read_bytes()[:-9]):
        path.write_bytes(data)
        with pytest.raises(PolicyError, match="broken"):
            freeze(path)
    saved = checkpoint.load(trained)
    save_file(saved.tensors, path, {"schema": "0"})
    with pytest.raises(PolicyError, match="schema"):
        freeze(path)
    lacking = {k: v for k, v in saved.tensors.items() if "actor.0" not in k}
    checkpoint.save(path, checkpoint.Checkpoint(lacking, saved.facts))
    with pytest.raises(PolicyError, match="network"):
        freeze(path)
    with pytest.raises(PolicyError, match="network"):
        train(replace(TINY, steps=512), tmp_path, resume=path, progress=False)


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"gamma": 1.5}, {"batch_size": 4096}, {"nonsense": 1}]
)
def test_wrong_hyper_parameters_are_named(bad) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        config_of(bad)


def test_evaluation_compares_all_methods_on_the_same_fleets() -> None:
    source = RandomFleets(24, 6, Limits(2, 4, 2))
    names = ["native", "planner", "random", "oracle", "constant-1-0"]
    methods = baselines.methods(names, policies.default())
    result = evaluate(methods, source, [1, 2], 6)
    json.dumps(result)
    figures = result["methods"]
    assert figures["native"]["round_time_ratio"]["mean"] == 1.0
    assert figures["oracle"]["regret"]["mean"] == 0.0
    assert figures["planner"]["regret"]["mean"] < figures["random"]["regret"]["mean"]
    assert result["provenance"]["episodes"] == 48
    for figure in figures["planner"].values():
        assert figure["ci95"][0] <= figure["mean"] <= figure["ci95"][1]
    with pytest.raises(InputError, match="nonsense"):
        baselines.methods(["nonsense"], policies.default())
    with pytest.raises(InputError):
        evaluate(methods, source, [], 6)


def test_a_bootstrap_interval_covers_the_mean() -> None:
    figure = interval(np.random.default_rng(0).normal(5.0, 1.0, 400))
    low, high = figure["ci95"]
    assert low < 5.0 < high
    assert high - low == pytest.approx(4 / 20, rel=0.3)


def test_the_shipped_policy_is_near_the_oracle() -> None:
    source = RandomFleets(96, 8)
    figures = evaluate([baselines.of_policy(policies.default())], source, [77], 8)["methods"]
    assert figures["policy"]["regret"]["mean"] < 0.08


def test_a_constant_is_held_to_what_each_cluster_can_do() -> None:
    episode = Episode(EmulatedFleet(RandomFleets(32, 4)))
    episode.reset(0)
    rows = baselines.constant(0, 0).choose(episode.fleet, episode.state)
    allowed = (episode.fleet.min_cut == 0)[:, None] & episode.fleet.active
    np.testing.assert_array_equal(rows.cut[allowed], 0)
    np.testing.assert_array_equal(rows.cut[~allowed], episode.fleet.native().cut[~allowed])
