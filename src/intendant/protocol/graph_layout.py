"""Where each step of a graph is drawn: layers from left to right, each from top to bottom.

After Sugiyama: a step's layer is the longest way to it, its place in the layer that of its
neighbours, on average. Pure; units are rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from intendant.protocol.graph import Graph
from intendant.protocol.graph_text import depths

_SWEEPS = 4

Place = tuple[int, float]
"""The column, and the row, which need not be whole."""


def lay_out(graph: Graph) -> dict[str, Place]:
    """The place of every step; no two in a column are closer than a row."""
    columns = depths(graph)
    layers: list[list[str]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for name, column in columns.items():
        layers[column].append(name)
    rows = {name: float(at) for layer in layers for at, name in enumerate(layer)}
    for _ in range(_SWEEPS):
        for layer in layers[1:]:
            _arrange(layer, rows, graph.parents)
        for layer in reversed(layers[:-1]):
            _arrange(layer, rows, graph.children)
    top = min(rows.values(), default=0.0)
    return {name: (columns[name], rows[name] - top) for name in graph.parents}


def _arrange(
    layer: list[str], rows: dict[str, float], neighbours: Mapping[str, Sequence[str]]
) -> None:
    """Order a layer by where its neighbours are, and move it next to them."""
    wanted = {name: _mean((rows[each] for each in neighbours[name]), rows[name]) for name in layer}
    by_place: Callable[[str], float] = wanted.__getitem__
    layer.sort(key=by_place)
    row = float("-inf")
    for name in layer:
        row = rows[name] = max(row + 1, wanted[name])
    shift = _mean((wanted[name] - rows[name] for name in layer), 0.0)
    for name in layer:
        rows[name] += shift


def _mean(numbers: Iterable[float], otherwise: float) -> float:
    several = list(numbers)
    return sum(several) / len(several) if several else otherwise
