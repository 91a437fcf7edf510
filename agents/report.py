"""A run's result -> one self-contained HTML page: no network, no scripts, figures inline.

All text that comes from a result is escaped.
"""

import json
from html import escape
from pathlib import Path
from statistics import fmean
from string import Template
from typing import Any

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
        "Payload rates that the devices measured in the adaptive run; a gap is a round in which "
        "nothing was measured.",
    ),
    "shares": ("Where the time goes", "The mean round of each device, by what it was spent on."),
    "accuracy": ("Accuracy", "Of the averaged model after each round, on held-out samples."),
}

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { margin: 0; background: #f4f5f7; color: #22262b;
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 8px 0 0; }
h2 { font-size: 18px; margin: 0 0 2px; }
p { margin: 0 0 10px; }
.sub, figcaption { color: #5a616b; }
.tiles { display: flex; flex-wrap: wrap; gap: 16px; margin: 20px 0; }
.tile { flex: 1 1 220px; background: #fff; border: 1px solid #e1e4e8; border-radius: 8px;
  padding: 14px 18px; }
.tile b { display: block; font-size: 30px; line-height: 1.25; color: #0072b2; }
section { background: #fff; border: 1px solid #e1e4e8; border-radius: 8px; padding: 18px 20px;
  margin: 16px 0; overflow-x: auto; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid #e9ebee;
  vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; }
thead th { color: #5a616b; }
.warning { border-left: 4px solid #d55e00; padding-left: 10px; }
pre { margin: 0; white-space: pre-wrap; font-size: 13px; }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="sub">$subtitle</p>
<div class="tiles">$tiles</div>
$warnings
<section><h2>Methods</h2>$methods</section>
$figures
<section><h2>Devices</h2>$devices</section>
<section><h2>Provenance</h2>$provenance</section>
</main></body>
</html>
""")


def write_report(result: Json, path: Path) -> None:
    """Write the page for the result of ``adaptoff demo`` to ``path``."""
    path.write_text(render(result), encoding="utf-8")


def render(result: Json) -> str:
    """The page as text."""
    return PAGE.substitute(
        title=escape(f"adaptoff: {result['model']} on {len(result['devices'])} devices"),
        subtitle=escape(f"{result['dataset']} data · {result['backend']}"),
        tiles=_tiles(result),
        warnings=_warnings(result),
        methods=_methods(result),
        figures=_figures(result),
        devices=_devices(result),
        provenance=_table([], [[k, v] for k, v in result.get("provenance", {}).items()]),
    )


def _tiles(result: Json) -> str:
    saved, native, adaptive = result["reduction"], result["native"], result["adaptive"]
    tiles = {
        "time per round than native": _change(saved["round_time"]),
        f"energy than native ({adaptive['energy_source']})": _change(saved["energy"]),
        f"accuracy; native {native['accuracy']:.1%}": f"{adaptive['accuracy']:.1%}",
    }
    return "".join(
        f'<div class="tile"><b>{escape(value)}</b>{escape(label)}</div>'
        for label, value in tiles.items()
    )


def _change(saved: float) -> str:
    return f"{abs(saved):.1%} {'less' if saved >= 0 else 'more'}"


def _warnings(result: Json) -> str:
    """Rounds whose seconds are not to be trusted."""
    found = {name: run.get("overloaded_rounds") for name, run in methods(result).items()}
    return "".join(
        f'<p class="warning">{escape(name)}: this host was overloaded in rounds {escape(str(r))}; '
        "their seconds are too long.</p>"
        for name, r in found.items()
        if r
    )


def _methods(result: Json) -> str:
    head = [
        "method",
        "rounds",
        "s a round",
        "s in all",
        "J a round",
        "energy is",
        "accuracy",
        "late",
    ]
    return _table(head, [_method(name, run) for name, run in methods(result).items()])


def _method(name: str, run: Json) -> list[Any]:
    seconds, joules = run["round_s"], run["energy_j"]
    return [
        name, len(seconds), f"{fmean(seconds):.2f}", f"{sum(seconds):.1f}", f"{fmean(joules):.1f}",
        run["energy_source"], f"{run['accuracy']:.3f}", run["late"],
    ]  # fmt: skip


def _figures(result: Json) -> str:
    return "".join(_figure(result, name, svg) for name, svg in draw(result).items())


def _figure(result: Json, name: str, svg: str) -> str:
    title, text = CAPTIONS[name]
    named = svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    caption = f"<figcaption>{text}{_left_out(result, name)}</figcaption>"
    return f"<section><figure><h2>{title}</h2>{caption}{named}</figure></section>"


def _left_out(result: Json, name: str) -> str:
    total = len(result["devices"])
    if total <= MAX_DRAWN or name not in {"decisions", "bandwidth", "shares"}:
        return ""
    return f" The first {MAX_DRAWN} of {total} devices are shown."


def _devices(result: Json) -> str:
    keys = ["id", "board", "link"]
    return _table(keys, [[device[key] for key in keys] for device in result["devices"]])


def _table(head: list[str], rows: list[list[Any]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{titles}</tr></thead>' if head else ''}{body}</table>"


def _cell(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict | list):
        text = escape(json.dumps(value, indent=1, ensure_ascii=False))
        return (
            f"<td><details><summary>{len(value)} entries</summary><pre>{text}</pre></details></td>"
        )
    return f"<td>{escape(str(value))}</td>"
