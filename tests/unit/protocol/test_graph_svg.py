"""The picture of a graph."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from intendant.protocol.graph import Graph
from intendant.protocol.graph_layout import lay_out
from intendant.protocol.graph_svg import GraphPicture, too_much
from intendant.protocol.pipelines import PipelineSpec


def a_graph(after: dict[str, list[str]]) -> Graph:
    steps: list[dict[str, Any]] = [
        {"name": name, "after": parents, "workload": {"kind": "command", "argv": ["true"]}}
        for name, parents in after.items()
    ]
    return PipelineSpec.model_validate({"kind": "pipeline", "steps": steps}).graph


def fan(width: int) -> Graph:
    """One step, many after it, one at the end."""
    middle = [f"m{number}" for number in range(width)]
    return a_graph({"first": [], **{name: ["first"] for name in middle}, "last": middle})


@pytest.mark.parametrize(
    "graph",
    [a_graph({"a": []}), fan(5), fan(500), a_graph({"a": [], "b": ["a"], "c": ["a", "b"]})],
)
def test_no_two_steps_are_drawn_over_each_other_and_children_stand_to_the_right(
    graph: Graph,
) -> None:
    places = lay_out(graph).places
    columns: dict[int, list[float]] = {}
    for column, row in places.values():
        columns.setdefault(column, []).append(row)
    for rows in columns.values():
        assert all(below - above > 0.99 for above, below in pairwise(sorted(rows)))
    for child, parents in graph.parents.items():
        assert all(places[parent][0] < places[child][0] for parent in parents)
    assert min(row for _, row in places.values()) == 0


def test_what_many_come_from_or_lead_to_stands_in_their_middle() -> None:
    places = lay_out(fan(5)).places
    assert places["first"][1] == places["last"][1] == pytest.approx(2)


def test_p12_the_picture_shows_every_step_in_the_colour_of_how_it_is() -> None:
    text = GraphPicture(fan(3)).draw({"first": "succeeded", "m1": "failed"})
    root = ElementTree.fromstring(text)
    nodes = {
        group[0].text: group[1].attrib["fill"]
        for group in root.iter("{http://www.w3.org/2000/svg}g")
    }
    assert nodes == {
        "first: succeeded": "#4169e1",
        "m0: pending": "#b0c4de",
        "m1: failed": "#c0392b",
        "m2: pending": "#b0c4de",
        "last: pending": "#b0c4de",
    }
    assert text.count("<path") == 6
    assert "3 pending" in text


def test_a_graph_without_edges_has_a_picture() -> None:
    ElementTree.fromstring(GraphPicture(a_graph({"a": [], "b": []})).draw({}))


def test_an_edge_that_passes_a_step_is_not_drawn_through_it() -> None:
    graph = a_graph({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"]})
    layout = lay_out(graph)
    assert set(layout.bends) == {("a", "d")}
    assert [column for column, _ in layout.bends["a", "d"]] == [1, 2]
    for (_, row), step in zip(layout.bends["a", "d"], "bc", strict=True):
        assert abs(row - layout.places[step][1]) > 0.6, "beside the step"
    assert GraphPicture(graph).draw({}).count("<path") == 4


def test_where_very_many_edges_pass_steps_they_are_straight() -> None:
    names = [f"s{number}" for number in range(40)]
    layout = lay_out(a_graph({name: names[:at] for at, name in enumerate(names)}))
    assert layout.bends == {}


@pytest.mark.parametrize(("steps", "complaint"), [(141, None), (142, "10011 edges between 142")])
def test_more_edges_than_can_be_told_apart_are_not_drawn(steps: int, complaint: str | None) -> None:
    names = [f"s{number}" for number in range(steps)]
    found = too_much(a_graph({name: names[:at] for at, name in enumerate(names)}))
    assert (found or "")[: len(complaint or "")] == (complaint or "")
    assert (found is None) is (complaint is None)
