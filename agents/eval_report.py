"""The result of ``adaptoff evaluate --out`` -> one self-contained HTML page."""

from collections.abc import Iterator

from adaptoff.agents import eval_plots, eval_timeline
from adaptoff.agents.drawing import render as svg
from adaptoff.agents.page import figure, page, section, table, tiles
from adaptoff.agents.results import Json
from adaptoff.agents.words import plain, share, span

COLUMNS = {
    "cost": "cost",
    "round_time_ratio": "round time / native",
    "energy_ratio": "energy / native",
    "regret": "regret",
    "heat_violation": "above heat limit",
    "decision_changes": "rows changed",
}
METHODS = (
    "Mean over the episodes of a seed, then over seeds; below it 95 % bootstrap intervals, over "
    "seeds and, in brackets, over all episodes. Ratios and regret are those of each episode, then "
    "averaged. Regret is cost over the oracle's minus 1; the oracle knows the coming round, but "
    "does not plan for the heat of later ones. Above heat limit: share of device-rounds. Rows "
    "changed: share of clusters whose row, as applied, is another than the round before."
)
FEW = (
    " Intervals over so few seeds are too narrow: five seeds hold the true mean in 84 % of cases, "
    "ten in 90, not in 95."
)
PAIRED = (
    "Cost of the policy over that of the other method in the same episodes, minus 1: below zero "
    "the policy is cheaper. An interval without zero is a difference that the seeds agree on."
)
REGRET = (
    "Dots are means, thin lines 95 % intervals over seeds, wide pale ones over episodes. The axis "
    "is logarithmic beyond 1 %."
)


def render(result: Json) -> str:
    """The page as text."""
    known = result["provenance"]
    seeds, version = known["seeds"], known["versions"]["adaptoff"]
    subtitle = (
        f"{len(known['classes'])} classes, seeds {seeds[0]} to {seeds[-1]}, {known['rounds']} "
        f"rounds an episode, {known['episodes']} episodes of each method; adaptoff {version}"
    )
    return page("adaptoff: methods judged", subtitle, _parts(result))


def _parts(result: Json) -> Iterator[str]:
    known = result["provenance"]
    few = FEW if 1 < len(known["seeds"]) < 20 else ""
    yield tiles(_headline(result))
    yield section("All classes", methods_table(result["methods"]), METHODS + few)
    if result["paired"]:
        yield section("The policy against each other method", paired_table(result), PAIRED)
    yield figure("Regret", REGRET, svg(lambda: eval_plots.regret(result)))
    yield figure("Time and energy", _front_caption(result), svg(lambda: eval_plots.front(result)))
    line = result["timeline"]
    yield figure("One episode", _line_caption(line), svg(lambda: eval_timeline.round_times(line)))
    caption = f"Rows as applied by {line['method']}, true rates, temperatures. {_left_out(line)}"
    yield figure("Its decisions", caption, svg(lambda: eval_timeline.decisions(line)))
    if len(result["classes"]) > 1:
        for name, each in result["classes"].items():
            yield section(name, methods_table(each["methods"]))
    yield section("Provenance", table([], known.items()))


def _headline(result: Json) -> dict[str, str]:
    """The policy's figures, else those of the last method."""
    name = "policy" if "policy" in result["methods"] else list(result["methods"])[-1]
    found = result["methods"][name]
    time, energy = (found[key]["mean"] - 1 for key in ("round_time_ratio", "energy_ratio"))
    pair = result["paired"].get("policy - planner")
    against = {"policy: cost against the planner": f"{pair['mean']:+.1%}"} if pair else {}
    return {
        f"{name}: regret to the oracle": share(found["regret"]["mean"]),
        **against,
        f"{name}: time per round against native": f"{time:+.1%}",
        f"{name}: energy per round against native": f"{energy:+.1%}",
    }


def methods_table(figures: Json) -> str:
    """A row for each method's figures."""
    rows = [[name, *(_cell(each[key], key) for key in COLUMNS)] for name, each in figures.items()]
    return table(["method", *COLUMNS.values()], rows)


def _cell(found: Json, key: str) -> tuple[str, ...]:
    say = plain if key in {"cost", "round_time_ratio", "energy_ratio"} else share
    over_episodes = f"[{span(found, say, 'ci95_episodes')}]"
    return say(found["mean"]), span(found, say), over_episodes


def paired_table(result: Json) -> str:
    """A row for each other method, a column for each class."""
    parts = {"all classes": result, **result["classes"]}
    if len(result["classes"]) == 1:
        parts = result["classes"]
    rows = [
        [pair, *((share(p["paired"][pair]["mean"]), span(p["paired"][pair], share))
                 for p in parts.values())]
        for pair in result["paired"]
    ]  # fmt: skip
    return table(["pair", *parts], rows)


def _front_caption(result: Json) -> str:
    found = result["front"]
    weights = [f"{point['energy_weight']:g}" for point in found["classes"]["all"]["oracle"]]
    return (
        f"Lower and further left is better. Each line joins what the energy weights "
        f"{', '.join(weights)} give, its ends marked with them. Means of the first "
        f"{found['fleets']} fleets of each class with seed {found['seed']}. Native is at 1 and 1."
    )


def _line_caption(line: Json) -> str:
    return (
        f"{line['class']}, seed {line['seed']}, fleet {line['fleet']}, energy weight "
        f"{line['energy_weight']:.2g}: of this seed's episodes the one in which {line['method']} "
        "changed its rows most often. It is no typical one."
    )


def _left_out(line: Json) -> str:
    shown, total = eval_timeline.MOST_CLUSTERS, len(line["clusters"])
    return f"The first {shown} of {total} clusters are shown." if total > shown else ""
