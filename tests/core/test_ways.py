"""Ways: which a task has, what they are called on the wire, and what they cost by hand."""

import numpy as np
import pytest
from msgspec.structs import replace

from adaptoff import config, cost, estimate, lookup
from adaptoff import fleet as fleets
from adaptoff.candidates import R_MAX, build
from adaptoff.controller import Controller, decide, row_at, translate
from adaptoff.errors import ProfileError, ScenarioError
from adaptoff.figures import view
from adaptoff.fleet import Fleet, FleetState, Outcome, Rows
from adaptoff.messages import FleetFigures, Row, Telemetry
from adaptoff.policy import default
from adaptoff.profile import Codec, CodecCosts, Coded, Profile
from adaptoff.scenario import Scenario, Workload
from adaptoff.ways import Way, Ways, column, device_s, server_s, way_of

BATCH = 100
"""of the toy profile"""


def packed(profile: Profile, drop: float | None = 0.001) -> Profile:
    """With a codec that quarters bytes and costs a millisecond on either side, two to call."""
    coded = [Coded(cut.up_bytes / 4, cut.down_bytes / 4, 1e-3, 2e-3) for cut in profile.cuts]
    calls = [replace(cut, device_call_s=5e-3, server_call_s=4e-3) for cut in profile.cuts]
    return replace(profile, cuts=calls, codecs={"uint8": CodecCosts(coded, drop)})


@pytest.fixture
def rich(profile: Profile) -> Profile:
    return packed(profile)


@pytest.fixture
def levers(scenario: Scenario) -> Scenario:
    work = replace(scenario.workload, depths=(4, 1), codecs=("uint8", "float32"), min_cut=0)
    return replace(scenario, workload=work)


def test_ways_come_by_cut_depth_and_codec_and_native_last(rich: Profile, levers: Scenario) -> None:
    ways = Ways(rich, levers.workload)
    assert ways.all[:4] == [(0, 1, "float32"), (0, 1, "uint8"), (0, 4, "float32"), (0, 4, "uint8")]
    assert len(ways.all) == 3 * 2 * 2 + 1
    assert ways.all[-1] == Way(3)
    for number, way in enumerate(ways.all):
        row = Row(cut=way.cut, opp=1, depth=way.depth, codec=way.codec)
        assert ways.number(row) == number
        assert row_at(ways, Rows(np.array([[number]]), np.array([[1]])), 0) == row


def test_without_levers_a_way_is_a_cut(profile: Profile) -> None:
    assert Ways(profile, Workload()).all == [Way(cut) for cut in range(4)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row(cut=4, opp=0), "cut 4: min_cut allows 1 to 3"),
        (Row(cut=0, opp=0), "cut 0: min_cut allows 1 to 3"),
        (Row(cut=1, opp=0, depth=3), "depth 3: allowed: 1, 4"),
        (Row(cut=1, opp=0, codec="float16"), "codec float16: allowed: float32, uint8"),
        (Row(cut=3, opp=0, depth=4), "native has depth 1 and float32"),
    ],
)
def test_what_cannot_be_is_said(rich: Profile, levers: Scenario, row: Row, said: str) -> None:
    ways = Ways(rich, replace(levers.workload, min_cut=1))
    with pytest.raises(ValueError, match=said):
        ways.check(row)


def test_costs_by_hand(rich: Profile) -> None:
    plain, deep, both = Way(1), Way(1, 4), Way(1, 4, "uint8")
    of = [column(rich, [plain, deep, both], name, 2 * BATCH) for name in ("up_bytes", "server_s")]
    assert of[0] == [4e6, 4e6, 1e6]
    assert of[1] == pytest.approx([0.12, 0.12 + 3 * 4e-3, 0.12 + 3 * 4e-3 + 2 * 2e-3])
    assert device_s(rich, both, BATCH, None) == pytest.approx(0.02 + 3 * 5e-3 + 1e-3)
    assert server_s(rich, Way(3), BATCH) == 0.0
    memory = column(rich, [plain, both], "memory_bytes", BATCH)
    assert memory[1] - memory[0] == 1e6  # what is encoded is held beside it


def test_a_class_of_boards_pays_for_calls_and_codecs_as_for_the_whole_network(
    rich: Profile,
) -> None:
    slower = replace(rich, classes={"pi": [0.0, 0.1, 0.2, 0.8]})
    assert device_s(slower, Way(1, 4, "uint8"), BATCH, "pi") == pytest.approx(0.1 + 10 * 16e-3)


def test_a_codec_that_loses_too_much_or_was_not_measured_is_left_out(profile: Profile) -> None:
    wanted = Workload(codecs=("float32", "uint8"), max_accuracy_drop=0.01)
    codecs: dict[float | None, set[Codec]] = {
        0.01: {"float32", "uint8"}, 0.011: {"float32"}, None: {"float32"}
    }  # fmt: skip
    for drop, left in codecs.items():
        assert {way.codec for way in Ways(packed(profile, drop), wanted).all} == left
    with pytest.raises(ProfileError, match=r"none of uint8 is known to lose at most .* 0.01"):
        Ways(packed(profile, None), replace(wanted, codecs=("uint8",)))
    with pytest.raises(ProfileError, match="no codec uint8: allowed: float32"):
        Ways(profile, wanted)


def test_config_names_the_key(scenario: Scenario, scenario_text: str) -> None:
    known = replace(scenario.workload, model="vgg5-inference", codecs=("uint8",))
    with pytest.raises(ProfileError, match=r"workload.codecs: .* allowed: float32"):
        config.profile_of(replace(scenario, workload=known))
    deep = replace(scenario.workload, depths=(1, 16), batch_size=30)
    with pytest.raises(ScenarioError, match=r"x: workload.depths: 16: at most 15, half of batch"):
        config.check(replace(scenario, workload=deep), "x")


def seen_with(figures: FleetFigures, **changes: object) -> FleetFigures:
    """The first cluster went another way."""
    first: Telemetry = replace(figures.telemetry[0], **changes)
    return replace(figures, telemetry=[first, *figures.telemetry[1:]])


def test_figures_tell_ways_and_devices_decide_them(
    rich: Profile, levers: Scenario, figures: FleetFigures
) -> None:
    told = seen_with(figures, cut=2, depth=4, codec="uint8")
    seen = view(levers, rich, told)
    ways = Ways(rich, levers.workload)
    assert ways.all[seen.state.way[0, 0]] == Way(2, 4, "uint8") == way_of(told.telemetry[0])
    decided = Controller(0, levers, rich, default()).next(4, told)
    assert decided.source in ("policy", "planner")
    choice = decide(seen.fleet, seen.state, default())
    assert way_of(decided.row) == ways.all[choice.rows.way[0, 0]]
    broken = seen_with(figures, cut=2, depth=3)
    assert Controller(0, levers, rich, default()).next(4, broken).source == "kept"


def test_a_row_for_another_board_keeps_its_way(levers: Scenario) -> None:
    row = Row(cut=2, opp=0, depth=4, codec="uint8")
    board = levers.board_of(0)
    assert translate(row, board, board) == row


@pytest.fixture
def many(rich: Profile, scenario: Scenario) -> tuple[Fleet, FleetState]:
    """More rows than a table has."""
    work = Workload(min_cut=0, depths=tuple(range(1, 9)), codecs=("float32", "uint8"))
    boards = list(scenario.boards.values())
    fleet = fleets.build(rich, replace(scenario, workload=work), boards, [1] * len(boards))
    assert fleet.cut.shape[1] * fleet.relative_speed.shape[2] > R_MAX
    shape = fleet.shape
    one = {"volatility": 0.1, "speed_volatility": 0.1}
    arrays = {name: np.full(shape, one.get(name, 0.0)) for name in FleetState.__annotations__}
    rates = dict.fromkeys(("up_bps", "down_bps", "usual_up_bps", "usual_down_bps"), 2e7)
    speeds = dict.fromkeys(("speed", "usual_speed"), 0.3)
    arrays |= {name: np.full(shape, value) for name, value in (rates | speeds).items()}
    single = ("server_speed", "usual_server_speed", "native_s", "native_j")
    arrays |= {name: np.ones(1) for name in single}
    known = {f: arrays.get(f, np.zeros(shape)) for f in FleetState.__dataclass_fields__}
    way = np.full(shape, 3)  # (0, 2, uint8)
    return fleet, FleetState(**(known | {"way": way, "opp": np.zeros(shape, np.int64)}))


def test_of_many_rows_the_quickest_depth_and_codec_of_each_cut_and_clock_are_kept(
    many: tuple[Fleet, FleetState],
) -> None:
    fleet, state = many
    table = build(fleet, state)
    assert table.valid.shape[2] <= R_MAX
    assert table.find(fleet.native())[1].all()
    assert table.find(state.rows)[1].all()
    left = table.options
    cuts = lookup.of_way(fleet.cut, left)
    others = ~((left.way == 3) & (left.opp == 0))
    kept = set(zip(left.cluster[others], cuts[others], left.opp[others], strict=True))
    assert len(kept) == others.sum()  # one each
    current = cost.joint(fleet, state, state.rows)
    best_s = table.least(cost.alternatives(fleet, state, left, current).total_s)
    for way in range(fleet.cut.shape[1]):
        rows = Rows(np.full(fleet.shape, way), fleet.n_opps - 1)
        apart = fleets.Options(
            np.zeros(fleet.shape[1], int), np.arange(fleet.shape[1]), rows.way[0], rows.opp[0]
        )
        total_s = cost.alternatives(fleet, state, apart, current).total_s
        assert (total_s >= best_s[0] * (1 - 1e-12)).all()


def test_encoding_alone_tells_no_speed(many: tuple[Fleet, FleetState]) -> None:
    """At cut 0 a device encodes for less than a millisecond."""
    fleet, state = many
    told = {f: np.ones(fleet.shape) for f in Outcome.__dataclass_fields__}
    told |= {"round_s": np.ones(1), "server_speed": np.ones(1)}
    ways = [Way(0, 1, "uint8"), Way(1, 1, "uint8")]
    speeds = []
    for way in ways:
        rows = {"way": np.full(fleet.shape, _number(fleet, way)), "opp": np.zeros(fleet.shape, int)}
        seen = Outcome(**(told | rows | {"opp_left": rows["opp"]}))
        speeds.append(estimate.update(fleet, state, seen).speed)
    np.testing.assert_array_equal(speeds[0], state.speed)
    assert (speeds[1] != state.speed).all()


def _number(fleet: Fleet, way: Way) -> int:
    """The codec is the second of each cut and depth."""
    found = (fleet.cut[0] == way.cut) & (fleet.depth[0] == way.depth)
    return int(np.flatnonzero(found)[1])
