"""The result of ``adaptoff evaluate`` as tables for people."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from adaptoff.agents.results import Json
from adaptoff.agents.words import plain, share, span

COLUMNS = {
    "cost": "cost",
    "round_time_ratio": "time",
    "energy_ratio": "energy",
    "regret": "regret",
    "heat_violation": "too hot",
    "decision_changes": "changes",
}
SHARES = {"regret", "heat_violation", "decision_changes"}
WITH_INTERVAL = {"cost", "regret"}
"""so that it fits a terminal; the result has all"""


def show(result: Json, console: Console) -> None:
    """Figures of each method, regret by class, and what the policy is paired with."""
    seeds = len(result["provenance"]["seeds"])
    of = f"{seeds} seeds" if seeds > 1 else "episodes, as there is one seed"
    console.print(_methods(result["methods"], f"means, and 95 % intervals over {of}"))
    if len(result["classes"]) > 1:
        console.print(_classes(result))
    for pair, figure in result["paired"].items():
        console.print(f"{pair}: {share(figure['mean'])} of its cost, {span(figure, share)}")
    for name in ("results", "report"):
        if name in result:
            console.print(result[name], soft_wrap=True)


def _methods(figures: Json, title: str) -> Table:
    table = _table("method", *COLUMNS.values(), title=title)
    for name, each in figures.items():
        table.add_row(name, *(_cell(key, each[key]) for key in COLUMNS))
    return table


def _table(first: str, *others: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for head in others:
        table.add_column(head, justify="right")
    return table


def _cell(key: str, figure: Json) -> str:
    say = share if key in SHARES else plain
    lines = [say(figure["mean"])]
    if key in WITH_INTERVAL:
        lines.append(span(figure, say))
    return "\n".join(lines)


def _classes(result: Json) -> Table:
    table = _table("regret by class", *result["classes"])
    for name in result["methods"]:
        regrets = [part["methods"][name]["regret"] for part in result["classes"].values()]
        table.add_row(name, *(share(regret["mean"]) for regret in regrets))
    return table
