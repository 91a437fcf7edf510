"""The scenarios that ship: documented, and what their comments say of them is so."""

import csv
import re
from importlib import resources
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from adaptoff import config, cost, schedule
from adaptoff import fleet as fleets
from adaptoff.fleet import Conditions, Fleet, Floats
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.scenario import Scenario

SPEEDS = Path(__file__).parents[3] / "shared" / "data" / "boards" / "sbc_speed_7zip.csv"
NAMES = [
    "demo", "fedadapt", "fedadapt-falling", "heat", "lte-drive", "scale", "straggler",
    "wifi-office",
]  # fmt: skip
USABLE_CORES = 0.85 * 2
METHODS = 6


def each_round(scenario: Scenario) -> tuple[Fleet, list[Conditions]]:
    """The fleet with one cluster a device, and the nominal conditions of its rounds."""
    fleet = fleets.of_devices(config.profile_of(scenario), scenario)
    links = schedule.of_devices(scenario)
    rounds = range(scenario.workload.rounds + 1)
    return fleet, [schedule.nominal(scenario, links, round_) for round_ in rounds]


def native_s(scenario: Scenario) -> Floats:
    """Seconds of each native round, the warm-up first."""
    fleet, rounds = each_round(scenario)
    columns = [cost.joint(fleet, at, fleet.native()) for at in rounds]
    return np.concatenate([cost.round_s(fleet, each) for each in columns])


def cores(scenario: Scenario) -> float:
    """What devices and server compute with, in reference cores."""
    boards = [scenario.boards[group.board] for group in scenario.each_device()]
    return sum(board.speed for board in boards) + scenario.server.speed


def test_these_ship() -> None:
    assert config.shipped() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_has_its_name_a_comment_at_its_top_and_a_group_for_each_cluster(name: str) -> None:
    text = (resources.files("adaptoff.data") / f"{name}.toml").read_text(encoding="utf-8")
    comment = text[: text.index("\nname = ")].split("\n")
    assert all(line.startswith("#") for line in comment)
    assert len(comment) >= 2
    scenario = config.load(name)
    assert scenario.name == name
    assert len(scenario.devices) <= MAX_CLUSTERS


@pytest.mark.parametrize(
    ("name", "shortest_s", "longest_s"),
    [
        ("fedadapt", 29.6, 32.8),
        ("heat", 27.9, 27.9),
        ("lte-drive", 21.6, 26.7),
        ("scale", 2.4, 2.4),
        ("straggler", 11.3, 11.3),
        ("wifi-office", 11.8, 12.0),
    ],
)
def test_native_rounds_take_what_the_comments_say(
    name: str, shortest_s: float, longest_s: float
) -> None:
    seconds = native_s(config.load(name))
    assert (seconds.min(), seconds.max()) == pytest.approx((shortest_s, longest_s), abs=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_ships_needs_dilation_on_two_cores(name: str) -> None:
    scenario = config.load(name)
    assert cores(scenario) <= USABLE_CORES
    assert scenario.server.speed <= 0.9


def test_six_methods_of_fedadapt_take_half_an_hour() -> None:
    total_s = native_s(config.load("fedadapt")).sum()
    assert total_s == pytest.approx(305, abs=1)
    assert METHODS * total_s <= 1.02 * 1800


def test_weights_take_little_of_fedadapt_s_rounds() -> None:
    for batches, shares in ((8, (0.017, 0.114)), (100, (0.0014, 0.010))):
        scenario = config.load("fedadapt", (f"workload.batches={batches}",))
        fleet, rounds = each_round(scenario)
        native = [cost.joint(fleet, at, fleet.native()) for at in rounds]
        found = [float(c.sync_s[0, 4] / c.total_s.max()) for c in (native[0], native[-1])]
        assert found == pytest.approx(shares, rel=0.05)


def test_fedadapt_s_devices_are_those_of_its_code() -> None:
    for name in ("fedadapt", "fedadapt-falling"):
        scenario = config.load(name)
        boards = sorted(group.board for group in scenario.each_device())
        assert boards == ["jetson", "pi3", "pi3", "pi4", "pi4"]
        work = scenario.workload
        assert (work.model, work.batch_size, work.learning_rate) == ("vgg5", 100, 0.01)
    assert config.load("fedadapt").boards == config.load("fedadapt-falling").boards


def test_fedadapt_s_boards_keep_the_ratios_of_measured_ones() -> None:
    if not SPEEDS.is_file():
        pytest.skip(f"no speeds of boards in {SPEEDS}")
    with SPEEDS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def mips(device: str, clock_mhz: str) -> float:
        found = [row for row in rows if re.match(device, row["device"])]
        return mean(
            float(row["sevenzip_multi_mips"]) for row in found if row["clock_mhz"] == clock_mhz
        )

    pi3 = mips(r"Raspberry Pi 3 B \(", "1200")
    boards = config.load("fedadapt").boards
    assert boards["pi4"].speed / boards["pi3"].speed == pytest.approx(
        mips("Raspberry Pi 4 B", "1500") / pi3, rel=0.005
    )
    assert boards["jetson"].speed / boards["pi3"].speed == pytest.approx(
        mips("Jetson Xavier NX", "1890") / pi3, rel=0.005
    )


def test_offloading_pays_for_fedadapt_s_pi3_on_fast_links_alone() -> None:
    fleet, rounds = each_round(config.load("fedadapt"))
    native = fleet.native()
    pool1 = fleets.Rows(np.full_like(native.way, 2), native.opp)

    def saved(at: Conditions) -> list[bool]:
        return [
            bool(
                cost.solo(fleet, at, pool1).total_s[0, d]
                < cost.solo(fleet, at, native).total_s[0, d]
            )
            for d in (2, 3)  # the Jetson and a Pi 3
        ]

    assert saved(rounds[0]) == [False, True]
    assert saved(rounds[-1]) == [False, False]


def test_each_device_of_fedadapt_falls_in_turn_for_ten_rounds() -> None:
    scenario = config.load("fedadapt-falling")
    _, rounds = each_round(scenario)
    up_bps = np.concatenate([at.up_bps for at in rounds])
    assert set(np.unique(up_bps)) == {5e6, 75e6}
    low = up_bps == 5e6
    assert (low.sum(0) == 10).all()
    assert not low[:11].any()
    assert (low[11:].sum(1) == 1).all()
    order = low.argmax(0).argsort()
    groups = scenario.each_device()
    assert [groups[device].link for device in order] == [
        "jetson", "pi4-1", "pi4-2", "pi3-1", "pi3-2",
    ]  # fmt: skip


def test_one_straggler_is_ten_times_slower() -> None:
    scenario = config.load("straggler")
    speeds = sorted(scenario.boards[group.board].speed for group in scenario.each_device())
    assert speeds[1] == speeds[-1] == pytest.approx(10 * speeds[0])


def test_twenty_devices_scale() -> None:
    assert len(config.load("scale").each_device()) == 20


@pytest.mark.parametrize("name", ["lte-drive", "wifi-office"])
def test_generated_links_are_each_another_one(name: str) -> None:
    links = config.load(name).links.values()
    assert {link.generated for link in links} == {name}
    assert len({link.seed for link in links}) == len(links)
