"""Self-contained HTML pages: no network, no scripts, figures inline; all text is escaped."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from typing import Any

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
.sub, figcaption, .note { color: #5a616b; }
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
td small { color: #5a616b; display: block; white-space: nowrap; }
.warning { border-left: 4px solid #d55e00; padding-left: 10px; }
pre { margin: 0; white-space: pre-wrap; font-size: 13px; }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="sub">$subtitle</p>
$body
</main></body>
</html>
""")


def page(title: str, subtitle: str, parts: Iterable[str]) -> str:
    """The page as text; ``parts`` are HTML."""
    return PAGE.substitute(title=escape(title), subtitle=escape(subtitle), body="\n".join(parts))


def tiles(figures: dict[str, str]) -> str:
    """Large values over their labels, by label."""
    each = (
        f'<div class="tile"><b>{escape(value)}</b>{escape(label)}</div>'
        for label, value in figures.items()
    )
    return f'<div class="tiles">{"".join(each)}</div>'


def section(title: str, content: str, note: str = "") -> str:
    """A titled part of the page; ``content`` is HTML, the note is text."""
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{said}{content}</section>"


def figure(title: str, caption: str, svg: str) -> str:
    """A section with an SVG element."""
    named = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    text = f"<figcaption>{escape(caption)}</figcaption>"
    return f"<section><figure><h2>{escape(title)}</h2>{text}{named}</figure></section>"


def table(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Rows of values; dicts and lists fold away, a tuple is a text and its small print."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{titles}</tr></thead>' if head else ''}{body}</table>"


def _cell(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, tuple):
        text, *more = map(escape, value)
        return f"<td>{text}{''.join(f'<small>{small}</small>' for small in more)}</td>"
    if isinstance(value, dict | list):
        text = escape(json.dumps(value, indent=1, ensure_ascii=False))
        return (
            f"<td><details><summary>{len(value)} entries</summary><pre>{text}</pre></details></td>"
        )
    return f"<td>{escape(str(value))}</td>"
