"""Pictures of a study: how its trials did, with which parameters, and which of them matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeAlias

from intendant.cli.pages.scales import Numbers, Places, Scale, as_text, scale_of
from intendant.protocol.space import Choice, Grid, Integer, LogUniform, Parameter
from intendant.protocol.study import Mode

COLOURS = {
    "pending": "#b0c4de",
    "running": "#2e8b57",
    "paused": "#8e44ad",
    "completed": "#4169e1",
    "pruned": "#e0a030",
    "stopped": "#5f9ea0",
    "failed": "#c0392b",
    "cancelled": "#9aa5b1",
}
"""By where a trial is or how it ended."""
Place: TypeAlias = Callable[[Any], float]
"""From a number or a value to a place in the picture."""

MAX_AXES = 16
MAX_PLACES = 40
MAX_LINES = 1000
WIDTH, LEFT, TOP = 1120, 90, 28
_AXES_TOP = 36
_MAX_LABEL = 14
_MAX_NAME = 26
_ABSENT = 1.06
"""Where a parameter that a trial has not got is drawn: below its axis."""


@dataclass(frozen=True, slots=True)
class Point:
    """One trial that has a value."""

    number: int
    standing: str
    value: float
    params: Mapping[str, object]
    further: Mapping[str, float] = field(default_factory=dict)
    """The study's further metrics."""

    @property
    def settings(self) -> dict[str, object]:
        """What it is drawn by beside its value: parameters and further metrics."""
        return {**self.params, **self.further}

    @property
    def colour(self) -> str:
        """What it is drawn in."""
        return COLOURS.get(self.standing, "#777777")

    @property
    def title(self) -> str:
        """What is said of it."""
        params = ", ".join(f"{name}={as_text(value)}" for name, value in self.settings.items())
        return escape(f"trial {self.number}: {self.standing}, {self.value:.6g}; {params}"[:1000])


def history(points: Sequence[Point], *, metric: str, mode: Mode) -> str:
    """Each trial's value by its number, and the best value so far."""
    height, bottom = 330, 300
    values = scale_of([point.value for point in points])
    numbers = Numbers(0, max(*(point.number for point in points), 1))

    def x(number: float) -> float:
        return LEFT + (numbers.at(number) or 0.0) * (WIDTH - LEFT - 40)

    def y(value: float) -> float:
        return bottom - (values.at(value) or 0.0) * (bottom - TOP)

    lines = [
        svg(height),
        *(level(bottom - at * (bottom - TOP), text) for at, text in values.ticks()),
    ]
    lines += [
        f'<text x="{LEFT + at * (WIDTH - LEFT - 40):.0f}" y="{bottom + 18}" font-size="11" '
        f'fill="#555" text-anchor="middle">{text}</text>'
        for at, text in numbers.ticks()
    ]
    lines.append(label(LEFT, 12, metric))
    lines.append(_best_so_far(points, x, y, mode, until=numbers.high))
    lines += [
        f'<circle cx="{x(point.number):.1f}" cy="{y(point.value):.1f}" r="3.5" '
        f'fill="{point.colour}" fill-opacity=".75"><title>{point.title}</title></circle>'
        for point in points
    ]
    return "\n".join([*lines, "</svg>", legend(points, "best of those completed so far")])


def parallel_coordinates(
    points: Sequence[Point], space: Mapping[str, Parameter], *, metric: str, mode: Mode
) -> str:
    """A line for each trial through its parameters to its value, the best ones on top."""
    best_last = sorted(points, key=lambda point: point.value, reverse=mode == "min")[-MAX_LINES:]
    axes = _axes(best_last, space, metric)
    height, bottom = 400, 365
    lines = [svg(height)]
    for rank, point in enumerate(best_last):
        share = (rank + 1) / len(best_last)
        path = " ".join(
            f"{axis.x:.1f},{_AXES_TOP + (1 - axis.at(point)) * (bottom - _AXES_TOP):.1f}"
            for axis in axes
        )
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{_shade(share)}" '
            f'stroke-opacity="{0.25 + 0.6 * share:.2f}" stroke-width="{1 + 1.2 * share**8:.1f}">'
            f"<title>{point.title}</title></polyline>"
        )
    lines += [
        _drawn(axis, bottom, has_absent=any(axis.at(point) < 0 for point in best_last))
        for axis in axes
    ]
    return "\n".join([*lines, "</svg>"])


def bars(shares: Mapping[str, float]) -> str:
    """Parameters with their importances, from 0 to 1."""
    row = 22
    lines = [svg(row * len(shares) + 12)]
    for at, (name, share) in enumerate(shares.items()):
        y = 6 + at * row
        width = max(share * 760, 1.0)
        lines.append(
            f"<g><title>{escape(name)}</title>"
            f'<text x="190" y="{y + 14}" font-size="12" text-anchor="end">'
            f"{escape(_cut(name, _MAX_NAME))}</text>"
            f'<rect x="200" y="{y + 2}" width="{width:.1f}" height="{row - 6}" rx="2" '
            f'fill="#4169e1"/><text x="{206 + width:.0f}" y="{y + 14}" font-size="12" '
            f'fill="#555">{share:.2f}</text></g>'
        )
    return "\n".join([*lines, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Axis:
    """One parameter, or the value (without a name of its own in the space)."""

    x: float
    text: str
    scale: Scale
    name: str | None

    def at(self, point: Point) -> float:
        """Where a trial crosses it, from 0 below to 1 above."""
        if self.name is None:
            place = self.scale.at(point.value)
        elif self.name in point.settings:
            place = self.scale.at(point.settings[self.name])
        else:
            place = None
        return 1 - _ABSENT if place is None else place


def _axes(points: Sequence[Point], space: Mapping[str, Parameter], metric: str) -> list[_Axis]:
    """Those parameters that vary, as the space names them, and the value last."""
    settings: dict[str, list[object]] = {name: [] for name in space}
    for point in points:
        for name, value in point.settings.items():
            settings.setdefault(name, []).append(value)
    varied = [name for name, found in settings.items() if len(set(map(as_text, found))) > 1]
    shown = varied[:MAX_AXES]
    gap = (WIDTH - 2 * LEFT) / max(len(shown), 1)
    axes = [
        _Axis(LEFT + at * gap, name, _scale_for(space.get(name), settings[name]), name)
        for at, name in enumerate(shown)
    ]
    values = scale_of([point.value for point in points])
    return [*axes, _Axis(LEFT + len(shown) * gap, metric, values, None)]


def _scale_for(parameter: Parameter | None, found: Sequence[object]) -> Scale:
    """As the space means it; by what was found where trials have other values than it knows."""
    if isinstance(parameter, Choice | Grid):
        texts = [as_text(value) for value in parameter.values]
        if len(texts) <= MAX_PLACES and {as_text(value) for value in found} <= set(texts):
            return Places(texts)
    is_log = isinstance(parameter, LogUniform) or (isinstance(parameter, Integer) and parameter.log)
    return scale_of(found, log=is_log)


def _drawn(axis: _Axis, bottom: float, *, has_absent: bool) -> str:
    x, top = f"{axis.x:.1f}", _AXES_TOP
    name = f"<title>{escape(axis.text)}</title>{escape(_cut(axis.text, _MAX_LABEL))}"
    lines = [
        f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="#555"/>',
        f'<text x="{x}" y="16" font-size="12" text-anchor="middle">{name}</text>',
    ]
    absent = [(1 - _ABSENT, "absent")] if has_absent else []
    for place, text in [*absent, *axis.scale.ticks()]:
        y = bottom - place * (bottom - top)
        lines.append(
            f'<text x="{axis.x - 6:.1f}" y="{y + 4:.1f}" font-size="10" text-anchor="end" '
            f'paint-order="stroke" stroke="#fff" stroke-width="3">{escape(_cut(text, _MAX_LABEL))}'
            "</text>"
        )
    return "".join(lines)


def _best_so_far(points: Sequence[Point], x: Place, y: Place, mode: Mode, *, until: float) -> str:
    """A staircase along the complete trials."""
    better = min if mode == "min" else max
    best: float | None = None
    path: list[str] = []
    for point in sorted(points, key=lambda point: point.number):
        if point.standing == "completed":
            before, best = best, point.value if best is None else better(best, point.value)
            path += [f"{x(point.number):.1f},{y(best if before is None else before):.1f}"]
            path += [f"{x(point.number):.1f},{y(best):.1f}"]
    if best is not None:
        path.append(f"{x(until):.1f},{y(best):.1f}")
    return f'<polyline points="{" ".join(path)}" fill="none" stroke="#222" stroke-width="1.5"/>'


def legend(points: Sequence[Point], line: str) -> str:
    """What the colours stand for, and the line."""
    standings = [name for name in COLOURS if any(point.standing == name for point in points)]
    marks = [f'<span style="color:{COLOURS[name]}">●</span> {name}' for name in standings]
    return f'<p class="legend">{" ".join(marks)} <span>―</span> {line}</p>'


def level(y: float, text: str) -> str:
    """A line across, with what it stands for."""
    return (
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 40}" y2="{y:.1f}" stroke="#e3e6ea"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" font-size="11" fill="#555" text-anchor="end">'
        f"{escape(text)}</text>"
    )


def _shade(share: float) -> str:
    """From a light grey for the worst to a deep blue for the best."""
    light, deep = (201, 208, 217), (23, 63, 161)
    red, green, blue = (round(a + (b - a) * share**2) for a, b in zip(light, deep, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def svg(height: float) -> str:
    """The beginning of a picture as wide as all of them."""
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'


def label(x: float, y: float, text: str) -> str:
    """The name of an axis."""
    return f'<text x="{x}" y="{y}" font-size="12" text-anchor="middle">{escape(text)}</text>'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
