"""A pipeline as a page: its graph, when each step ran, the steps with their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from intendant.cli import render
from intendant.cli.pages.html import (
    Raw,
    badge,
    heading,
    log_links,
    page,
    section,
    shortened,
    table,
)
from intendant.cli.pages.timeline import Span, timeline
from intendant.client.client import Client
from intendant.client.shapes import RunDetails, StepInfo
from intendant.protocol.graph_svg import GraphPicture, too_much
from intendant.protocol.graph_text import COLOURS
from intendant.protocol.pipelines import PipelineSpec, StepSpec
from intendant.protocol.redaction import HIDDEN
from intendant.protocol.workloads import CallSpec

_HEAD = ("Step", "State", "Attempt", "Started", "Took", "Parameters", "Reason", "Logs")
_LIGHT = {"pending", "skipped", "not_run"}


def write_page(client: Client, details: RunDetails, *, with_sankey: bool, now: datetime) -> str:
    """The page about one pipeline, as it is now."""
    steps = client.steps([details["run"]["id"]])
    return pipeline_page(details, steps, with_sankey=with_sankey, now=now)


def pipeline_page(
    details: RunDetails, steps: Sequence[StepInfo], *, with_sankey: bool, now: datetime
) -> str:
    """The same from what is known of the run."""
    run = details["run"]
    workload = cast("dict[str, Any]", run["spec"]["workload"])
    pipeline = PipelineSpec.model_validate(workload)
    standings = {step["name"]: render.step_standing(step) for step in steps}
    body = [*heading(details, render.count_steps(steps), now)]
    complaint = too_much(pipeline.graph)
    with_sankey = with_sankey and complaint is None
    if with_sankey:
        body.append(section("Flow", '<div id="sankey"></div>'))
    picture = GraphPicture(pipeline.graph).draw(standings) if complaint is None else ""
    body += [
        section("Graph", picture or f"<p>{complaint}</p>"),
        section("Timeline", timeline(_spans(steps, now))),
        section("Steps", _table(pipeline, steps, details["folder"], now)),
    ]
    title = run["name"] or f"run {run['id']}"
    if not with_sankey:
        return page(title, body)
    from intendant.cli.pages.sankey import sankey_scripts

    return page(title, body, scripts=sankey_scripts(pipeline, standings, steps))


def _table(
    pipeline: PipelineSpec, steps: Sequence[StepInfo], run_folder: str, now: datetime
) -> str:
    """A row for each step; which run carried it out, where they are runs."""
    specs = {spec.name: spec for spec in pipeline.steps}
    rows = [_row(step, specs.get(step["name"]), run_folder, now) for step in steps]
    head = list(_HEAD)
    if any("run_id" in step for step in steps):
        head.insert(1, "Run")
        for row, step in zip(rows, steps, strict=True):
            row.insert(1, str(step.get("run_id", "")))
    return table(head, rows)


def _row(step: StepInfo, spec: StepSpec | None, run_folder: str, now: datetime) -> list[str]:
    standing = render.step_standing(step)
    report = cast("dict[str, Any]", step.get("report") or {})
    return [
        step["name"],
        badge(standing, _colour(standing), is_light=standing in _LIGHT),
        str(step.get("attempt") or ""),
        render.when(step.get("started_at"), now) or "",
        render.step_took(step, now) if step.get("started_at") else "",
        _parameters(_given(spec, report.get("parameters") or {})),
        step.get("reason") or "",
        _logs(step, run_folder),
    ]


def _given(spec: StepSpec | None, reported: Mapping[str, object]) -> dict[str, object]:
    """What the step is given, by name: as it was written, or as it was once it ran.

    A page is made to be handed on: what is marked as secret is not on it.
    """
    if spec is None:
        return dict(reported)
    call = spec.workload if isinstance(spec.workload, CallSpec) else None
    args = call.args if call is not None and isinstance(call.args, dict) else {}
    secret = call.secret_args if call is not None else []
    given = {**args, **spec.parameters, **reported}
    return {name: HIDDEN if name in secret else value for name, value in given.items()}


def _parameters(parameters: Mapping[str, object]) -> str:
    """Names and the beginnings of values."""
    return ", ".join(f"{name}={shortened(value)}" for name, value in parameters.items())


def _logs(step: StepInfo, run_folder: str) -> Raw:
    folder = step.get("folder")
    return Raw("") if folder is None else log_links(Path(run_folder, folder), Path(run_folder))


def _spans(steps: Sequence[StepInfo], now: datetime) -> list[Span]:
    """The newest attempt of each step that has started."""
    return [
        _span(step, started_at, now) for step in steps if (started_at := step.get("started_at"))
    ]


def _span(step: StepInfo, started_at: str, now: datetime) -> Span:
    standing = render.step_standing(step)
    finished_at = step.get("finished_at") if step["state"] != "running" else None
    return Span.of(step["name"], standing, _colour(standing), started_at, finished_at or now)


def _colour(standing: str) -> str:
    return COLOURS.get(standing, "#777777")
