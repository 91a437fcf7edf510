"""The result of ``adaptoff evaluate --live --out`` -> one self-contained HTML page."""

from collections.abc import Iterator
from typing import Any

from adaptoff.agents.eval_report import METHODS, PAIRED, methods_table, paired_table
from adaptoff.agents.page import page, section, table, tiles
from adaptoff.agents.report import devices_table, figures, runs_table, warnings
from adaptoff.agents.results import Json, chosen
from adaptoff.agents.words import share

RUNS = "The first seed's rounds, in seconds of emulated time; the warm-up is not counted."
ORACLE = (
    " Here the oracle's rows are the best by the cost model under the rates and speeds that the "
    "scenario names for the coming round; their seconds are measured as everybody's are."
)


def render(result: Json) -> str:
    """The page as text."""
    title = f"adaptoff: {result['scenario']}, methods judged live"
    subtitle = f"{result['model']} on {result['dataset']} · {result['backend']}"
    return page(title, subtitle, _parts(result))


def _parts(result: Json) -> Iterator[str]:
    yield tiles(_headline(result))
    yield warnings(result)
    yield section("Methods", methods_table(result["methods"]), METHODS + ORACLE)
    if result["paired"]:
        yield section("The policy against each other method", paired_table(result), PAIRED)
    yield section("Runs", runs_table(result), RUNS)
    yield section("Training", table(TRAINING, map(_training, result["runs"].items())))
    yield from figures(result)
    yield section("Devices", devices_table(result))
    yield section("Provenance", table([], result["provenance"].items()))


def _headline(result: Json) -> dict[str, str]:
    name = chosen(result)
    if name not in result["methods"]:
        return {}
    found = result["methods"][name]
    time, energy = (found[key]["mean"] - 1 for key in ("round_time_ratio", "energy_ratio"))
    return {
        f"{name}: time per round against native": f"{time:+.1%}",
        f"{name}: energy per round against native": f"{energy:+.1%}",
        f"{name}: regret to the oracle": share(found["regret"]["mean"]),
    }


TRAINING = ("method", "s in all", "accuracy in the end", "accuracy asked for", "s until then")


def _training(item: tuple[str, Json]) -> list[Any]:
    name, run = item
    reached = run["time_to_accuracy_s"]
    return [
        name, f"{run['training_time_s']:.1f}", f"{run['accuracy']:.3f}",
        f"{run['target_accuracy']:.3f}", "never" if reached is None else f"{reached:.1f}",
    ]  # fmt: skip
