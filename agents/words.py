"""Figures in words, for tables and reports."""

from collections.abc import Callable

from adaptoff.agents.results import Json


def plain(value: float) -> str:
    """A ratio or a cost."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def share(value: float) -> str:
    """A share in per cent; the smaller, the more decimals matter."""
    decimals = 2 if 0 < abs(value) < 0.01 else 1 if abs(value) < 1 else 0
    return f"{value:.{decimals}%}"


def span(figure: Json, say: Callable[[float], str], key: str = "ci95") -> str:
    """The ends of an interval; none of a single value."""
    low, high = figure[key]
    return "none" if low is None else f"{say(low)} to {say(high)}"
