"""A study as a page: how its trials did, with which parameters, and when each ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from intendant.cli import render
from intendant.cli.front import goals_of, on_front, values_of
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
from intendant.cli.pages.importances import MIN_TRIALS, importances
from intendant.cli.pages.scales import is_number
from intendant.cli.pages.study_charts import (
    COLOURS,
    Point,
    bars,
    history,
    parallel_coordinates,
)
from intendant.cli.pages.study_scatter import Pair, scatter
from intendant.cli.pages.timeline import Span, timeline
from intendant.client.client import Client
from intendant.client.shapes import RunDetails, TrialInfo, TrialPage
from intendant.errors import InvalidRequest
from intendant.protocol.study import Mode, StudySpec

MAX_TRIALS = 5000
"""More than these would make a page that no browser shows with ease."""
MAX_ROWS = 200
_MAX_NAMED = 20
_TIMELINE_HEIGHT = 700.0
_HEAD = ("Step", "Starts", "Took", "Parameters", "Reason", "Output")
_LIGHT = frozenset({"pending", "pruned", "cancelled"})


def write_page(client: Client, details: RunDetails, *, with_sankey: bool, now: datetime) -> str:
    """The page about one study, as it is now."""
    if with_sankey:
        raise InvalidRequest("--sankey draws the flow of a pipeline: a study has none")
    run_id = details["run"]["id"]
    best = client.trials([run_id], best_first=True, limit=MAX_ROWS)
    return study_page(details, client.trials([run_id], limit=MAX_TRIALS), best["trials"], now=now)


def study_page(
    details: RunDetails, found: TrialPage, best: Sequence[TrialInfo], *, now: datetime
) -> str:
    """The same from what is known of the run and its trials; `best` have rows of their own."""
    study = StudySpec.model_validate(details["run"]["spec"]["workload"])
    trials = found["trials"]
    points = [_point(trial) for trial in trials if is_number(trial.get("value"))]
    judged = [point for point in points if point.standing != "failed"]
    title = details["run"]["name"] or f"run {details['run']['id']}"
    front = on_front(found) if found.get("further_metrics") else []
    body = [*heading(details, _count(found), now), *_best(found, best, front)]
    if not points:
        body.append("<p>No trial has reported the metric yet.</p>")
    else:
        shares = importances([each.params for each in judged], [each.value for each in judged])
        body += [
            *_trade_offs(found, points, front),
            section("History", history(points, metric=study.metric, mode=study.mode)),
            section(
                "Parallel coordinates",
                parallel_coordinates(judged, study.space, metric=study.metric, mode=study.mode),
            ),
            section("Importances", _importances(shares, study.metric)),
        ]
    folder = Path(found["folder"], "trials")
    goals = goals_of(found)
    metrics = list(goals) if len(goals) > 1 else ["Value"]
    rows = [_row(trial, goals, folder, now) for trial in best]
    more = found["total"] - len(rows)
    body += [
        section("Timeline", timeline(_spans(trials, now), height=_TIMELINE_HEIGHT)),
        section(
            "Trials, the best first",
            table(("Trial", "State", *metrics, *_HEAD), rows),
            f"<p>and {more} more</p>" if more > 0 else "",
        ),
    ]
    return page(title, body)


def _count(found: TrialPage) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    shown = len(found["trials"])
    first = f"; shown are the first {shown}" if shown < found["total"] else ""
    return f"{found['total']} trials: {counts or 'none yet'}{first}"


def _best(found: TrialPage, best: Sequence[TrialInfo], front: Sequence[TrialInfo]) -> list[str]:
    if found.get("further_metrics"):
        shown = ", ".join(str(trial["number"]) for trial in front[:_MAX_NAMED])
        more = len(front) - _MAX_NAMED
        some = len(found["trials"])
        among = "" if some == found["total"] else f"of the first {some} "
        said = f"{among}no other one beats {len(front)} trials: {shown}"
        said += f" and {more} more" if more > 0 else ""
        return [f'<p class="facts">{escape(said)}</p>'] if front else []
    complete = [each for each in best if each.get("outcome") == "completed"]
    if not complete:
        return []
    trial = complete[0]
    said = f"best: {found['metric']} {trial['value']:.6g} in trial {trial['number']}"
    return [f'<p class="facts">{escape(said)} ({escape(_parameters(trial))})</p>']


def _trade_offs(found: TrialPage, points: Sequence[Point], front: Sequence[TrialInfo]) -> list[str]:
    """The first metric against each further one."""
    across, *others = goals_of(found)
    best = {trial["number"] for trial in front}
    pairs = {
        up: [Pair(point, point.value, point.further[up]) for point in points if up in point.further]
        for up in others
    }
    return [
        section(f"{across} and {up}", scatter(some, across=across, up=up, front=best))
        for up, some in pairs.items()
        if some
    ]


def _importances(shares: dict[str, float], metric: str) -> str:
    if not shares:
        return f"<p>Takes {MIN_TRIALS} trials and a parameter that varies.</p>"
    what = f"How much of the differences in {metric} each parameter explains alone, from 0 to 1."
    return f"<p>{escape(what)}</p>{bars(shares)}"


def _point(trial: TrialInfo) -> Point:
    params, further = trial.get("params", {}), trial.get("further", {})
    return Point(trial["number"], _standing(trial), trial["value"], params, further)


def _standing(trial: TrialInfo) -> str:
    return trial.get("outcome") or trial["state"]


def _colour(standing: str) -> str:
    return COLOURS.get(standing, "#777777")


def _spans(trials: Sequence[TrialInfo], now: datetime) -> list[Span]:
    """Those that have started."""
    return [
        Span.of(
            f"trial {trial['number']}", _standing(trial), _colour(_standing(trial)), started_at,
            trial.get("finished_at") or now,
        )
        for trial in trials if (started_at := trial.get("started_at"))
    ]  # fmt: skip


def _row(trial: TrialInfo, goals: Mapping[str, Mode], folder: Path, now: datetime) -> list[str]:
    standing = _standing(trial)
    number = str(trial["number"])
    return [
        number,
        badge(standing, _colour(standing), is_light=standing in _LIGHT),
        *("" if value is None else f"{value:.6g}" for value in values_of(trial, goals)),
        str(trial.get("step", "")),
        str(trial.get("starts", 0)),
        render.trial_took(trial, now) if trial.get("started_at") else "",
        _parameters(trial),
        trial.get("reason") or "",
        log_links(folder / number, folder) if trial.get("starts") else Raw(""),
    ]


def _parameters(trial: TrialInfo) -> str:
    params = trial.get("params", {})
    return ", ".join(
        f"{name}={value:.5g}" if isinstance(value, float) else f"{name}={shortened(value)}"
        for name, value in params.items()
    )
