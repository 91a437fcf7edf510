"""The result of ``adaptoff demo`` -> one self-contained HTML page."""

from html import escape
from statistics import fmean
from typing import Any

from adaptoff.agents.page import figure, page, section, table, tiles
from adaptoff.agents.plots import MAX_DRAWN, draw
from adaptoff.agents.results import Json, methods

CAPTIONS = {
    "round_time": (
        "Round time",
        "A round ends when its last device is done. Every method meets the same links.",
    ),
    "decisions": (
        "What the controller decided",
        "How many blocks of the network stay on the device: 0 is all on the server, the highest is "
        "all on the device. The darker, the faster the clock.",
    ),
    "bandwidth": (
        "Bandwidth",
        "Payload rates that the devices measured in the controller's run; a gap is a round in "
        "which nothing was measured.",
    ),
    "shares": ("Where the time goes", "The mean round of each device, by what it was spent on."),
    "accuracy": ("Accuracy", "Of the averaged model after each round, on held-out samples."),
}


def render(result: Json) -> str:
    """The page as text."""
    parts = [
        tiles(_headline(result)),
        warnings(result),
        section("Methods", runs_table(result)),
        *figures(result),
        section("Devices", devices_table(result)),
        section("Provenance", table([], result.get("provenance", {}).items())),
    ]
    title = f"adaptoff: {result['model']} on {len(result['devices'])} devices"
    return page(title, f"{result['dataset']} data · {result['backend']}", parts)


def _headline(result: Json) -> dict[str, str]:
    saved, native, adaptive = result["reduction"], result["native"], result["adaptive"]
    return {
        "time per round than native": _change(saved["round_time"]),
        f"energy than native ({adaptive['energy_source']})": _change(saved["energy"]),
        f"accuracy; native {native['accuracy']:.1%}": f"{adaptive['accuracy']:.1%}",
    }


def _change(saved: float) -> str:
    return f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'}"


def warnings(result: Json) -> str:
    """Rounds whose seconds are not to be trusted."""
    found = {name: run.get("overloaded_rounds") for name, run in methods(result).items()}
    return "".join(
        f'<p class="warning">{escape(name)}: this host was overloaded in rounds {escape(str(r))}; '
        "their seconds are too long.</p>"
        for name, r in found.items()
        if r
    )


HEAD = (
    "method", "rounds", "s a round", "s in all", "J a round", "energy is", "accuracy", "late",
)  # fmt: skip


def runs_table(result: Json) -> str:
    """A row for each method's run."""
    return table(HEAD, [_method(name, run) for name, run in methods(result).items()])


def _method(name: str, run: Json) -> list[Any]:
    seconds, joules = run["round_s"], run["energy_j"]
    return [
        name, len(seconds), f"{fmean(seconds):.2f}", f"{sum(seconds):.1f}", f"{fmean(joules):.1f}",
        run["energy_source"], f"{run['accuracy']:.3f}", run["late"],
    ]  # fmt: skip


def figures(result: Json) -> list[str]:
    """What is drawn, as sections of a page."""
    return [
        figure(CAPTIONS[name][0], CAPTIONS[name][1] + _left_out(result, name), svg)
        for name, svg in draw(result).items()
    ]


def _left_out(result: Json, name: str) -> str:
    total = len(result["devices"])
    if total <= MAX_DRAWN or name not in {"decisions", "bandwidth", "shares"}:
        return ""
    return f" The first {MAX_DRAWN} of {total} devices are shown."


def devices_table(result: Json) -> str:
    """Boards and links of the devices."""
    keys = ["id", "board", "link"]
    return table(keys, [[device[key] for key in keys] for device in result["devices"]])
