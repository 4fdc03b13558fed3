"""Where each step of a graph is drawn: layers from left to right, each from top to bottom.

After Sugiyama: a step's layer is the longest way to it, its place in the layer that of its
neighbours, on average. An edge that passes layers has a place in each of them, as a step has, so
that it is not drawn through one. Pure; units are rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from intendant.protocol.graph import Graph
from intendant.protocol.graph_text import depths, edges

MAX_BENDS = 5000
"""Where edges pass more steps' layers than that, they are drawn straight."""

_SWEEPS = 4
_BEND_HEIGHT = 0.4

Place = tuple[int, float]
"""The column, and the row, which need not be whole."""
Edge = tuple[str, str]
"""Parent and child."""
_Point: TypeAlias = str | tuple[str, str, int]
"""A step; or an edge, in a column that it passes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of every step; for edges that pass columns one in each of these."""

    places: Mapping[str, Place]
    bends: Mapping[Edge, Sequence[Place]]


def lay_out(graph: Graph) -> Layout:
    """Find the places; no two steps in a column are closer than a row."""
    columns = depths(graph)
    chains = _chains(graph, columns)
    parents, children = _linked(graph, chains)
    layers: list[list[_Point]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for name, column in columns.items():
        layers[column].append(name)
    for chain in chains.values():
        for bend in chain:
            layers[bend[2]].append(bend)
    rows = {point: float(at) for layer in layers for at, point in enumerate(layer)}
    for _ in range(_SWEEPS):
        for layer in layers[1:]:
            _arrange(layer, rows, parents)
        for layer in reversed(layers[:-1]):
            _arrange(layer, rows, children)
    top = min(rows.values(), default=0.0)
    return Layout(
        {name: (columns[name], rows[name] - top) for name in graph.parents},
        {edge: [(bend[2], rows[bend] - top) for bend in chain] for edge, chain in chains.items()},
    )


def _chains(graph: Graph, columns: Mapping[str, int]) -> dict[Edge, Sequence[tuple[str, str, int]]]:
    """The points between the ends of each edge that passes columns."""
    spans = {
        (parent, child): range(columns[parent] + 1, columns[child])
        for parent, child in edges(graph)
        if columns[child] - columns[parent] > 1
    }
    if sum(map(len, spans.values())) > MAX_BENDS:
        return {}
    return {edge: [(*edge, column) for column in span] for edge, span in spans.items()}


def _linked(
    graph: Graph, chains: Mapping[Edge, Sequence[_Point]]
) -> tuple[dict[_Point, list[_Point]], dict[_Point, list[_Point]]]:
    """For each point those next to it on the left, and on the right."""
    parents: dict[_Point, list[_Point]] = {name: [] for name in graph.parents}
    children: dict[_Point, list[_Point]] = {name: [] for name in graph.parents}
    for parent, child in edges(graph):
        way: list[_Point] = [parent, *chains.get((parent, child), ()), child]
        for left, right in pairwise(way):
            parents.setdefault(right, []).append(left)
            children.setdefault(left, []).append(right)
    return parents, children


def _arrange(
    layer: list[_Point],
    rows: dict[_Point, float],
    neighbours: Mapping[_Point, Sequence[_Point]],
) -> None:
    """Order a layer by where its neighbours are, and move it next to them."""
    wanted = {each: _mean((rows[it] for it in neighbours[each]), rows[each]) for each in layer}
    by_place: Callable[[_Point], float] = wanted.__getitem__
    layer.sort(key=by_place)
    bottom = float("-inf")
    for point in layer:
        half = 0.5 if isinstance(point, str) else _BEND_HEIGHT / 2
        rows[point] = max(bottom + half, wanted[point])
        bottom = rows[point] + half
    shift = _mean((wanted[point] - rows[point] for point in layer), 0.0)
    for point in layer:
        rows[point] += shift


def _mean(numbers: Iterable[float], otherwise: float) -> float:
    several = list(numbers)
    return sum(several) / len(several) if several else otherwise
