"""Two metrics of a study against each other, with the line along the trials that none beats."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from intendant.cli.pages.scales import Scale, scale_of
from intendant.cli.pages.study_charts import LEFT, TOP, WIDTH, Point, label, legend, level, svg

_HEIGHT, _BOTTOM = 420, 375


@dataclass(frozen=True, slots=True)
class Pair:
    """A trial with its values of two metrics."""

    point: Point
    across: float
    up: float


def scatter(pairs: Sequence[Pair], *, across: str, up: str, front: Collection[int]) -> str:
    """A mark for each trial; those on the front, by number, are larger and joined by a line."""
    columns = scale_of([pair.across for pair in pairs])
    rows = scale_of([pair.up for pair in pairs])
    lines = [
        svg(_HEIGHT),
        *(level(_BOTTOM - at * (_BOTTOM - TOP), text) for at, text in rows.ticks()),
        *(
            f'<text x="{LEFT + at * (WIDTH - LEFT - 40):.0f}" y="{_BOTTOM + 18}" font-size="11" '
            f'fill="#555" text-anchor="middle">{text}</text>'
            for at, text in columns.ticks()
        ),
        label(LEFT, 12, up),
        label((LEFT + WIDTH - 40) / 2, _BOTTOM + 38, across),
    ]
    best = sorted(
        (pair for pair in pairs if pair.point.number in front), key=lambda pair: pair.across
    )
    path = " ".join(",".join(_place(pair, columns, rows)) for pair in best)
    lines.append(f'<polyline points="{path}" fill="none" stroke="#222" stroke-dasharray="4 3"/>')
    for pair in pairs:
        x, y = _place(pair, columns, rows)
        is_best = pair.point.number in front
        rim = ' stroke="#222" stroke-width="1.5"' if is_best else ' fill-opacity=".6"'
        lines.append(
            f'<circle cx="{x}" cy="{y}" r="{5 if is_best else 3.5}" fill="{pair.point.colour}"'
            f"{rim}><title>{pair.point.title}</title></circle>"
        )
    points = [pair.point for pair in pairs]
    return "\n".join([*lines, "</svg>", legend(points, "those that no other one beats")])


def _place(pair: Pair, columns: Scale, rows: Scale) -> tuple[str, str]:
    x = LEFT + (columns.at(pair.across) or 0.0) * (WIDTH - LEFT - 40)
    y = _BOTTOM - (rows.at(pair.up) or 0.0) * (_BOTTOM - TOP)
    return f"{x:.1f}", f"{y:.1f}"
