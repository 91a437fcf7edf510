import pytest

from adaptoff.agents import settings
from adaptoff.agents.settings import TrainConfig, merged
from adaptoff.errors import InputError


def test_later_layers_override_earlier_ones(tmp_path) -> None:
    path = tmp_path / "train.toml"
    path.write_text("entropy = 0.1\nepochs = 2\nlearning_rate = 1\n", encoding="utf-8")
    layers = [settings.of_file(path), settings.of_overrides(["entropy=0.5", " seed = 3"])]
    chosen = merged([*layers, ("--seed", {"seed": 4})])
    assert chosen == TrainConfig(entropy=0.5, epochs=2, learning_rate=1.0, seed=4)
    assert isinstance(chosen.learning_rate, float)
    assert merged([]) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("entrpy = 0.5", ("entrpy", "entropy", "batch_size")),
        ("entropy = 1.5", ("entropy = 1.5", "float", "0 to 1")),
        ("entropy = nan", ("entropy = nan", "float", "0 to 1")),
        ("entropy = 'high'", ("entropy = 'high'", "float")),
        ("epochs = 2.5", ("epochs = 2.5", "int", "1 to 100")),
        ("epochs = true", ("epochs = True", "int")),
        ("[train]\nentropy = 0.5", ("train", "entropy")),
        ("entropy = ", ("TOML",)),
        (b"\xff", ("TOML",)),
    ],
)
def test_a_wrong_file_is_named_with_what_is_allowed(tmp_path, text, words) -> None:
    path = tmp_path / "train.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"train\.toml: ") as caught:
        merged([settings.of_file(path)])
    assert all(word in str(caught.value) for word in words)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        settings.of_file(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("entropy", ("key=value",)),
        ("entropy=high", ("TOML", "high")),
        ("entropy=2", ("entropy = 2", "0 to 1")),
        ("depth=2", ("depth", "allowed")),
    ],
)
def test_a_wrong_override_is_named(override, words) -> None:
    with pytest.raises(InputError, match="--set") as caught:
        merged([settings.of_overrides([override])])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "bad",
    [{"steps": 0}, {"entropy": 1.5}, {"batch_size": 8192}, {"batch_size": 300}, {"cuts": 60}],
)
def test_a_config_checks_itself(bad) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        TrainConfig(**bad)


def test_a_leg_ends_with_an_update_and_an_episode() -> None:
    config = TrainConfig(n_fleets=8, rounds=12, n_steps=16, batch_size=64)
    assert config.leg == 8 * 48
    assert [config.legs_to(steps) for steps in (1, 384, 385)] == [384, 384, 768]
