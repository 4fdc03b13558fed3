"""When each step ran (after Gantt), as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from intendant.cli import render
from intendant.client.shapes import StepInfo
from intendant.protocol.durations import format_duration
from intendant.protocol.graph_text import COLOURS

MAX_ROWS = 2000
_NAMES, _WIDTH, _ROW, _TOP, _RIGHT = 190, 900, 18, 24, 80
_MAX_NAME = 26
_TICKS = 5
_MIN_BAR = 2.0


def timeline(steps: Sequence[StepInfo], now: datetime) -> str:
    """One bar for the newest attempt of each step that has started, by the time of that."""
    spans = [
        (_moment(started_at), _end(step, now), step)
        for step in steps
        if (started_at := step.get("started_at")) is not None
    ]
    spans.sort(key=lambda span: span[0])
    if not spans:
        return "<p>Nothing has started.</p>"
    first = spans[0][0]
    total_s = max((max(end for _, end, _ in spans) - first).total_seconds(), 0.001)
    shown = spans[:MAX_ROWS]
    width, height = _NAMES + _WIDTH + _RIGHT, _TOP + _ROW * len(shown) + 8
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">']
    lines += [_tick(at, total_s, height) for at in range(_TICKS + 1)]
    lines += [
        _bar(row, (start - first).total_seconds(), (end - start).total_seconds(), total_s, step)
        for row, (start, end, step) in enumerate(shown)
    ]
    more = len(spans) - len(shown)
    return "\n".join([*lines, "</svg>", f"<p>and {more} more</p>" if more else ""])


def _bar(row: int, start_s: float, took_s: float, total_s: float, step: StepInfo) -> str:
    y = _TOP + row * _ROW
    x, width = _NAMES + start_s / total_s * _WIDTH, max(took_s / total_s * _WIDTH, _MIN_BAR)
    standing = render.step_standing(step)
    name = step["name"]
    took = format_duration(took_s)
    return (
        f"<g><title>{escape(f'{name}: {standing}, {took}')}</title>"
        f'<text x="{_NAMES - 8}" y="{y + 12}" font-size="11" text-anchor="end">'
        f"{escape(_shortened(name))}</text>"
        f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 5}" rx="2" '
        f'fill="{COLOURS.get(standing, "#999999")}"/>'
        f'<text x="{x + width + 4:.1f}" y="{y + 12}" font-size="11" fill="#555">'
        f"{escape(took)}</text></g>"
    )


def _tick(at: int, total_s: float, height: int) -> str:
    x = _NAMES + at / _TICKS * _WIDTH
    return (
        f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height}" stroke="#e3e6ea"/>'
        f'<text x="{x:.1f}" y="{_TOP - 10}" text-anchor="middle" font-size="11" fill="#555">'
        f"{escape(format_duration(total_s * at / _TICKS))}</text>"
    )


def _end(step: StepInfo, now: datetime) -> datetime:
    finished_at = step.get("finished_at") if step["state"] != "running" else None
    return max(_moment(finished_at) if finished_at else now, _moment(step["started_at"]))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
