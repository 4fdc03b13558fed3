"""The results as a page that needs nothing but itself: for each row a plot of ours and the peer."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

Found = Mapping[str, Any]
"""What `results.json` holds, or one of its rows."""

_LABEL, _WIDTH, _ROOM, _BAR, _GAP = 45, 360, 70, 14, 6
"""What stands left of a bar, the longest bar, what stands right of it, its height, what follows."""
_MET = {True: "met", False: "missed", None: ""}
_STYLE = """
:root { color-scheme: light dark; --ours: #2563c9; --peer: #9a9a9a; --line: #8886; }
@media (prefers-color-scheme: dark) { :root { --ours: #6ea0f0; --peer: #777; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .6rem; text-align: left; }
td small { color: GrayText; }
.missed { color: #c03a2b; } .met { color: #2e8540; }
svg { display: block; font: 11px system-ui, sans-serif; }
.ours { fill: var(--ours); } .peer { fill: var(--peer); } text { fill: currentColor; }
path { stroke: currentColor; fill: none; }
"""


def page(found: Found) -> str:
    """The whole page."""
    machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    rows = "\n".join(map(_row, found["rows"]))
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>intendant: benchmarks</title><style>{_STYLE}</style></head>
<body>
<h1>Benchmarks</h1>
<p>Ours and the peer, measured in turn: the bar is the median, the line goes from the smallest
to the largest. Every row has a scale of its own.</p>
<p>Commit {escape(str(found["commit"]))}. Machine: {escape(machine)}.</p>
<table>
<tr><th>row</th><th>ours and the peer</th><th>ratio</th><th>aim</th></tr>
{rows}
</table>
</body>
</html>
"""


def _row(row: Found) -> str:
    ratio = "" if row["ratio"] is None else figure(row["ratio"])
    met = _MET[row["aim_met"]]
    return (
        f"<tr><td>{escape(row['name'])}<br><small>{escape(row['unit'])}, "
        f"{row['repeats']} repeats; peer: {escape(row['peer_name'])}</small></td>"
        f"<td>{_plot(row)}</td><td>{ratio}</td>"
        f"<td>{escape(row['aim'] or '')} <span class='{met}'>{met}</span></td></tr>"
    )


def _plot(row: Found) -> str:
    """A bar for ours and one for the peer, if there is one; a row without figures has none."""
    bars = [
        (name, row[median], row[low], row[high])
        for name, median, low, high in (
            ("ours", "ours", "min", "max"),
            ("peer", "peer", "peer_min", "peer_max"),
        )
        if row[median] is not None
    ]
    if not bars:
        return "not measured"
    scale = _WIDTH / (max(high for *_, high in bars) or 1)
    drawn = "".join(_bar(at, *bar, scale=scale) for at, bar in enumerate(bars))
    width, height = _LABEL + _WIDTH + _ROOM, len(bars) * (_BAR + _GAP)
    told = ", ".join(f"{name} {figure(median)}" for name, median, *_ in bars)
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(told)}">'
        f"{drawn}</svg>"
    )


def _bar(at: int, name: str, median: float, low: float, high: float, *, scale: float) -> str:
    top = at * (_BAR + _GAP)
    middle, text = top + _BAR / 2, top + _BAR - 3
    left, right = _LABEL + low * scale, _LABEL + high * scale
    whisker = (
        f"M{left:.1f} {middle - 4}v8M{left:.1f} {middle}H{right:.1f}M{right:.1f} {middle - 4}v8"
    )
    return (
        f'<text x="0" y="{text}">{name}</text>'
        f'<rect class="{name}" x="{_LABEL}" y="{top}" '
        f'width="{median * scale:.1f}" height="{_BAR}"/>'
        f'<path d="{whisker}"/>'
        f'<text x="{right + 6:.1f}" y="{text}">{figure(median)}</text>'
    )


def figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
