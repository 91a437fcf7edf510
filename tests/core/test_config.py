"""Scenario files: what loads, and the one line that each mistake gives."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adaptoff import config
from adaptoff import profile as profiles
from adaptoff.errors import ProfileError, ScenarioError
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario

Load = Callable[..., Scenario]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str, *overrides: str) -> Scenario:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return config.load(str(path), overrides)

    return write_and_load


def complaint(load: Load, text: str, *overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load(text, *overrides)
    message = str(caught.value)
    assert "mine.toml" in message or "--set" in message
    assert "\n" not in message
    return message


def test_a_valid_file_loads(scenario: Scenario) -> None:
    assert [group.board for group in scenario.each_device()] == ["slow", "slow", "fast"]
    assert scenario.boards["slow"].opps[0].relative_speed == 0.5
    assert scenario.links["wifi"].steps[1].round == 5
    assert scenario.workload.rounds == 10  # the default


def test_what_ships_loads_and_has_a_profile() -> None:
    assert "demo" in config.shipped()
    for name in config.shipped():
        scenario = config.load(name)
        profile = config.profile_of(scenario)
        assert profile.name == scenario.workload.model
        assert profile.cuts[profile.native].server_s == 0


MODELS = ["mobilenetv2", "resnet18", "vgg5", "vgg5-inference"]


def test_profiles_ship_under_these_names() -> None:
    assert config.shipped_profiles() == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_profile_has_seconds_and_flops(name: str) -> None:
    found = config.find_profile(name)
    assert found.name == name
    assert found.source.startswith("measured: seconds of one core, torch ")
    assert 8 <= len(found.cuts) <= 18
    assert found.mode == ("inference" if name.endswith("-inference") else "training")
    device_s, server_s = (found.column(field, 10) for field in ("device_s", "server_s"))
    assert device_s == sorted(device_s)
    assert server_s == sorted(server_s, reverse=True)
    assert device_s[0] == server_s[-1] == 0 < device_s[-1]
    whole_s = [ours + theirs for ours, theirs in zip(device_s, server_s, strict=True)]
    assert max(whole_s) < 1.25 * min(whole_s)  # the same work, whoever does it
    assert all(cut.device_flops is not None and cut.memory_bytes for cut in found.cuts)
    native = found.cuts[-1]
    assert found.reference_flops_per_s == pytest.approx(native.device_flops / native.device_s)


def test_a_scenario_has_the_profile_of_its_model(scenario: Scenario) -> None:
    for name in MODELS:
        workload = replace(scenario.workload, model=name)
        assert config.profile_of(replace(scenario, workload=workload)).name == name


def test_a_profile_file_is_found_by_its_path(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    profiles.save(profile, path)
    assert config.find_profile(str(path)) == profile


@pytest.mark.parametrize("source", ["vgg6", "absent.json", "\0", "x" * 5000, ".", ""])
def test_no_profile_lists_what_ships(source: str) -> None:
    with pytest.raises(ProfileError, match="neither a readable file nor one of mobilenetv2, resn"):
        config.find_profile(source)


def test_a_profile_that_is_no_file_is_named_once() -> None:
    with pytest.raises(ProfileError, match=r"^absent\.json: [^']*: No such file or directory$"):
        config.find_profile("absent.json")


def test_a_broken_profile_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ProfileError, match=r"broken\.json: .*truncated"):
        config.find_profile(str(path))


def test_a_board_of_an_unknown_class_is_named(load: Load, scenario_text: str) -> None:
    scenario = load(scenario_text, 'boards.slow.device_class="pi5"')
    message = r"^small: boards\.slow: profile vgg5: device_class 'pi5': allowed: none"
    with pytest.raises(ProfileError, match=message):
        config.profile_of(scenario)


MISTAKES = [
    ("min_cut = 1", "min_cutt = 1", ["min_cutt", "$.workload", "allowed: ", "min_cut,"]),
    ("count = 2", "counts = 2", ["counts", "$.devices[0]", "allowed: board, link, count"]),
    ("speed = 0.25", "sped = 0.25", ["sped", "$.boards[...]", "allowed: speed, opps"]),
    ("up_mbps = 8", "up_mpbs = 8", ["up_mpbs", "steps[0]", "allowed: round, up_mbps"]),
    ('name = "small"', 'name = "s"\ntitle = "t"', ["title", "allowed: name, workload"]),
    ("mhz = 1200", "hz = 1200", ["hz", ".opps[1]", "allowed: mhz, relative_speed, dynamic_w"]),
    ("[boards.slow]", "[boards.slow]\nmodel = 1", ["model", "allowed: speed"]),
    ("count = 2", 'count = "two"', ["int", "str", "$.devices[0].count"]),
    ("\nspeed = 1.0", '\nspeed = "1"', ["float", "str", "$.boards[...].speed"]),
    ("batches = 4", "batches = 4.5", ["int", "float", "$.workload.batches"]),
    ("count = 2", "count = 0", [">= 1", "$.devices[0].count"]),
    ("speed = 0.25", "speed = -1", ["> 0", "$.boards[...].speed"]),
    ("speed = 0.25", "speed = nan", ["> 0", "$.boards[...].speed"]),
    ("speed = 0.25", "speed = inf", ["<= 1000", "$.boards[...].speed"]),
    ("min_cut = 1", "min_cut = 64", ["<= 63", "$.workload.min_cut"]),
    ("energy_weight = 0.1", "energy_weight = 11", ["<= 10", "$.objective.energy_weight"]),
    ('board = "fast"', 'board = "fsat"', ["devices[1].board = fsat", "allowed: fast, slow"]),
    ('link = "lte"', 'link = "5g"', ["devices[1].link = 5g", "allowed: lte, wifi"]),
    ("{round = 5,", "{round = 0,", ["links.wifi.steps", "start at 0 and ascend"]),
    ("[{up_mbps = 8,", "[{round = 1, up_mbps = 8,", ["links.lte.steps", "start at 0"]),
    (
        "steps = [{up_mbps = 8, down_mbps = 20}]",
        "",
        ["links.lte", "one of steps, trace or generated"],
    ),
    ("[links.lte]", '[links.lte]\ntrace = "a.csv"', ["links.lte", "one of steps, trace"]),
    ("[links.lte]", '[links.lte]\ngenerated = "lte-drive"', ["links.lte", "one of steps, trace"]),
    ("[links.lte]", '[links.lte]\ngenerated = "lte"', ["'lte'", "$.links[...].generated"]),
    ("[links.lte]", "[links.lte]\nseed = -1", [">= 0", "$.links[...].seed"]),
    ("[links.lte]", "[links.lte]\nrtt_ms = -1", [">= 0", "$.links[...].rtt_ms"]),
    ("[links.lte]", "[links.lte]\nrtt_ms = nan", [">= 0", "$.links[...].rtt_ms"]),
    ("[links.lte]", "[links.lte]\nrtt_ms = 4\njitter_ms = 5", ["links.lte.jitter_ms", "rtt_ms, 4"]),
    ("[links.lte]", "[links.lte]\nloss = 0.6", ["<= 0.5", "$.links[...].loss"]),
    ("min_cut = 1", "alpha = 0.001", [">= 0.01", "$.workload.alpha"]),
    ("min_cut = 1", "alpha = 2000", ["<= 1000", "$.workload.alpha"]),
    (
        "min_cut = 1",
        'dataset = "cifar100"',
        ["'cifar100'", "$.workload.dataset", "; allowed: digits, cifar10"],
    ),
    ("min_cut = 1", 'codecs = ["jpeg"]', ["'jpeg'", "$.workload.codecs", "; allowed: float32, fl"]),
    ("min_cut = 1", 'data_dir = ""', [">= 1", "$.workload.data_dir"]),
    ("relative_speed = 0.7", "relative_speed = 0.3", ["boards.fast.opps", "must ascend"]),
    ("1500, relative_speed = 1.0", "1500, relative_speed = 0.9", ["boards.fast", "end with 1.0"]),
    ("speed = 0.25", 'speed = 1\ndevice_class = ""', [">= 1", "$.boards[...].device_class"]),
    ("count = 2", "count = 256", ["devices: at most 256"]),
]


@pytest.mark.parametrize(("old", "new", "parts"), MISTAKES)
def test_each_mistake_is_named_with_what_is_allowed(
    load: Load, scenario_text: str, old: str, new: str, parts: list[str]
) -> None:
    assert old in scenario_text
    message = complaint(load, scenario_text.replace(old, new, 1))
    for part in parts:
        assert part in message


@pytest.mark.parametrize("missing", ["boards", "links", "devices", "name"])
def test_a_missing_table_is_named(load: Load, missing: str) -> None:
    needed = {"name": 'name = "x"', "boards": "boards = {}", "links": "links = {}"}
    needed["devices"] = 'devices = [{board = "a", link = "b"}]'
    text = "\n".join(line for key, line in needed.items() if key != missing)
    assert f"`{missing}`" in complaint(load, text)


def test_no_file_lists_what_ships() -> None:
    with pytest.raises(
        ScenarioError, match=r"^nowhere\.toml: neither .* demo.*: No such file"
    ) as no:
        config.load("nowhere.toml")
    assert str(no.value).count("nowhere.toml") == 1


@pytest.mark.parametrize("source", ["\0", "x" * 5000, ".", ""], ids=["nul", "long", "dir", "none"])
def test_impossible_file_names(source: str) -> None:
    with pytest.raises(ScenarioError, match="neither a readable file"):
        config.load(source)


@pytest.mark.parametrize(
    "text",
    ["name = ", "a = 1\na = 2", "x = " + "[" * 5000],
    ids=["no value", "twice", "deep"],
)
def test_what_is_not_toml(load: Load, text: str) -> None:
    assert "not TOML" in complaint(load, text)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(ScenarioError, match="latin1"):
        config.load(str(path))


def test_overrides_change_single_values(load: Load, scenario_text: str) -> None:
    scenario = load(
        scenario_text,
        "workload.min_cut=0", "boards.slow.speed=0.5", "name=other", "objective={energy_weight=1}",
    )  # fmt: skip
    assert scenario.workload.min_cut == 0
    assert scenario.boards["slow"].speed == 0.5
    assert (scenario.name, scenario.objective.energy_weight) == ("other", 1)
    assert scenario.workload.batches == 4  # its neighbour stays


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("workload.min_cut=64", ["<= 63", "$.workload.min_cut"]),
        ("workload.min_cutt=0", ["min_cutt", "allowed: model, dataset"]),
        ("workload.min_cut=zero", ["int", "str"]),
        ("workload=zero", ["object", "$.workload"]),
        ("workload.min_cut", ["key.path=value"]),
        ("=1", ["key.path=value"]),
        ("name.first=1", ["name is no table"]),
        ("devices.0.count=3", ["devices is no table"]),
        ("name=" + "[" * 5000, ["<= 64", "$.name"]),
    ],
)
def test_overrides_pass_the_same_checks(
    load: Load, scenario_text: str, override: str, parts: list[str]
) -> None:
    message = complaint(load, scenario_text, override)
    for part in parts:
        assert part in message


@given(text=st.text(max_size=60), override=st.text(max_size=30))
@example(text="\x00", override=".=")
@example(text="", override="a..b=1")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_but_a_scenario_error_escapes(load: Load, text: str, override: str) -> None:
    with pytest.raises(ScenarioError):
        load(text, override)
