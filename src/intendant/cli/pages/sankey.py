"""The Sankey picture of a pipeline as ClearML has it, by Plotly (the extra `plots`), in the page.

Steps without any edge are dots beside it, as no flow leads to or from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from intendant.client.shapes import StepInfo
from intendant.errors import InvalidRequest
from intendant.protocol.graph_text import COLOURS, edges
from intendant.protocol.pipelines import PipelineSpec

MARGIN = 20
"""Pixels around the picture."""


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
    at = {name: number for number, name in enumerate(linked)}
    ends = [(at[parent], at[child]) for parent, child in edges(graph)]
    told = {step["name"]: step.get("reason") or "" for step in steps}

    def colours(names: Sequence[str]) -> list[str]:
        return [COLOURS.get(standings.get(name, "pending"), "#777777") for name in names]

    data: list[dict[str, Any]] = []
    if linked:
        data.append(
            {
                "type": "sankey",
                "textfont": {"color": "#222222", "size": 11},
                "node": {
                    "label": linked,
                    "color": colours(linked),
                    "customdata": [
                        f"{standings.get(name, 'pending')} {_plain(told.get(name, ''))}"
                        for name in linked
                    ],
                    "hovertemplate": "%{label}<br>%{customdata}<extra></extra>",
                    "align": "left",
                    "pad": 12,
                    "thickness": 14,
                },
                "link": {
                    "source": [start for start, _ in ends],
                    "target": [end for _, end in ends],
                    "value": [1] * len(ends),
                    "color": "rgba(154, 165, 177, 0.45)",
                },
            }
        )
    if single:
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": list(range(len(single))),
                "y": [0] * len(single),
                "text": single,
                "textposition": "bottom center",
                "marker": {"size": 18, "color": colours(single)},
            }
        )
    strip = 60 if linked and single else 0
    height = max(320, 14 * len(linked)) + strip
    below = strip / (height - 2 * MARGIN)
    if linked:
        data[0]["domain"] = {"y": [below, 1]}
    layout = {
        "height": height,
        "margin": dict.fromkeys("lrtb", MARGIN),
        "xaxis": {"visible": False, "domain": [0, 1]},
        "yaxis": {"visible": False, "domain": [0, below if linked else 1]},
        "showlegend": False,
    }
    return {"data": data, "layout": layout}


def _plain(text: str) -> str:
    """Text as Plotly shows it, which reads some tags of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
