"""Text for people: aligned tables, short local times, one line for each thing that was done."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from intendant.cli.escapes import visible
from intendant.cli.front import goals_of, values_of
from intendant.protocol.durations import format_duration

if TYPE_CHECKING:
    from intendant.client.shapes import (
        AttemptInfo,
        Change,
        DaemonInfo,
        EventInfo,
        Explanation,
        HelperInfo,
        LogLineInfo,
        QueueInfo,
        RunDetails,
        RunInfo,
        StepInfo,
        TrialInfo,
        TrialPage,
    )
    from intendant.protocol.study import Mode

ABSENT = "-"
_COMMAND_WIDTH = 60
_SHOWN_RUNS = 5
_SHOWN_STEPS = 100
_SKIPPED = "dependency"
_UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
_FOR_PROGRAMS = frozenset(
    {"spec_sha256", "submission_key", "stop_outcome", "submitted_at", "started_at",
     "finished_at", "tries", "burnt"}
)  # fmt: skip
_IN_LINE = frozenset({"event", "level", "timestamp", "role"})
_RUNS_HEAD = ("ID", "NAME", "STATE", "QUEUE", "SUBMITTED", "TOOK", "COMMAND")
_ATTEMPTS_HEAD = ("ATTEMPT", "OUTCOME", "STARTED", "TOOK", "REASON")
_QUEUES_HEAD = ("QUEUE", "SLOTS", "LIVE", "QUEUED", "STATE")
_STEPS_HEAD = ("STEP", "OUTCOME", "ATTEMPT", "STARTED", "TOOK", "REASON")
_SUMMARY_HEAD = ("ID", "NAME", "OUTCOME", "TOOK", "REASON")


def as_json(thing: object) -> str:
    """One object or one array, in ASCII: nothing in it can harm a terminal."""
    return json.dumps(thing, indent=2)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; cells are made visible here."""
    cells = [list(head), *([visible(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_line(row, widths) for row in cells)


def runs(found: Sequence[RunInfo], now: datetime) -> str:
    """`ls`."""
    return table(_RUNS_HEAD, [_run_row(run, now) for run in found])


def summary(found: Sequence[RunInfo], now: datetime) -> str:
    """How several runs ended."""
    return table(
        _SUMMARY_HEAD,
        [
            (str(run["id"]), run["name"] or ABSENT, standing(run), took(run, now),
             run["reason"] or ABSENT)
            for run in found
        ],
    )  # fmt: skip


def trials(page: TrialPage, now: datetime) -> str:
    """`trial ls`: the trials, and how many there are of each outcome or state."""
    counts = ", ".join(f"{count} {state}" for state, count in page["counts"].items())
    goals = goals_of(page)
    metrics = [name.upper() for name in goals]
    head = ("TRIAL", "STATE", *metrics, "STEP", "TOOK", "PARAMETERS", "REASON")
    shown = table(head, [_trial_row(trial, goals, now) for trial in page["trials"]])
    return f"{shown}\n{page['total']} trials: {counts or 'none yet'}"


def _trial_row(trial: TrialInfo, goals: Mapping[str, Mode], now: datetime) -> tuple[str, ...]:
    step = trial.get("step")
    values = values_of(trial, goals)
    params = " ".join(
        f"{name}={_short(setting)}" for name, setting in trial.get("params", {}).items()
    )
    return (
        str(trial["number"]),
        trial.get("outcome") or trial["state"],
        *(ABSENT if value is None else f"{value:.6g}" for value in values),
        ABSENT if step is None else str(step),
        trial_took(trial, now),
        params or ABSENT,
        trial.get("reason") or ABSENT,
    )


def trial_took(trial: TrialInfo, now: datetime) -> str:
    """From a trial's first start to its end, or until now."""
    return _span(trial.get("started_at"), trial.get("finished_at"), now)


def _short(setting: object) -> str:
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)


def blame(found: Sequence[RunInfo]) -> list[str]:
    """The runs that did not succeed, a line each, and those that never started for that."""
    bad = [run for run in found if run["outcome"] not in (None, "succeeded")]
    skipped = [run for run in bad if run["reason"] == _SKIPPED]
    guilty = [run for run in bad if run["reason"] != _SKIPPED]
    lines = [ending(run) for run in guilty[:_SHOWN_RUNS]]
    if len(guilty) > _SHOWN_RUNS:
        lines.append(f"{len(guilty) - _SHOWN_RUNS} more did not succeed")
    if skipped:
        ids = ", ".join(_called(run) for run in skipped[:_SHOWN_RUNS])
        more = len(skipped) - _SHOWN_RUNS
        ending_ids = visible(ids) + (f" and {more} more" if more > 0 else "")
        lines.append(f"not started for that: {ending_ids}")
    return lines


def steps(found: Sequence[StepInfo], now: datetime) -> str:
    """`show --steps`: each step, and how many there are of each outcome or state."""
    rows = [
        (step["name"], step_standing(step), str(step.get("attempt") or ABSENT),
         when(step.get("started_at"), now) or ABSENT, step_took(step, now),
         step.get("reason") or ABSENT)
        for step in found
    ]  # fmt: skip
    return f"{table(_STEPS_HEAD, rows)}\n{count_steps(found)}"


def count_steps(found: Collection[StepInfo]) -> str:
    """How many steps there are, and how many of each outcome or state."""
    counts = Counter(map(step_standing, found))
    told = ", ".join(f"{count} {standing}" for standing, count in counts.items())
    return f"{len(found)} steps: {told or 'none yet'}"


def step_standing(step: StepInfo) -> str:
    """How a step ended, or where it is."""
    return step["state"] if step["state"] != "ended" else step.get("outcome") or "ended"


def step_took(step: StepInfo, now: datetime) -> str:
    """How long the newest attempt at a step has taken so far."""
    finished_at = step.get("finished_at") if step["state"] != "running" else None
    return _span(step.get("started_at"), finished_at, now)


def run_details(details: RunDetails, now: datetime, found: Sequence[StepInfo] = ()) -> str:
    """`show`; of a pipeline with its steps, if they are not too many."""
    run = details["run"]
    lines = [
        ("run", str(run["id"])),
        ("name", run["name"]),
        ("state", standing(run)),
        ("reason", run["reason"]),
        ("command", command(run)),
        ("queue", f"{run['queue']}, priority {run['priority']}"),
        *_conditions(run["spec"]),
        ("account", run["account"]),
        ("submitted", when(run["submitted_at"], now)),
        ("started", when(run["started_at"], now)),
        ("finished", when(run["finished_at"], now)),
        ("folder", details["folder"]),
    ]
    attempts = [_attempt_row(attempt, now) for attempt in details["attempts"]]
    shown = steps(found[:_SHOWN_STEPS], now) if found else ""
    if len(found) > _SHOWN_STEPS:
        shown += f" (of {count_steps(found)}; all: show --steps)"
    parts = [_facts(lines), table(_ATTEMPTS_HEAD, attempts) if attempts else "", shown]
    return "\n\n".join(filter(None, parts))


def _conditions(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What its owner asked for besides, where it is not the usual."""
    retry, timeout_s = spec.get("retry") or {}, spec.get("timeout_s")
    conditions = [
        ("after", ", ".join(spec.get("after") or ())),
        ("retry of", str(spec.get("retry_of") or "")),
        ("timeout", timeout_s and format_duration(timeout_s)),
        ("retry", retry.get("attempts") and f"{retry['attempts']} times at most"),
        ("restart", "after an interruption" if spec.get("restartable") else None),
    ]
    return [(name, text) for name, text in conditions if text]


def queues(found: Sequence[QueueInfo]) -> str:
    """`queue ls`."""
    return table(
        _QUEUES_HEAD,
        [
            (queue["name"], "all" if queue["slots"] is None else str(queue["slots"]),
             str(queue["live"]), str(queue["queued"]), "paused" if queue["paused"] else "open")
            for queue in found
        ],
    )  # fmt: skip


def daemon(info: DaemonInfo, now: datetime) -> str:
    """`status`."""
    state = f"{info['state']} ({info['cause']})" if info["cause"] else info["state"]
    counts = ", ".join(f"{count} {name}" for name, count in info["runs"].items() if count)
    lines = [
        ("daemon", f"{state}, version {info['version']}, pid {info['pid']}"),
        *([("trouble", info["trouble"])] if info.get("trouble") else []),
        ("since", when(info["started_at"], now)),
        ("slots", f"{info['live'] - info.get('parents', 0)} of {info['slots']} taken"),
        ("runs", counts or "none"),
        ("broker", _helper(info["broker"])),
        (info["launcher"], _helper(info["zygote"])),
        ("launcher", f"{info['launcher']}, trees by {info['tree_method']}"),
        ("endpoints", " ".join(info["endpoints"])),
        ("state", info["state_dir"]),
        ("runtime", info["runtime_dir"]),
    ]
    return f"{_facts(lines)}\n\n{queues(info['queues'])}"


def change(answer: Change) -> str:
    """What became of each run of a request, one a line; or that there was none."""
    changed = set(answer["changed"])
    return (
        "\n".join(
            f"{run['id']}: {standing(run)}" + ("" if run["id"] in changed else ", nothing to do")
            for run in answer["runs"]
        )
        or "nothing to do"
    )


def explanation(found: Explanation, now: datetime) -> str:
    """`explain`: one line, its points in time on the reader's clock."""
    text = re.sub(_UTC, lambda at: when(at[0], now) or at[0], found["text"])
    return visible(f"{found['run_id']}: {text}")


def event(info: EventInfo) -> str:
    """`events`: one line; first its id, which `--after` takes."""
    who = f"{info['run_id']}.{info['attempt']}" if info["attempt"] else str(info["run_id"])
    is_move = info["before"] not in (None, info["after"])
    where = f"{info['before']} -> {info['after']}" if is_move else info["after"]
    told = {key: value for key, value in info["detail"].items() if key not in _FOR_PROGRAMS}
    what = " ".join(f"{key}={_told(value)}" for key, value in told.items() if value is not None)
    line = f"{info['id']:<6} {clock_time(info['at'])}  {who:<6} {where:<20} {info['event']} {what}"
    return visible(line.rstrip())


def log_line(info: LogLineInfo) -> str:
    """`logs --system`: one line."""
    text = info["text"]
    with suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict):
            what = [f"{key}={_told(value)}" for key, value in told.items() if key not in _IN_LINE]
            text = " ".join([str(told.get("event", "")), *what])
    line = f"{clock_time(info['at'])}  {info['level']:<8} {info['source']:<14} {text}"
    # A value may have lines of its own, which must not look like lines of the log.
    return "\n    | ".join(map(visible, line.split("\n")))


def standing(run: RunInfo) -> str:
    """Where a run is or how it ended, and with what."""
    if run["outcome"] is None:
        return run["state"]
    if run["signal"] is not None:
        return f"{run['outcome']} ({_signal_name(run['signal'])})"
    return f"{run['outcome']} ({run['exit_code']})" if run["exit_code"] else run["outcome"]


def ending(run: RunInfo) -> str:
    """How a run ended and why, in one line."""
    reason = f": {run['reason']}" if run["reason"] else ""
    return visible(f"run {_called(run)} {standing(run)}{reason}")


def _called(run: RunInfo) -> str:
    """A run in a sentence: its id, and its name if it has one."""
    return f"{run['id']} ({run['name']})" if run["name"] else str(run["id"])


def command(run: RunInfo) -> str:
    """What the run does, as a line that a shell would take."""
    match run["spec"].get("workload"):
        case {"argv": [*argv]} if argv:
            return shlex.join(map(str, argv))
        case {"kind": "unreadable", "problem": problem}:
            return f"unreadable: {problem}"
        case {"target": target} if target:
            return str(target)
        case _:
            return run["kind"]


def when(text: str | None, now: datetime) -> str | None:
    """A point in time as the reader's clock shows it, no longer than it need be."""
    if text is None:
        return None
    at, today = _moment(text).astimezone(), now.astimezone()
    if at.date() == today.date():
        return f"{at:%H:%M:%S}"
    return f"{at:%b %d %H:%M}" if at.year == today.year else f"{at:%Y-%m-%d}"


def clock_time(text: str) -> str:
    """A point in time to the millisecond, with its day, on the reader's clock."""
    return _moment(text).astimezone().isoformat(sep=" ", timespec="milliseconds")[:23]


def clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


def _told(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)


def _run_row(run: RunInfo, now: datetime) -> tuple[str, ...]:
    return (
        str(run["id"]),
        run["name"] or ABSENT,
        standing(run),
        run["queue"],
        when(run["submitted_at"], now) or ABSENT,
        took(run, now),
        _shortened(command(run)),
    )


def _attempt_row(attempt: AttemptInfo, now: datetime) -> tuple[str, ...]:
    return (
        str(attempt["attempt"]),
        attempt["outcome"] or ABSENT,
        when(attempt["started_at"], now) or ABSENT,
        took(attempt, now),
        attempt["reason"] or ABSENT,
    )


def took(thing: RunInfo | AttemptInfo, now: datetime) -> str:
    """From the start to the end, or until now."""
    return _span(thing["started_at"], thing["finished_at"], now)


def _span(started_at: str | None, finished_at: str | None, now: datetime) -> str:
    if started_at is None:
        return ABSENT
    end = _moment(finished_at) if finished_at else now
    return format_duration(max((end - _moment(started_at)).total_seconds(), 0.0))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _helper(info: HelperInfo) -> str:
    pid = f"pid {info['pid']}" if info["pid"] else "not running"
    times = "once" if info["restarts"] == 1 else f"{info['restarts']} times"
    return f"{pid}, restarted {times}" if info["restarts"] else pid


def _signal_name(number: int) -> str:
    import signal  # few runs are ended by one

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _shortened(text: str) -> str:
    return text if len(text) <= _COMMAND_WIDTH else f"{text[: _COMMAND_WIDTH - 1]}…"


def _facts(lines: Iterable[tuple[str, str | None]]) -> str:
    """Names and values, one pair a line."""
    return "\n".join(
        f"{name:<10} {visible(ABSENT if value is None else value)}".rstrip()
        for name, value in lines
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    import unicodedata  # most text is ASCII

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
