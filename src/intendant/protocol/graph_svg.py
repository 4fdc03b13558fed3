"""The graph of a pipeline as a picture (SVG 1.1), each step in the colour of how it is; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from itertools import chain

from intendant.protocol.graph import Graph
from intendant.protocol.graph_layout import Place, lay_out
from intendant.protocol.graph_text import COLOURS, edges

MAX_DRAWN, MAX_EDGES = 2000, 10_000
"""A graph of more steps or edges is not drawn: nobody could read it."""

_WIDTH, _HEIGHT = 150, 26
_COLUMN, _ROW = 210, 36
_MARGIN, _LEGEND = 16, 30
_MAX_NAME = 22
_DARK_TEXT = {"pending", "skipped", "not_run"}


def too_much(graph: Graph) -> str | None:
    """Why the graph is not drawn, if it is not."""
    steps = len(graph.parents)
    if steps > MAX_DRAWN:
        return f"{steps} steps are too many to be drawn."
    if (count := sum(map(len, graph.parents.values()))) > MAX_EDGES:
        return f"{count} edges between {steps} steps are too many to be drawn."
    return None


class GraphPicture:
    """A graph with its layout, which is drawn again when steps have changed."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        layout = lay_out(graph)
        self._places = layout.places
        self._bends = layout.bends

    def draw(self, standings: Mapping[str, str]) -> str:
        """The picture; `standings` say how each step is or ended, `pending` if they don't."""
        columns = max((column for column, _ in self._places.values()), default=0)
        bends = chain.from_iterable(self._bends.values())
        rows = max((row for _, row in chain(self._places.values(), bends)), default=0.0)
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

    def _edge(self, parent: str, child: str) -> str:
        """A curve from step to step; where it passes others it goes straight on, beside them."""
        (x, y) = _corner(self._places[parent])
        x, y = x + _WIDTH, y + _HEIGHT / 2
        path = f"M{x:.0f},{y:.1f}"
        for place in (*self._bends.get((parent, child), ()), self._places[child]):
            left, top = _corner(place)
            middle, level = (x + left) / 2, top + _HEIGHT / 2
            path += f" C{middle:.0f},{y:.1f} {middle:.0f},{level:.1f} {left:.0f},{level:.1f}"
            x, y = left + _WIDTH, level
            path += f" H{x:.0f}" if place != self._places[child] else ""
        return f'<path d="{path}" fill="none" stroke="#9aa5b1" stroke-opacity="0.7"/>'

    def _node(self, name: str, standing: str) -> str:
        x, y = _corner(self._places[name])
        ink = "#222222" if standing in _DARK_TEXT else "#ffffff"
        return (
            f"<g><title>{escape(name)}: {escape(standing)}</title>"
            f'<rect x="{x:.0f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
            f'fill="{COLOURS.get(standing, "#ffffff")}"/>'
            f'<text x="{x + _WIDTH / 2:.0f}" y="{y + 17:.1f}" text-anchor="middle" fill="{ink}">'
            f"{escape(_shortened(name))}</text></g>"
        )


def _corner(place: Place) -> tuple[float, float]:
    """What is at the left and at the top of it."""
    column, row = place
    return _MARGIN + column * _COLUMN, _MARGIN + _LEGEND + row * _ROW


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
