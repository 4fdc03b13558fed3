"""The graph of a pipeline as text: DOT, Mermaid, an indented list; and parts of it; pure.

DOT: https://graphviz.org/doc/info/lang.html. Mermaid: https://mermaid.js.org/syntax/flowchart.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from intendant.protocol.graph import Graph
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_keys import Decision

COLOURS = {
    "pending": "#b0c4de",
    "running": "#2e8b57",
    "succeeded": "#4169e1",
    "cached": "#5f9ea0",
    "failed": "#c0392b",
    "timed_out": "#c0392b",
    "aborted": "#8e44ad",
    "skipped": "#d3d3d3",
    "not_run": "#e0c068",
}
"""By how a step is or ended: what it is drawn in, as ClearML does it."""
_MAX_PARENTS = 4


def to_dot(pipeline: PipelineSpec, standings: Mapping[str, str] | None = None) -> str:
    """The graph for Graphviz; coloured where it is said how each step is."""
    lines = ["digraph pipeline {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled"];']
    for step in pipeline.steps:
        colour = COLOURS.get((standings or {}).get(step.name, ""), "#ffffff")
        lines.append(f'  "{step.name}" [fillcolor="{colour}"];')
    lines += [f'  "{parent}" -> "{child}";' for parent, child in edges(pipeline.graph)]
    return "\n".join([*lines, "}"])


def to_mermaid(pipeline: PipelineSpec, standings: Mapping[str, str] | None = None) -> str:
    """The graph as a flowchart; names that mean something there do not harm."""
    ids = {step.name: f"s{at}" for at, step in enumerate(pipeline.steps)}
    lines = ["flowchart LR", *(f'    {ids[name]}["{name}"]' for name in ids)]
    lines += [f"    {ids[parent]} --> {ids[child]}" for parent, child in edges(pipeline.graph)]
    for name, standing in (standings or {}).items():
        if standing in COLOURS:
            lines.append(f"    style {ids[name]} fill:{COLOURS[standing]}")
    return "\n".join(lines)


def edges(graph: Graph) -> Iterator[tuple[str, str]]:
    """Each parent with each of its children."""
    return ((parent, child) for child, several in graph.parents.items() for parent in several)


def depths(graph: Graph) -> dict[str, int]:
    """How many steps come before each, along the longest way, parents before children."""
    found: dict[str, int] = {}
    for name in graph.order():
        found[name] = max((found[parent] + 1 for parent in graph.parents[name]), default=0)
    return found


def to_text(pipeline: PipelineSpec, decisions: Mapping[str, Decision]) -> str:
    """Every step below those that it comes after, the deeper the further in; `*`: it will run."""
    count = sum(decision.runs for decision in decisions.values())
    lines = [f"{len(decisions)} steps, {count} of them will run"]
    for name, depth in depths(pipeline.graph).items():
        decision = decisions[name]
        told = f"{'runs' if decision.runs else 'does not run'}: {decision.reason}"
        lines.append(f"{'*' if decision.runs else ' '} {'  ' * depth}{name}  {told}")
        if parents := pipeline.graph.parents[name]:
            lines[-1] += f"  (after {_shortened(parents)})"
    return "\n".join(lines)


def subset(pipeline: PipelineSpec, names: Collection[str]) -> PipelineSpec:
    """These steps and all that they come after; `ValueError` names one that there is not."""
    parents = pipeline.graph.parents
    if strange := [name for name in names if name not in parents]:
        raise ValueError(f"found {strange[0]!r}, expected the name of a step")
    wanted, todo = set(names), list(names)
    while todo:
        more = [name for name in parents[todo.pop()] if name not in wanted]
        wanted.update(more)
        todo += more
    fields = {name: getattr(pipeline, name) for name in PipelineSpec.model_fields}
    steps = [step for step in pipeline.steps if step.name in wanted]
    return PipelineSpec(**{**fields, "steps": steps})


def _shortened(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_MAX_PARENTS])
    more = len(names) - _MAX_PARENTS
    return f"{shown} and {more} more" if more > 0 else shown
