"""What goes wrong on and around a board: its sensor, its load, its air, its clock, its life."""

from collections.abc import Iterator

from benchmarks.soaking.drawn import HOT_C
from benchmarks.soaking.site import Fault, Site

HOUR_S = 3600.0


def sensor(name: str, text: str | None) -> Fault:
    """It says this; None: its file is gone."""

    def fault(at: Site) -> Iterator[None]:
        at.device.around.sensor[name] = text
        yield
        del at.device.around.sensor[name]

    return fault


def stuck(at: Site) -> Iterator[None]:
    """It says what it said."""
    at.device.around.sensor["stuck"] = f"{at.world.body.temp_c * 1000:.0f}"
    yield
    del at.device.around.sensor["stuck"]


def load(at: Site) -> Iterator[None]:
    """Somebody else computes on the board, another one, and the server."""
    device = int(at.rng.integers(at.world.n_devices) * at.rng.integers(2))
    at.world.free[device] = at.rng.uniform(0.2, 0.9)
    at.world.server_free = at.rng.uniform(0.2, 1.0)
    yield
    at.world.free[device] = at.world.server_free = 1.0


def hot_room(at: Site) -> Iterator[None]:
    """As hot as it gets."""
    at.world.room(at.world.usual_ambient_c + HOT_C)
    yield
    at.world.room(at.world.usual_ambient_c)


def wall_step(at: Site) -> Iterator[None]:
    """The wall clock jumps by hours, and back."""
    off_s = at.rng.uniform(-12, 12) * HOUR_S
    at.world.wall_off_s += off_s
    yield
    at.world.wall_off_s -= off_s


def killed(at: Site) -> Iterator[None]:
    """By ``kill -9``."""
    if at.device.lives:
        at.device.kill()
    yield
