"""Link processes against the real traces that they are fitted to.

``python benchmarks/links.py DIR [DIR ...] [--steps 1 5] [--json]`` fits every family of traces (the
part of a file's name before its first underscore) at each step in seconds, draws links of the same
lengths from the fit, and prints figures of both. What is fitted is the downlink.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adaptoff import traces
from adaptoff.envs.fitting import figures, fit, simulated
from adaptoff.envs.replay import averages
from adaptoff.fleet import Floats
from adaptoff.traces import Trace

SHORTEST = 10
"""steps; a link of fewer says little about its autocorrelation"""


def families(folders: list[Path]) -> dict[str, list[Trace]]:
    """All traces of the folders by family."""
    found: dict[str, list[Trace]] = {}
    for path in sorted(path for folder in folders for path in folder.glob("*.csv")):
        found.setdefault(path.name.partition("_")[0], []).append(traces.load(path))
    return found


def series(loaded: list[Trace], step_s: float) -> list[Floats]:
    """Mean downlink rates in steps, of the traces that are long enough."""
    steps = [int(trace.period_s // step_s) for trace in loaded]
    both = zip(loaded, steps, strict=True)
    return [averages(trace, 0.0, n, step_s)[1] for trace, n in both if n >= SHORTEST]


def measure(loaded: list[Trace], step_s: float) -> dict[str, Any]:
    """Parameters and both sides' figures."""
    real = series(loaded, step_s)
    family = fit(real)
    drawn = figures(simulated(family, real, seed=1))
    return {"links": len(real), "real": figures(real), "drawn": drawn, "family": asdict(family)}


def report(name: str, step_s: float, found: dict[str, Any]) -> None:
    """Print one family."""
    print(f"{name}, {found['links']} links, steps of {step_s:g} s")
    for figure, real in found["real"].items():
        print(f"  {figure:14s} real {real:10.3f}   drawn {found['drawn'][figure]:10.3f}")
    print("  " + ", ".join(f"{key}={value:.4g}" for key, value in found["family"].items()))


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--steps", type=float, nargs="+", default=[1.0, 5.0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    loaded = families(options.folders)
    if not loaded:
        parser.error(f"no *.csv traces in {', '.join(map(str, options.folders))}")
    found = {
        name: {step_s: measure(each, step_s) for step_s in options.steps}
        for name, each in loaded.items()
    }
    if options.json:
        print(json.dumps(found))
        return
    for name, by_step in found.items():
        for step_s, each in by_step.items():
            report(name, step_s, each)


if __name__ == "__main__":
    main()
