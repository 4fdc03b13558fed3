"""The Sankey picture of a pipeline as ClearML has it, by Plotly (the extra `plots`), in the page.

Steps without any edge are dots beside it, as no flow leads to or from them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from intendant.cli.pages.html import shortened
from intendant.client.shapes import StepInfo
from intendant.errors import InvalidRequest
from intendant.protocol.graph import Graph
from intendant.protocol.graph_text import COLOURS, depths, edges
from intendant.protocol.pipelines import PipelineSpec

MARGIN = 20
"""Around the picture; all measures are in pixels."""
TOOLBAR = 34
"""Above it, for Plotly's tools."""
PAGE_WIDTH = 1150
"""Up to this the picture is as wide as the page is; a wider one is scrolled."""
NODE_WIDTH, GAP = 14, 12
LETTER_WIDTH, ROW_HEIGHT = 7, 26
"""What a label takes, and a step with it."""
DOTS_HEIGHT = 60


def sankey_scripts(
    pipeline: PipelineSpec, standings: Mapping[str, str], steps: Sequence[StepInfo]
) -> list[str]:
    """Plotly itself, and the call that draws the picture into the element `sankey`."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InvalidRequest("the Sankey picture takes Plotly: pip install '.[plots]'") from error
    figure = sankey_figure(pipeline, standings, steps)
    # Data in a script must not end it (https://html.spec.whatwg.org/#restrictions-for-contents-of-script-elements).
    data = json.dumps(figure).replace("<", "\\u003c")
    return [get_plotlyjs(), f'{{const f = {data}; Plotly.newPlot("sankey", f.data, f.layout);}}']


def sankey_figure(
    pipeline: PipelineSpec, standings: Mapping[str, str], steps: Sequence[StepInfo]
) -> dict[str, Any]:
    """The picture as Plotly's JSON."""
    graph = pipeline.graph
    linked = [name for name in graph.parents if graph.parents[name] or graph.children[name]]
    single = [name for name in graph.parents if name not in set(linked)]
    told = {step["name"]: step.get("reason") or "" for step in steps}
    colours = {
        name: COLOURS.get(standings.get(name, "pending"), "#777777") for name in graph.parents
    }
    in_row = max(1, PAGE_WIDTH // max(map(_label_width, single), default=1))
    strip = DOTS_HEIGHT * -(-len(single) // in_row)
    width, height = _extent(graph, linked)
    height = max(320, height + strip + TOOLBAR + MARGIN)
    below = strip / (height - TOOLBAR - MARGIN) if linked else 1
    data: list[dict[str, Any]] = []
    if linked:
        hints = [
            f"{name}: {standings.get(name, 'pending')} {told.get(name, '')}" for name in linked
        ]
        data.append({**_flow(graph, linked, hints, colours), "domain": {"y": [below, 1]}})
    if single:
        data.append(_dots(single, colours, in_row=in_row))
    layout: dict[str, Any] = {
        "height": height,
        "margin": {**dict.fromkeys("lrb", MARGIN), "t": TOOLBAR},
        "xaxis": {"visible": False, "domain": [0, 1]},
        "yaxis": {"visible": False, "domain": [0, below]},
        "showlegend": False,
    }
    if width > PAGE_WIDTH:
        layout["width"] = width
    return {"data": data, "layout": layout}


def _extent(graph: Graph, linked: Sequence[str]) -> tuple[int, int]:
    """How wide and high the flow is, with room for each label to the right of its step.

    Plotly puts those of the last column to the left: there two of them are between steps. All
    columns are as far from each other as those must be that have the longest labels.
    """
    if not linked:
        return 0, 0
    before = depths(graph)
    columns = Counter(before[name] for name in linked)
    labels = [0] * len(columns)
    for name in linked:
        labels[before[name]] = max(labels[before[name]], _label_width(name))
    *others, last = labels
    between = max(*others, others[-1] + last)
    return len(others) * (NODE_WIDTH + between), max(columns.values()) * ROW_HEIGHT


def _flow(
    graph: Graph, linked: Sequence[str], hints: Sequence[str], colours: Mapping[str, str]
) -> dict[str, Any]:
    at = {name: number for number, name in enumerate(linked)}
    ends = [(at[parent], at[child]) for parent, child in edges(graph)]
    return {
        "type": "sankey",
        "textfont": {"color": "#222222", "size": 11},
        "node": {
            "label": list(map(shortened, linked)),
            "color": [colours[name] for name in linked],
            "customdata": list(map(_plain, hints)),
            "hovertemplate": "%{customdata}<extra></extra>",
            "align": "left",
            "pad": GAP,
            "thickness": NODE_WIDTH,
        },
        "link": {
            "source": [start for start, _ in ends],
            "target": [end for _, end in ends],
            "value": [1] * len(ends),
            "color": "rgba(154, 165, 177, 0.45)",
        },
    }


def _dots(single: Sequence[str], colours: Mapping[str, str], *, in_row: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [number % in_row for number in range(len(single))],
        "y": [-(number // in_row) for number in range(len(single))],
        "text": list(map(shortened, single)),
        "textposition": "bottom center",
        "marker": {"size": 18, "color": [colours[name] for name in single]},
    }


def _label_width(name: str) -> int:
    return LETTER_WIDTH * len(shortened(name)) + GAP


def _plain(text: str) -> str:
    """Text as Plotly shows it, which reads some tags of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
