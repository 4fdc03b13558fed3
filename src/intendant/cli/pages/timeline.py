"""When each step or trial ran (after Gantt), as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from html import escape

from intendant.protocol.durations import format_duration

MAX_ROWS = 2000
_NAMES, _WIDTH, _TOP, _RIGHT = 190, 900, 24, 80
_ROW = 18
_MAX_NAME = 26
_TICKS = 8
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS_S = [
    *(digit * 10.0**power for power in range(-6, 0) for digit in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(_MINUTE * count for count in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * count for count in (1, 2, 3, 6, 12)),
    *(_DAY * digit * 10.0**power for power in range(5) for digit in (1, 2, 5)),
]
"""What may lie between two marks of the scale."""
_MIN_BAR, _MIN_SHARED_BAR = 2.0, 0.5
_EDGE = ' stroke="#fff" stroke-width=".5"'


@dataclass(frozen=True, slots=True)
class Span:
    """One bar: from its start to its end, or until now."""

    name: str
    standing: str
    colour: str
    start: datetime
    end: datetime

    @classmethod
    def of(
        cls, name: str, standing: str, colour: str, started_at: str, end: str | datetime
    ) -> Span:
        """From times as they stand in answers; a clock that was set back makes no negative one."""
        start = datetime.fromisoformat(started_at)
        if isinstance(end, str):
            end = datetime.fromisoformat(end)
        return cls(name, standing, colour, start, max(start, end))


def timeline(spans: Sequence[Span], *, height: float | None = None) -> str:
    """A row for each span, by the time of its start.

    Where that would be higher than `height`, spans that were not at the same time share rows.
    """
    if not spans:
        return "<p>Nothing has started.</p>"
    spans = sorted(spans, key=lambda span: span.start)
    first = spans[0].start
    total_s = max((max(span.end for span in spans) - first).total_seconds(), 0.001)
    shown = spans[:MAX_ROWS]
    is_shared = height is not None and height < _ROW * len(shown)
    rows = _shared_rows(shown) if is_shared else list(range(len(shown)))
    width, bottom = _NAMES + _WIDTH + _RIGHT, _TOP + _ROW * (max(rows) + 1) + 8
    size = f'width="{width}" height="{bottom}" viewBox="0 0 {width} {bottom}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">']
    lines += [_tick(at_s, total_s, bottom) for at_s in ticks(total_s)]
    lines += [
        _bar(row, (span.start - first).total_seconds(), total_s, span, is_named=not is_shared)
        for row, span in zip(rows, shown, strict=True)
    ]
    more = len(spans) - len(shown)
    return "\n".join([*lines, "</svg>", f"<p>and {more} more</p>" if more else ""])


def _shared_rows(spans: Sequence[Span]) -> list[int]:
    """For each span the row that was free for the longest time, or a new one."""
    free: list[tuple[datetime, int]] = []
    rows = []
    for span in spans:
        is_free = free and free[0][0] <= span.start
        row = heappop(free)[1] if is_free else len(free)
        heappush(free, (span.end, row))
        rows.append(row)
    return rows


def _bar(row: int, start_s: float, total_s: float, span: Span, *, is_named: bool) -> str:
    y, took_s = _TOP + row * _ROW, (span.end - span.start).total_seconds()
    x, width = _NAMES + start_s / total_s * _WIDTH, took_s / total_s * _WIDTH
    least = _MIN_BAR if is_named else _MIN_SHARED_BAR
    took = _time(took_s, scale_s=took_s)
    text = (
        f'<text x="{_NAMES - 8}" y="{y + 12}" font-size="11" text-anchor="end">'
        f"{escape(_shortened(span.name))}</text>"
        f'<text x="{x + max(width, least) + 4:.1f}" y="{y + 12}" font-size="11" fill="#555">'
        f"{escape(took)}</text>"
    )
    return (
        f"<g><title>{escape(f'{span.name}: {span.standing}, {took}')}</title>"
        f'<rect x="{x:.1f}" y="{y + 2}" width="{max(width, least):.1f}" height="{_ROW - 5}" '
        f'rx="2" fill="{span.colour}"{"" if is_named else _EDGE}/>{text if is_named else ""}</g>'
    )


def _tick(at_s: float, total_s: float, height: float) -> str:
    x = _NAMES + at_s / total_s * _WIDTH
    return (
        f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height}" stroke="#e3e6ea"/>'
        f'<text x="{x:.1f}" y="{_TOP - 10}" text-anchor="middle" font-size="11" fill="#555">'
        f"{escape(_round_time(at_s, scale_s=total_s))}</text>"
    )


def ticks(total_s: float) -> list[float]:
    """Round times from 0 to this, a few."""
    least = total_s / _TICKS
    step = next((each for each in _STEPS_S if each >= least), least)
    return [at * step for at in range(int(total_s / step) + 1)]


def _round_time(seconds: float, *, scale_s: float) -> str:
    if scale_s < 1:
        return f"{1000 * seconds:g}ms"
    return f"{seconds:g}s" if seconds < _MINUTE else format_duration(seconds)


def _time(seconds: float, *, scale_s: float) -> str:
    """A time on a scale of so many seconds: what is shorter than one is told in milliseconds."""
    return f"{1000 * seconds:.3g}ms" if scale_s < 1 else format_duration(seconds)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
