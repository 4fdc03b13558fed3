"""The graph of a pipeline as a picture (SVG 1.1), each step in the colour of how it is; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from intendant.protocol.graph import Graph
from intendant.protocol.graph_layout import Place, lay_out
from intendant.protocol.graph_text import COLOURS, edges

MAX_DRAWN = 2000
"""A graph of more steps is not drawn: nobody could read it."""

_WIDTH, _HEIGHT = 150, 26
_COLUMN, _ROW = 210, 36
_MARGIN, _LEGEND = 16, 30
_MAX_NAME = 22
_DARK_TEXT = {"pending", "skipped", "not_run"}


class GraphPicture:
    """A graph with its layout, which is drawn again when steps have changed."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._places: dict[str, Place] = lay_out(graph)

    def draw(self, standings: Mapping[str, str]) -> str:
        """The picture; `standings` say how each step is or ended, `pending` if they don't."""
        columns = max((column for column, _ in self._places.values()), default=0)
        rows = max((row for _, row in self._places.values()), default=0.0)
        width = 2 * _MARGIN + columns * _COLUMN + _WIDTH
        height = 2 * _MARGIN + _LEGEND + rows * _ROW + _HEIGHT
        how = {name: standings.get(name, "pending") for name in self._places}
        body = "\n".join(
            [*_legend(how), *map(self._edge, *zip(*edges(self._graph), strict=True))]
            if any(self._graph.parents.values())
            else _legend(how)
        )
        nodes = "\n".join(self._node(name, how[name]) for name in self._places)
        size = max(width, 560)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{height:.0f}" '
            f'viewBox="0 0 {size} {height:.0f}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n{nodes}\n</svg>\n'
        )

    def _corner(self, name: str) -> tuple[float, float]:
        column, row = self._places[name]
        return _MARGIN + column * _COLUMN, _MARGIN + _LEGEND + row * _ROW

    def _edge(self, parent: str, child: str) -> str:
        (left, top), (right, bottom) = self._corner(parent), self._corner(child)
        x1, y1, x2, y2 = left + _WIDTH, top + _HEIGHT / 2, right, bottom + _HEIGHT / 2
        bend = (x2 - x1) / 2
        curve = f"C{x1 + bend:.0f},{y1:.1f} {x2 - bend:.0f},{y2:.1f} {x2:.0f},{y2:.1f}"
        path = f"M{x1:.0f},{y1:.1f} {curve}"
        return f'<path d="{path}" fill="none" stroke="#9aa5b1" stroke-opacity="0.7"/>'

    def _node(self, name: str, standing: str) -> str:
        x, y = self._corner(name)
        ink = "#222222" if standing in _DARK_TEXT else "#ffffff"
        return (
            f"<g><title>{escape(name)}: {escape(standing)}</title>"
            f'<rect x="{x:.0f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
            f'fill="{COLOURS.get(standing, "#ffffff")}"/>'
            f'<text x="{x + _WIDTH / 2:.0f}" y="{y + 17:.1f}" text-anchor="middle" fill="{ink}">'
            f"{escape(_shortened(name))}</text></g>"
        )


def _legend(how: Mapping[str, str]) -> Iterator[str]:
    """How many steps there are of each kind, in its colour."""
    x = _MARGIN
    for standing, count in Counter(how.values()).items():
        text = f"{count} {standing}"
        colour = COLOURS.get(standing, "#ffffff")
        yield f'<rect x="{x}" y="{_MARGIN}" width="12" height="12" rx="2" fill="{colour}"/>'
        yield f'<text x="{x + 17}" y="{_MARGIN + 11}" fill="#222222">{escape(text)}</text>'
        x += 35 + 7 * len(text)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
