"""What every page has: its head and its style. What it is given is data: it is escaped here.

The page's own policy (https://www.w3.org/TR/CSP3/) keeps a browser from fetching anything for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from intendant.cli import render
from intendant.client.shapes import RunDetails

MAX_VALUE = 24
"""How much of a parameter's value is shown, as ClearML does it."""

SHORT = 12
"""So long a text is not broken."""

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px;
       padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
.facts { color: #555; margin: 0; } .box { overflow: auto; max-height: 80vh; border: 1px solid #ddd;
       border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .6rem;
       border-bottom: 1px solid #eee; vertical-align: top; }
th { background: #f5f6f8; position: sticky; top: 0; } td { overflow-wrap: anywhere; }
td:first-child, td.short { white-space: nowrap; }
.state { color: #fff; border-radius: 4px; padding: 0 .4rem; white-space: nowrap; }
.box > p { margin: .6rem 1rem; } .legend { color: #555; } .legend span { margin-left: 1rem; }
.light { color: #222; } a { color: #2457a6; }
"""


class Raw(str):
    """Text that is HTML already."""


def page(title: str, body: Iterable[str], *, scripts: Sequence[str] = ()) -> str:
    """The whole page; `scripts` are our own or a library's, never data."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    if scripts:
        policy += "; script-src 'unsafe-inline'"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        *body,
        *(f"<script>{script}</script>" for script in scripts),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells that are not `Raw` are escaped."""
    lines = ["<table><thead><tr>", *(f"<th>{escape(name)}</th>" for name in head)]
    lines.append("</tr></thead><tbody>")
    lines += ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    return "".join([*lines, "</tbody></table>"])


def section(title: str, *content: str) -> str:
    """A heading and what stands below it, in a box that scrolls."""
    return f'<h2>{escape(title)}</h2><div class="box">{"".join(content)}</div>'


def heading(details: RunDetails, count: str, now: datetime) -> list[str]:
    """What is true of the run as a whole; `count` says of how many things it is made."""
    run = details["run"]
    started = render.when(run["started_at"], now) or "not yet"
    reason = f": {run['reason']}" if run["reason"] else ""
    facts = [
        f"run {run['id']}, {render.standing(run)}{reason}",
        count,
        f"started {started}, took {render.took(run, now)}",
        f"as of {now.astimezone():%Y-%m-%d %H:%M:%S}",
    ]
    title = run["name"] or f"Run {run['id']}"
    return [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="facts">{escape(fact)}</p>' for fact in facts),
    ]


def badge(text: str, colour: str, *, is_light: bool = False) -> Raw:
    """A word in a colour, which is a literal of this package."""
    tone = "state light" if is_light else "state"
    return Raw(f'<span class="{tone}" style="background:{colour}">{escape(text)}</span>')


def log_links(folder: Path, home: Path) -> Raw:
    """To what was printed; where the run's own folder is at hand, only to what is there."""
    logs = [(name, Path(folder, f"{name}.log")) for name in ("stdout", "stderr")]
    if home.is_dir():
        logs = [(name, path) for name, path in logs if path.exists()]
    return Raw(" ".join(f'<a href="{escape(path.as_uri())}">{name}</a>' for name, path in logs))


def shortened(value: object) -> str:
    """The beginning of a value."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _cell(cell: str) -> str:
    """A cell; what is short, as numbers are, is not broken into two lines."""
    if isinstance(cell, Raw):
        return f"<td>{cell}</td>"
    kind = ' class="short"' if len(cell) <= SHORT else ""
    return f"<td{kind}>{escape(cell)}</td>"
