import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaptoff import policy as policies
from adaptoff.agents import checkpoint
from adaptoff.agents.baselines import Random, of_policy
from adaptoff.agents.callbacks import BEST, LAST
from adaptoff.agents.evaluate import evaluate
from adaptoff.agents.freeze import freeze, layers_of
from adaptoff.agents.method import Method, Stateless
from adaptoff.agents.scorer import make_actor
from adaptoff.agents.settings import TrainConfig
from adaptoff.agents.train import Interrupted, train
from adaptoff.agents.validation import Judged, Validation
from adaptoff.commands import learn
from adaptoff.envs.sampler import RandomFleets
from adaptoff.errors import InputError, PolicyError
from adaptoff.foresight import foresee
from adaptoff.observation import observe
from adaptoff.policy import Policy

TINY = TrainConfig(
    steps=512, n_fleets=8, rounds=8, n_steps=16, batch_size=64, clusters=2, cuts=4, opps=2,
    checkpoint_every=1, evaluate_every=256, validation_fleets=4, validation_rounds=2,
)  # fmt: skip
LONG = replace(TINY, steps=768, rounds=32)
"""an episode of two updates, where TINY has an update of two episodes"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(TINY, tmp_path_factory.mktemp("run"), progress=False)


class Interrupting(RandomFleets):
    """As if Ctrl-C came while the fleets of an episode are drawn."""

    def __init__(self, config: TrainConfig, episodes: int) -> None:
        super().__init__(config.n_fleets, config.rounds, config.limits)
        self.left = episodes + 1  # one is drawn when the backend is made

    def draw(self, seed: int):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().draw(seed)


def judge(monkeypatch, *regrets: float) -> None:
    """Let the validations have these results."""
    left = iter(regrets)
    monkeypatch.setattr(Validation, "regret", lambda *_: next(left))


def steps_of(path) -> int:
    return checkpoint.load(path).facts["steps"]


def assert_same(one, other) -> None:
    one, other = checkpoint.load(one), checkpoint.load(other)
    assert one.facts == other.facts
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


@pytest.mark.parametrize(
    ("config", "episodes", "steps"), [(TINY, 2, 0), (TINY, 5, 256), (LONG, 2, 256)]
)
def test_a_resumed_training_gives_the_same_bits(tmp_path, config, episodes, steps) -> None:
    at_once, twice = tmp_path / "at once", tmp_path / "twice"
    train(config, at_once, progress=False)
    with pytest.raises(Interrupted) as caught:
        train(config, twice, progress=False, source=Interrupting(config, episodes))
    assert caught.value.checkpoint == twice / LAST
    assert steps_of(twice / LAST) == steps
    train(config, twice, resume=twice / LAST, progress=False)
    assert steps_of(at_once / LAST) == config.steps
    for name in (LAST, BEST):
        assert_same(at_once / name, twice / name)


def test_the_same_seed_gives_the_same_file(trained, tmp_path) -> None:
    again = train(TINY, tmp_path, progress=False)
    other = train(replace(TINY, seed=1), tmp_path / "other", progress=False)
    files = [tmp_path / str(i) for i in range(3)]
    for path, file in zip((trained, again, other), files, strict=True):
        policies.save(freeze(path), file)
    first, second, third = (file.read_bytes() for file in files)
    assert first == second
    assert first != third


def test_an_interrupt_before_the_first_leg_leaves_nothing(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        train(TINY, tmp_path, progress=False, source=Interrupting(TINY, 0))
    assert caught.type is KeyboardInterrupt
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_best_is_kept_and_patience_ends(tmp_path, monkeypatch) -> None:
    judge(monkeypatch, 0.5, 0.3, 0.4, 0.35)
    config = replace(TINY, steps=10_000, patience=2)
    best = train(config, tmp_path, progress=False)
    assert (steps_of(best), steps_of(tmp_path / LAST)) == (256, 768)
    judged = {"steps": 768, "regret": 0.35, "best_steps": 256, "best_regret": 0.3, "waited": 2}
    assert checkpoint.load(tmp_path / LAST).facts["validation"] == judged


def test_patience_counts_on_after_a_stop(tmp_path, monkeypatch) -> None:
    judge(monkeypatch, 0.5, 0.3, 0.4, 0.35)
    config = replace(TINY, steps=10_000, patience=2)
    with pytest.raises(Interrupted):
        train(config, tmp_path, progress=False, source=Interrupting(config, 9))
    assert checkpoint.load(tmp_path / LAST).facts["validation"]["waited"] == 1
    train(config, tmp_path, resume=tmp_path / LAST, progress=False)
    assert (steps_of(tmp_path / BEST), steps_of(tmp_path / LAST)) == (256, 768)


def test_training_ends_at_the_target(tmp_path, monkeypatch) -> None:
    judge(monkeypatch, 0.5, 0.06, 0.05)
    best = train(replace(TINY, steps=10_000, target_regret=0.05), tmp_path, progress=False)
    assert steps_of(best) == 512


def test_elsewhere_the_best_is_judged_anew(trained, tmp_path) -> None:
    config = replace(TINY, steps=1024)
    best = train(config, tmp_path, resume=trained.parent / LAST, progress=False)
    assert steps_of(best) >= 512
    assert steps_of(tmp_path / LAST) == 1024


def test_validation_is_evaluation(trained) -> None:
    validation, frozen = Validation.of(TINY), freeze(trained)
    regret = validation.regret(frozen)
    figures = evaluate([of_policy(frozen)], validation.source, [2**31], validation.rounds)
    assert regret == pytest.approx(figures["methods"]["policy"]["regret"]["mean"])
    assert frozen.provenance["validation"]["regret"] == regret


def test_judged_counts_what_came_since_the_best() -> None:
    judged = None
    for steps, regret in enumerate((0.3, 0.2, 0.2, 0.4)):
        judged = Judged.after(judged, steps, regret)
    assert judged == Judged(3, 0.4, 1, 0.2, 2)


def test_tensorboard_shows_regret_and_cost(trained) -> None:
    events = EventAccumulator(str(trained.parent))
    events.Reload()
    regret = events.Scalars("validation/regret")
    assert [event.step for event in regret] == [0, 256, 512]
    assert min(event.value for event in regret) == pytest.approx(
        checkpoint.load(trained).facts["validation"]["regret"]
    )
    assert "rollout/cost_mean" in events.Tags()["scalars"]
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([TINY.learning_rate / 2, 0.0])


def test_training_learns_without_help_of_the_prior(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("adaptoff.agents.scorer.PRIOR_SLOPE", 0.0)
    config = replace(TINY, steps=8192, n_fleets=32, learning_rate=3e-3, batch_size=256)
    source = RandomFleets(32, 8, config.limits)
    learnt = freeze(train(config, tmp_path, progress=False))
    blank = Policy(layers_of(make_actor().state_dict()))
    # Without the guard, which would hide what was not learnt.
    methods = [unguarded("learnt", learnt), unguarded("blank", blank), Random()]
    figures = evaluate(methods, source, [901, 902], 8)["methods"]
    regret = {name: value["regret"]["mean"] for name, value in figures.items()}
    assert regret["learnt"] < regret["blank"] / 4
    assert regret["learnt"] < regret["random"] / 4


def unguarded(name: str, policy: Policy) -> Method:
    def choose(fleet, state):
        sight = foresee(fleet, state)
        return sight.table.take(policy.choose(observe(sight), sight.table.valid))

    return Stateless(name, choose)


def test_a_frozen_policy_survives_its_file(trained, tmp_path) -> None:
    frozen = freeze(trained, {"regret": 0.5})
    assert frozen.provenance["steps"] == steps_of(trained)
    assert frozen.provenance["config"] == asdict(TINY)
    assert frozen.provenance["evaluation"] == {"regret": 0.5}
    policies.save(frozen, tmp_path / "policy.safetensors")
    again = policies.load(tmp_path / "policy.safetensors")
    assert again.provenance == json.loads(json.dumps(frozen.provenance))
    for (a, b), (c, d) in zip(frozen.layers, again.layers, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_a_frozen_policy_says_how_it_was_judged(trained, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(learn, "HELD_OUT_FLEETS", 4)
    monkeypatch.setattr(learn, "HELD_OUT_ROUNDS", 2)
    path = tmp_path / "policy.safetensors"
    result = learn.run_freezing(trained, path, judge=True)
    frozen = policies.load(path)
    judged = frozen.provenance["evaluation"]
    assert judged == result["provenance"]["evaluation"]
    seeds = list(learn.HELD_OUT_SEEDS)
    again = evaluate([of_policy(frozen)], RandomFleets(4, 2), seeds, 2)["methods"]["policy"]
    assert judged["policy"]["regret"] == again["regret"]
    assert (judged["fleets"], judged["rounds"], judged["seeds"]) == (4, 2, seeds)


def test_a_checkpoint_of_other_settings_is_refused(trained, tmp_path) -> None:
    last = trained.parent / LAST
    with pytest.raises(InputError, match="nothing left"):
        train(TINY, tmp_path, resume=last, progress=False)
    with pytest.raises(InputError, match="n_fleets x lcm"):
        train(replace(TINY, steps=1024, rounds=48), tmp_path, resume=last, progress=False)


def test_a_checkpoint_is_written_whole_or_not_at_all(trained, tmp_path, monkeypatch) -> None:
    path, saved = tmp_path / "kept.safetensors", checkpoint.load(trained)
    checkpoint.save(path, saved)

    def fail(_tensors, file, _header) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("adaptoff.agents.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="full"):
        checkpoint.save(path, saved)
    assert_same(path, trained)


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
    checkpoint.save(path, checkpoint.Checkpoint(saved.tensors, saved.facts | {"steps": "many"}))
    with pytest.raises(PolicyError, match="facts"):
        freeze(path)
    lacking = {k: v for k, v in saved.tensors.items() if "actor.0" not in k}
    checkpoint.save(path, checkpoint.Checkpoint(lacking, saved.facts))
    with pytest.raises(PolicyError, match="network"):
        freeze(path)
    later = replace(TINY, steps=1024)
    with pytest.raises(PolicyError, match="network"):
        train(later, tmp_path, resume=path, progress=False)
    forgetful = saved.facts | {"validation": {"steps": 512}}
    checkpoint.save(path, checkpoint.Checkpoint(saved.tensors, forgetful))
    with pytest.raises(PolicyError, match="validation"):
        train(later, tmp_path, resume=path, progress=False)
