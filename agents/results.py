"""Reads the result of live runs, as ``adaptoff demo`` writes it, for tables and figures."""

import math
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
METHODS = ("native", "adaptive", "constant", "constant_each")
MAX_LABEL = 24


def methods(result: Json) -> dict[str, Json]:
    """The runs that the result has, by name."""
    if "runs" in result:
        return dict(result["runs"])
    return {name: result[name] for name in METHODS if name in result}


def chosen(result: Json) -> str:
    """Which run figures are about: the controller's, or else the last one."""
    runs = methods(result)
    return next((name for name in ("adaptive", "policy") if name in runs), list(runs)[-1])


def rounds_of(run: Json) -> list[int]:
    """Round numbers."""
    return [round_["round"] for round_ in run["rounds"]]


def numbers(values: Iterable[Any]) -> list[float]:
    """Numbers as floats; what is none is NaN."""
    return [float(v) if isinstance(v, int | float) else math.nan for v in values]


def series(run: Json, device: Any, key: str) -> list[Any]:  # noqa: ANN401
    """One value of a device for each round; NaN where it has none, was late or was gone.

    ``source``, the only text, is None there.
    """
    found = [
        next((d.get(key) for d in round_["devices"] if d["device"] == device), None)
        for round_ in run["rounds"]
    ]
    return found if key == "source" else numbers(found)


def device_label(device: Json) -> str:
    """A short name in one line of printable characters."""
    text = f"{device['id']} · {device['board']}"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
