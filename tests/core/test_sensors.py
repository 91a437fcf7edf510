"""Heat and power are read where they can be believed, and say where they come from."""

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adaptoff.errors import InputError
from adaptoff.heat import warmed
from adaptoff.heat_fit import AMBIENT_C, C_PER_W, MAX_GAP_S, TAU_S, Heat, HeatFit
from adaptoff.power import Counters, Monitors, find_power
from adaptoff.power_meter import Energy, PowerMeter, metered
from adaptoff.sensors import MAX_AGE_S, Reading, Thermometer, find_zone, zones
from tests import boards


class Clock:
    """Goes when told to."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def zone(root: Path, number: int, kind: str, temp: object, **trips: object) -> Path:
    return boards.files(root / f"thermal_zone{number}", type=kind, temp=temp, **trips)


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [
        (["gpu-thermal", "soc0-thermal", "cpu-thermal"], "cpu-thermal"),
        (["acpitz", "x86_pkg_temp"], "x86_pkg_temp"),
        (["GPU-therm", "PMIC-Die", "wifi"], "GPU-therm"),
        (["littlecore-thermal", "soc-thermal"], "soc-thermal"),
        (["CPU-therm", "cpu1-thermal"], "CPU-therm"),
        (["acpitz", "wifi", "battery"], "wifi"),
    ],
)
def test_the_zone_is_chosen_by_its_type(tmp_path: Path, kinds: list[str], chosen: str) -> None:
    for number, kind in enumerate(kinds):
        zone(tmp_path, number, kind, 90_000 if kind == "wifi" else 40_000)
    found = find_zone(tmp_path)
    assert found is not None
    assert found.kind == chosen


def test_zones_are_ordered_by_number_and_dead_ones_passed_over(tmp_path: Path) -> None:
    zone(tmp_path, 10, "cpu10", 50_000)
    zone(tmp_path, 9, "cpu9", 50_000)
    zone(tmp_path, 0, "cpu0", 0)
    (tmp_path / "thermal_zone_x").mkdir()
    assert [one.kind for one in zones(tmp_path)] == ["cpu0", "cpu9", "cpu10"]
    found = find_zone(tmp_path)
    assert found is not None
    assert found.kind == "cpu9"


@pytest.mark.parametrize("said", ["0", "255000", "-40000", "<unsupported>", "9" * 4000])
def test_a_zone_that_fails_at_the_start_is_heard_later(
    tmp_path: Path, clock: Clock, said: str
) -> None:
    folder = zone(tmp_path, 0, "cpu-thermal", said)
    found = find_zone(tmp_path)
    assert found is not None
    thermometer = Thermometer(found, clock)
    assert thermometer.read().temp_c is None
    (folder / "temp").write_text("50000")
    assert thermometer.read() == Reading(50.0, 0.0)


def test_a_zone_can_be_named(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", 50_000)
    zone(tmp_path, 1, "pmic", 60_000)
    for name in ("pmic", "thermal_zone1"):
        found = find_zone(tmp_path, name)
        assert found is not None
        assert found.temp_c() == 60.0
    with pytest.raises(InputError, match="zone gpu: there is no such; there are: cpu-thermal, pm"):
        find_zone(tmp_path, "gpu")


def test_no_zone_is_none(tmp_path: Path) -> None:
    assert find_zone(tmp_path / "nowhere") is None


def test_the_lowest_trip_that_slows_or_stops_counts(tmp_path: Path) -> None:
    zone(
        tmp_path, 0, "cpu", 50_000,
        trip_point_0_type="active", trip_point_0_temp=40_000,
        trip_point_1_type="critical", trip_point_1_temp=100_000,
        trip_point_2_type="passive", trip_point_2_temp=85_000,
        trip_point_3_type="hot", trip_point_3_temp=-274_000,
        trip_point_4_type="passive",
    )  # fmt: skip
    zone(tmp_path, 1, "bare", 50_000)
    assert [one.trip_c() for one in zones(tmp_path)] == [85.0, None]


@pytest.mark.parametrize("glitch", [0, 255_000, -40_000, "", "nonsense", None, 90_000])
def test_glitches_are_passed_over(tmp_path: Path, clock: Clock, glitch: object) -> None:
    folder = zone(tmp_path, 0, "cpu", 50_000)
    thermometer = Thermometer(zones(tmp_path)[0], clock)
    assert thermometer.read() == Reading(50.0, 0.0)
    clock.now_s += 0.5
    if glitch is None:
        (folder / "temp").unlink()
    else:
        boards.files(folder, temp=glitch)
    assert thermometer.read() == Reading(50.0, 0.5)
    clock.now_s += 0.5
    boards.files(folder, temp=51_000)
    assert thermometer.read() == Reading(51.0, 0.0)


def test_a_load_that_starts_is_no_glitch(tmp_path: Path, clock: Clock) -> None:
    folder = zone(tmp_path, 0, "cpu", 50_000)
    thermometer = Thermometer(zones(tmp_path)[0], clock)
    thermometer.read()
    boards.files(folder, temp=60_000)
    clock.now_s += 0.1
    assert thermometer.read() == Reading(60.0, 0.0)


def test_what_is_too_old_is_none(tmp_path: Path, clock: Clock) -> None:
    folder = zone(tmp_path, 0, "cpu", 50_000)
    thermometer = Thermometer(zones(tmp_path)[0], clock)
    thermometer.read()
    boards.files(folder, temp=0)
    clock.now_s += MAX_AGE_S
    assert thermometer.read() == Reading(50.0, MAX_AGE_S)
    clock.now_s += 1
    assert thermometer.read() == Reading(None, MAX_AGE_S + 1)


def test_a_false_first_reading_is_got_over(tmp_path: Path, clock: Clock) -> None:
    folder = zone(tmp_path, 0, "cpu", 149_000)
    thermometer = Thermometer(zones(tmp_path)[0], clock)
    thermometer.read()
    boards.files(folder, temp=50_000)
    ages = []
    for _ in range(5):
        clock.now_s += 1
        ages.append(thermometer.read().age_s)
    assert ages == [1.0, 2.0, 3.0, 0.0, 0.0]


def chip(
    root: Path, number: int, *channels: tuple[str, float, float], name: str = "ina3221"
) -> None:
    """Channels of (label, volts, amperes); the sums that the driver adds are there, too."""
    texts: dict[str, object] = {"name": name, "in7_input": 999, "curr4_input": 99_999}
    for i, (label, volts, amperes) in enumerate(channels, 1):
        texts |= {f"in{i}_label": label, f"in{i}_input": int(volts * 1e3)}
        texts |= {f"curr{i}_input": int(amperes * 1e3), f"in{i + 3}_input": 5}
    boards.files(root / "hwmon" / f"hwmon{number}", **texts)


def counter(root: Path, zone_: str, name: str, microjoules: int) -> Path:
    return boards.files(
        root / "powercap" / zone_, name=name, energy_uj=microjoules, max_energy_range_uj=1_000_000
    )


def found_watts(root: Path) -> float | None:
    source = find_power(root / "hwmon", root / "powercap")
    assert isinstance(source, Monitors)
    return source.watts()


def test_channels_add_up_unless_one_feeds_them_all(tmp_path: Path) -> None:
    chip(tmp_path, 0, ("VDD_CPU", 5.0, 0.5), ("VDD_GPU", 5.0, 1.0))
    chip(tmp_path, 1, ("VDD_SOC", 12.0, 0.25), name="ina226")
    chip(tmp_path, 2, ("composite", 5.0, 5.0), name="nvme")
    assert found_watts(tmp_path) == pytest.approx(2.5 + 5 + 3)
    chip(tmp_path, 3, ("VDD_IN", 5.0, 3.0), ("NC", 5.0, 0.0))
    assert found_watts(tmp_path) == pytest.approx(15)


def test_a_channel_may_give_microwatts_and_one_may_be_off(tmp_path: Path) -> None:
    boards.files(tmp_path / "hwmon" / "hwmon0", name="ina219", power1_input=4_200_000, in1_input=1)
    chip(tmp_path, 1, ("VDD_CPU", 5.0, 0.5))
    (tmp_path / "hwmon" / "hwmon1" / "curr1_input").write_text("")
    assert found_watts(tmp_path) == pytest.approx(4.2)


def meter(root: Path, clock: Clock) -> PowerMeter:
    return PowerMeter(find_power(root / "hwmon", root / "powercap"), clock)


def test_power_is_integrated_between_samples(tmp_path: Path, clock: Clock) -> None:
    chip(tmp_path, 0, ("VDD_IN", 5.0, 1.0))
    power = meter(tmp_path, clock)
    for amperes in (1.0, 3.0, 3.0):
        chip(tmp_path, 0, ("VDD_IN", 5.0, amperes))
        clock.now_s += 1
        power.sample()
    assert power.take(0.0) == Energy(5.0 + 10.0 + 15.0, 3.0, "measured")
    clock.now_s += 1
    assert power.take(0.0) == Energy(15.0, 1.0, "measured")


@pytest.mark.parametrize("amperes", [-1.0, 500.0])
def test_power_beyond_belief_is_modelled(tmp_path: Path, clock: Clock, amperes: float) -> None:
    chip(tmp_path, 0, ("VDD_IN", 5.0, 1.0))
    power = meter(tmp_path, clock)
    chip(tmp_path, 0, ("VDD_IN", 5.0, amperes))
    clock.now_s += 1
    assert power.take(7.0) == Energy(7.0, 1.0, "modelled")


def test_a_gap_makes_it_modelled_once(tmp_path: Path, clock: Clock) -> None:
    chip(tmp_path, 0, ("VDD_IN", 5.0, 1.0))
    power = meter(tmp_path, clock)
    clock.now_s += 10
    power.sample()
    assert power.take(33.0) == Energy(33.0, 10.0, "modelled")
    clock.now_s += 1
    assert power.take(33.0) == Energy(5.0, 1.0, "measured")


def test_without_a_sensor_it_is_modelled(tmp_path: Path, clock: Clock) -> None:
    power = meter(tmp_path, clock)
    clock.now_s += 2
    power.sample()
    assert power.take(4.0) == Energy(4.0, 2.0, "modelled")


def test_counters_that_start_over_are_followed(tmp_path: Path, clock: Clock) -> None:
    package = counter(tmp_path, "intel-rapl:0", "package-0", 900_000)
    core = counter(tmp_path, "intel-rapl:0:0", "core", 0)
    other = counter(tmp_path, "intel-rapl:1", "package-1", 0)
    assert isinstance(find_power(tmp_path / "hwmon", tmp_path / "powercap"), Counters)
    power = meter(tmp_path, clock)
    boards.files(package, energy_uj=100_000)
    boards.files(other, energy_uj=500_000)
    boards.files(core, energy_uj=200_000)
    clock.now_s += 60
    taken = power.take(0.0)
    assert (taken.source, taken.seconds) == ("measured", 60.0)
    assert taken.joules == pytest.approx(0.2 + 0.5)


def test_the_platform_s_counter_holds_all_others(tmp_path: Path, clock: Clock) -> None:
    package = counter(tmp_path, "intel-rapl:0", "package-0", 0)
    platform = counter(tmp_path, "intel-rapl:1", "psys", 0)
    power = meter(tmp_path, clock)
    boards.files(platform, energy_uj=700_000)
    boards.files(package, energy_uj=400_000)
    clock.now_s += 1
    assert power.take(0.0).joules == pytest.approx(0.7)


def test_counters_that_are_not_for_us_are_none(tmp_path: Path, clock: Clock) -> None:
    package = counter(tmp_path, "intel-rapl:0", "package-0", 0)
    power = meter(tmp_path, clock)
    (package / "energy_uj").unlink()
    clock.now_s += 1
    assert power.take(3.0) == Energy(3.0, 1.0, "modelled")
    assert find_power(tmp_path / "hwmon", tmp_path / "powercap") is None


def test_sampling_goes_on_in_the_background_and_ends(tmp_path: Path) -> None:
    looks = threading.Semaphore(0)

    class Heard(Monitors):
        def watts(self) -> float:
            looks.release()
            return 2.0

    threads = threading.active_count()
    with metered(Heard([]), Clock(), every_s=0.001):
        for _ in range(5):
            assert looks.acquire(timeout=30)
    assert threading.active_count() == threads


def test_nothing_is_sampled_without_a_sensor(clock: Clock) -> None:
    threads = threading.active_count()
    with metered(None, clock) as power:
        assert threading.active_count() == threads
        clock.now_s += 2
        assert power.take(3.0) == Energy(3.0, 2.0, "modelled")


Trace = tuple[list[float], list[float]]


def trace(true: Heat, seconds: float, *, hours: float, noise_c: float, step_c: float) -> Trace:
    """Mean watts of each interval, drawn anew at times, and what a thermometer says at its end."""
    rng = np.random.default_rng(7)
    watts, temps_c, temp_c, held_w, left_s = [], [], true.ambient_c + 10, 4.0, 0.0
    for _ in range(int(hours * 3600 / seconds)):
        if left_s <= 0:
            held_w, left_s = rng.uniform(1, 8), rng.uniform(10, 120)
        left_s -= seconds
        now_c = warmed(
            np.array(temp_c), np.array(true.ambient_c), np.array(true.c_per_w),
            np.array(true.tau_s), np.array(held_w), np.array(seconds),
        )  # fmt: skip
        temp_c = float(now_c)
        watts.append(held_w)
        temps_c.append(round((temp_c + rng.normal(0, noise_c)) / step_c) * step_c)
    return watts, temps_c


def learnt(first: Heat, seconds: float, samples: Trace) -> HeatFit:
    fit = HeatFit(first)
    for watts, temp_c in zip(*samples, strict=True):
        fit.add(seconds, watts, temp_c)
    return fit


@pytest.mark.parametrize("true", [Heat(6, 60, 25), Heat(3, 20, 35), Heat(10, 200, 15)])
@pytest.mark.parametrize("first", [Heat(6, 60, 25), Heat(0, 200, 20)])
@pytest.mark.parametrize(
    ("seconds", "noise_c", "step_c"), [(1.0, 0.3, 0.001), (1.0, 1.0, 1.0), (0.2, 0.5, 0.5)]
)
def test_heat_constants_are_learnt_within_a_tenth(
    true: Heat, first: Heat, seconds: float, noise_c: float, step_c: float
) -> None:
    samples = trace(true, seconds, hours=0.5, noise_c=noise_c, step_c=step_c)
    fit = learnt(first, seconds, samples)
    heat = fit.heat()
    assert heat.c_per_w == pytest.approx(true.c_per_w, rel=0.1)
    assert heat.tau_s == pytest.approx(true.tau_s, rel=0.1)
    assert heat.ambient_c == pytest.approx(true.ambient_c, abs=2.5)
    assert fit.error() < 0.15


def test_without_samples_the_first_belief_holds_and_is_not_sure() -> None:
    first = Heat(6, 60, 25)
    fit = HeatFit(first)
    heat = fit.heat()
    assert (heat.c_per_w, heat.tau_s, heat.ambient_c) == pytest.approx((6, 60, 25))
    assert fit.error() > 1


def test_cooling_down_teaches_all_but_the_heat_per_watt() -> None:
    fit = HeatFit(Heat(6, 120, 20))
    for second in range(600):
        fit.add(1.0, 0.0, 25 + 55 * math.exp(-second / 60))
    assert fit.heat().tau_s == pytest.approx(60, rel=0.1)
    assert fit.heat().ambient_c == pytest.approx(25, abs=1)
    assert fit.error() > 1


def test_constant_power_teaches_what_it_can_and_nothing_drifts() -> None:
    fit = HeatFit(Heat(6, 60, 25))
    for _ in range(20_000):
        fit.add(1.0, 3.0, 52.0)
    heat = fit.heat()
    assert heat.ambient_c + heat.c_per_w * 3 == pytest.approx(52, abs=0.5)
    assert heat.tau_s == pytest.approx(60, rel=0.3)
    assert fit.error() > 0.5


def test_a_room_that_gets_warmer_is_followed() -> None:
    fit = HeatFit(Heat(6, 60, 25))
    for ambient_c in (20.0, 35.0, 30.0):
        watts, temps_c = trace(Heat(6, 60, ambient_c), 1.0, hours=1, noise_c=0.3, step_c=0.1)
        for sample in zip(watts, temps_c, strict=True):
            fit.add(1.0, *sample)
        assert fit.heat().ambient_c == pytest.approx(ambient_c, abs=2)
        assert fit.heat().c_per_w == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 2 * MAX_GAP_S, math.nan])
@pytest.mark.parametrize("watts", [3.0, 1e6, math.inf])
def test_a_gap_teaches_nothing(seconds: float, watts: float) -> None:
    true = Heat(6, 60, 25)
    fit = HeatFit(Heat(2, 200, 20))
    samples = trace(true, 1.0, hours=0.5, noise_c=0.3, step_c=0.1)
    for i, sample in enumerate(zip(*samples, strict=True)):
        if i % 300 == 299:
            fit.add(seconds, watts, sample[1])
        else:
            fit.add(1.0, *sample)
    assert fit.heat().c_per_w == pytest.approx(true.c_per_w, rel=0.1)
    assert fit.heat().tau_s == pytest.approx(true.tau_s, rel=0.1)


@pytest.mark.parametrize("bad", [(1.0, math.nan), (math.inf, 50.0), (math.nan, 50.0)])
def test_what_is_not_finite_does_not_spread(bad: tuple[float, float]) -> None:
    fit = learnt(Heat(6, 60, 25), 1.0, ([3.0, bad[0], 4.0, 5.0], [50.0, bad[1], 51.0, 52.0]))
    assert math.isfinite(fit.heat().tau_s)
    assert math.isfinite(fit.error())


@pytest.mark.parametrize("temp_of", [lambda i: 50 + 40 * (i % 2), lambda i: 20 + i, lambda i: 20.0])
def test_nonsense_stays_within_bounds(temp_of: Callable[[int], float]) -> None:
    fit = HeatFit(Heat(6, 60, 25))
    for i in range(500):
        fit.add(1.0, float(i % 7), temp_of(i))
    heat = fit.heat()
    assert C_PER_W[0] <= heat.c_per_w <= C_PER_W[1]
    assert TAU_S[0] <= heat.tau_s <= TAU_S[1]
    assert AMBIENT_C[0] <= heat.ambient_c <= AMBIENT_C[1]
