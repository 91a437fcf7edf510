"""Clocks are asked for, read back, and left alone where the kernel says so."""

import errno
import logging
from pathlib import Path

import pytest

from adaptoff import dvfs
from adaptoff.domains import Domain, discover, lead_of
from adaptoff.dvfs import Clocks
from adaptoff.errors import RunError, ScenarioError
from adaptoff.protocols import Actuator
from tests import boards
from tests.boards import FakeKernel

MHZ = [600.0, 900.0, 1200.0, 1500.0]


def cur_khz(folder: Path) -> int:
    return int((folder / "scaling_cur_freq").read_text())


def found(root: Path, kernel: FakeKernel | None = None) -> list[Domain]:
    return discover(root / "cpufreq", root / "devfreq", kernel or FakeKernel())


def clocks(root: Path, kernel: FakeKernel | None = None, mhz: list[float] = MHZ) -> Clocks:
    return Clocks(found(root, kernel), mhz, nap=lambda _: None)


def test_the_governor_userspace_is_told_the_speed(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    kernel = FakeKernel()
    board: Actuator = clocks(tmp_path, kernel)
    assert [board.set_opp(opp) for opp in (1, 3)] == [1, 3]
    assert cur_khz(folder) == 1_500_000
    assert kernel.writes == [
        ("scaling_governor", "userspace"),
        ("scaling_setspeed", "900000"),
        ("scaling_setspeed", "1500000"),
    ]


def test_without_userspace_floor_and_ceiling_meet_in_an_order_that_is_accepted(
    tmp_path: Path,
) -> None:
    folder = boards.policy(tmp_path / "cpufreq", userspace=False)
    kernel = FakeKernel()
    board = clocks(tmp_path, kernel)
    for opp in (1, 3, 2, 1, 2, 3):
        assert board.set_opp(opp) == opp
        assert cur_khz(folder) == MHZ[opp] * 1000
    assert {name for name, _ in kernel.writes} == {"scaling_min_freq", "scaling_max_freq"}


def test_limits_that_were_there_are_kept(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq", userspace=False)
    boards.files(folder, scaling_max_freq=1_200_000)
    board = clocks(tmp_path)
    assert board.set_opp(3) == 2
    assert board.set_opp(0) == 1
    assert boards.settings(folder)["scaling_min_freq"] == "900000"


def test_of_two_opps_on_one_step_the_one_asked_for_runs(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq")
    board = clocks(tmp_path, mhz=[600, 900, 920, 1500])
    assert [board.set_opp(opp) for opp in (1, 2)] == [1, 2]


def test_what_runs_is_returned_not_what_was_asked(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq")
    kernel = FakeKernel()
    board = clocks(tmp_path, kernel)
    kernel.cap_khz = 1_000_000
    assert board.set_opp(3) == 2
    kernel.cap_khz = 600_000
    assert board.set_opp(3) == 0
    assert board.opp == 0


def test_heat_shows_in_what_runs_later(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    board = clocks(tmp_path)
    assert board.set_opp(3) == board.running_opp() == 3
    boards.files(folder, scaling_cur_freq=930_000)
    assert board.running_opp() == 1


def test_the_hardware_s_own_word_comes_first(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    board = clocks(tmp_path)
    boards.files(folder, cpuinfo_cur_freq=600_000)
    assert board.set_opp(3) == 0


def test_a_clock_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    naps: list[float] = []

    class Late(FakeKernel):
        def _follow(self, folder: Path) -> None:
            pass

    def nap(seconds: float) -> None:
        naps.append(seconds)
        boards.files(folder, scaling_cur_freq=1_500_000)

    assert Clocks(found(tmp_path, Late()), MHZ, nap).set_opp(3) == 3
    assert len(naps) == 1


def test_an_opp_that_the_table_lacks_is_the_nearest_end(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq")
    boards.files(tmp_path / "cpufreq" / "policy0", scaling_min_freq=600_000)
    board = clocks(tmp_path)
    assert board.set_opp(9) == 3
    assert board.set_opp(-1) == 0


def test_steps_that_the_kernel_does_not_name(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq", userspace=False, table=False)
    kernel = FakeKernel()
    kernel.hidden_khz = [600_000, 950_000, 1_300_000, 1_500_000]
    board = clocks(tmp_path, kernel)
    assert [board.set_opp(opp) for opp in (1, 2, 3)] == [1, 2, 3]
    assert ("scaling_max_freq", "1200000") in kernel.writes


def test_the_small_cores_go_as_far_up_their_own_range(tmp_path: Path) -> None:
    big = [200_000, 1_000_000, 2_000_000]
    boards.policy(tmp_path / "cpufreq", 0, boards.LITTLE_KHZ)
    boards.policy(tmp_path / "cpufreq", 4, big)
    boards.gpu(tmp_path / "devfreq")
    domains = found(tmp_path)
    assert [domain.name for domain in domains] == ["policy0", "policy4", "57000000.gpu"]
    assert lead_of(domains).name == "policy4"
    board = Clocks(domains, [200.0, 1000.0, 2000.0])
    assert [board.targets_hz(opp) for opp in range(3)] == [
        [200_000_000, 200_000_000, 100_000_000],
        [800_000_000, 1_000_000_000, 300_000_000],
        [1_400_000_000, 2_000_000_000, 500_000_000],
    ]


def test_both_policies_and_the_gpu_are_set(tmp_path: Path) -> None:
    little = boards.policy(tmp_path / "cpufreq", 0, boards.LITTLE_KHZ)
    big = boards.policy(tmp_path / "cpufreq", 4, userspace=False)
    gpu = boards.gpu(tmp_path / "devfreq")
    board = clocks(tmp_path)
    assert [board.set_opp(opp) for opp in (3, 2)] == [3, 2]
    assert (cur_khz(little), cur_khz(big)) == (1_100_000, 1_200_000)
    assert boards.settings(gpu)["min_freq"] == boards.settings(gpu)["max_freq"] == "300000000"


def test_a_gpu_never_leads_a_cpu(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq")
    boards.gpu(tmp_path / "devfreq", [1_000_000_000, 3_000_000_000])
    assert lead_of(found(tmp_path)).name == "policy0"


def test_policies_are_ordered_by_number(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        boards.policy(tmp_path / "cpufreq", number)
    boards.policy(tmp_path / "cpufreq" / "elsewhere")
    boards.policy(tmp_path / "cpufreq").rename(tmp_path / "cpufreq" / "policy0.old")
    boards.policy(tmp_path / "cpufreq")
    assert [domain.name for domain in found(tmp_path)] == ["policy0", "policy2", "policy10"]


def test_a_table_that_changes_is_read_anew(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    board = clocks(tmp_path)
    boards.files(folder, scaling_available_frequencies="600000 1000000 1400000 1500000")
    assert board.set_opp(1) == 1
    assert cur_khz(folder) == 1_000_000


@pytest.mark.parametrize("mhz", [[600, 1800], [300, 1500]])
def test_another_board_s_table_is_refused(tmp_path: Path, mhz: list[float]) -> None:
    boards.policy(tmp_path / "cpufreq")
    with pytest.raises(ScenarioError, match="policy0 runs at 600, 900, 1200, 1500 MHz"):
        clocks(tmp_path, mhz=mhz)


def test_another_board_s_table_is_refused_by_its_ends(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq", table=False)
    with pytest.raises(ScenarioError, match="mhz = 1800: policy0 runs at 600 to 1500 MHz"):
        clocks(tmp_path, mhz=[600, 1800])


def test_no_clock_no_actuator(tmp_path: Path) -> None:
    boards.files(tmp_path / "cpufreq" / "policy0", scaling_governor="schedutil")
    assert found(tmp_path) == []
    with pytest.raises(RunError, match="no cpufreq policy"):
        clocks(tmp_path)


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EINVAL, errno.EBUSY, errno.ENOENT])
def test_what_is_refused_is_said_and_shows(
    tmp_path: Path, refusal: int, caplog: pytest.LogCaptureFixture
) -> None:
    boards.policy(tmp_path / "cpufreq")
    kernel = FakeKernel()
    board = clocks(tmp_path, kernel)
    assert board.set_opp(2) == 2
    kernel.refuses["scaling_setspeed"] = refusal
    with caplog.at_level(logging.WARNING):
        assert board.set_opp(3) == 2
    assert "policy0/scaling_setspeed" in caplog.text


def test_a_policy_that_vanishes_keeps_its_last_opp(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq", userspace=False)
    board = clocks(tmp_path)
    assert board.set_opp(2) == 2
    for path in folder.iterdir():
        path.unlink()
    assert board.set_opp(3) == 2


def test_one_domain_s_refusal_does_not_keep_another(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq", 0, boards.LITTLE_KHZ, userspace=False)
    big = boards.policy(tmp_path / "cpufreq", 4)
    kernel = FakeKernel()
    kernel.refuses["scaling_min_freq"] = errno.EACCES
    assert clocks(tmp_path, kernel).set_opp(3) == 3
    assert cur_khz(big) == 1_500_000


def test_a_rehearsal_says_what_it_would_write_and_writes_nothing(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    gpu = boards.gpu(tmp_path / "devfreq")
    before = boards.settings(folder), boards.settings(gpu)
    roots = tmp_path / "cpufreq", tmp_path / "devfreq"
    would = dvfs.rehearsed([900, 1500], *roots)
    assert [(path.relative_to(tmp_path).as_posix(), text) for path, text in would] == [
        ("cpufreq/policy0/scaling_governor", "userspace"),
        ("cpufreq/policy0/scaling_setspeed", "900000"),
        ("cpufreq/policy0/scaling_governor", "userspace"),
        ("cpufreq/policy0/scaling_setspeed", "1500000"),
    ]
    assert (gpu / "max_freq", "500000000") in dvfs.rehearsed([900, 1500], *roots, gpu=True)
    assert (boards.settings(folder), boards.settings(gpu)) == before


def test_a_board_without_a_table_offers_its_own_steps(tmp_path: Path) -> None:
    boards.policy(tmp_path / "cpufreq", khz=[100_000 * step for step in range(1, 21)])
    mhz = dvfs.own_mhz(found(tmp_path), 5)
    assert mhz == [100.0, 600.0, 1000.0, 1500.0, 2000.0]
    assert len(dvfs.own_mhz(found(tmp_path))) == 8


def test_nothing_is_ever_made_where_a_file_is_missing(tmp_path: Path) -> None:
    folder = boards.policy(tmp_path / "cpufreq", userspace=False)
    (folder / "scaling_max_freq").unlink()
    board = Clocks(discover(tmp_path / "cpufreq", tmp_path), MHZ)
    board.set_opp(1)
    assert not (folder / "scaling_max_freq").exists()


@pytest.mark.parametrize("words", ["9" * 4000, f"600000 {'9' * 5000} -1 0", "<unsupported>", ""])
def test_a_table_of_no_numbers_is_no_table(tmp_path: Path, words: str) -> None:
    folder = boards.policy(tmp_path / "cpufreq")
    boards.files(folder, scaling_available_frequencies=words)
    domain = found(tmp_path)[0]
    assert domain.steps_hz() in ([], [600_000_000])
    assert domain.nearest_hz(600e6) == 600_000_000
