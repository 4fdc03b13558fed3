"""A pipeline as a page: its graph, when each step ran, the steps with their parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, cast

from intendant.cli import render
from intendant.cli.pages.html import Raw, page, section, table
from intendant.cli.pages.timeline import timeline
from intendant.client.client import Client
from intendant.client.shapes import RunDetails, StepInfo
from intendant.protocol.graph_svg import MAX_DRAWN, GraphPicture
from intendant.protocol.graph_text import COLOURS
from intendant.protocol.pipelines import PipelineSpec

MAX_VALUE = 24
"""How much of a parameter's value is shown, as ClearML does it."""
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
    body = [*_heading(details, steps, now)]
    if with_sankey:
        body.append(section("Flow", '<div id="sankey"></div>'))
    body += [
        section("Graph", _graph(pipeline, standings)),
        section("Timeline", timeline(steps, now)),
        section("Steps", table(_HEAD, [_row(step, details["folder"], now) for step in steps])),
    ]
    title = run["name"] or f"run {run['id']}"
    if not with_sankey:
        return page(title, body)
    from intendant.cli.pages.sankey import sankey_scripts

    return page(title, body, scripts=sankey_scripts(pipeline, standings, steps))


def _heading(details: RunDetails, steps: Sequence[StepInfo], now: datetime) -> list[str]:
    run = details["run"]
    started = render.when(run["started_at"], now) or "not yet"
    reason = f": {run['reason']}" if run["reason"] else ""
    facts = [
        f"run {run['id']}, {render.standing(run)}{reason}",
        render.count_steps(steps),
        f"started {started}, took {render.took(run, now)}",
        f"as of {now.astimezone():%Y-%m-%d %H:%M:%S}",
    ]
    title = run["name"] or f"Run {run['id']}"
    return [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="facts">{escape(fact)}</p>' for fact in facts),
    ]


def _graph(pipeline: PipelineSpec, standings: Mapping[str, str]) -> str:
    if len(pipeline.steps) > MAX_DRAWN:
        return f"<p>{len(pipeline.steps)} steps are too many to be drawn.</p>"
    return GraphPicture(pipeline.graph).draw(standings)


def _row(step: StepInfo, run_folder: str, now: datetime) -> list[str]:
    standing = render.step_standing(step)
    report = cast("dict[str, Any]", step.get("report") or {})
    return [
        step["name"],
        _badge(standing),
        str(step.get("attempt") or ""),
        render.when(step.get("started_at"), now) or "",
        render.step_took(step, now) if step.get("started_at") else "",
        _parameters(report.get("parameters") or {}),
        step.get("reason") or "",
        _logs(step, run_folder),
    ]


def _badge(standing: str) -> Raw:
    tone = "state light" if standing in _LIGHT else "state"
    colour = COLOURS.get(standing, "#777777")
    return Raw(f'<span class="{tone}" style="background:{colour}">{escape(standing)}</span>')


def _parameters(parameters: Mapping[str, object]) -> str:
    """Names and the beginnings of values."""
    return ", ".join(f"{name}={_shortened(value)}" for name, value in parameters.items())


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _logs(step: StepInfo, run_folder: str) -> Raw:
    folder = step.get("folder")
    if folder is None:
        return Raw("")
    links = (
        (name, Path(run_folder, folder, f"{name}.log").as_uri()) for name in ("stdout", "stderr")
    )
    return Raw(" ".join(f'<a href="{escape(uri)}">{name}</a>' for name, uri in links))
