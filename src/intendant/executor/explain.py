"""Why a run is where it is: pure, from what the store and the executor's memory know.

A queued run may wait for several things at once. The text names all of them; the code is that of
the first, and what a person would have to change (or wait for) comes before what passes by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from intendant.executor.schedule import QueueState
from intendant.executor.troubles import Trouble
from intendant.protocol.durations import format_duration
from intendant.protocol.executor_states import ExecutorState
from intendant.protocol.messages import RunExplainResponse
from intendant.protocol.run_states import Outcome, RunNote, RunState, Situation
from intendant.store.base import MANY_AHEAD, Circumstances

_SHOWN_RUNS = 5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the executor knows besides: its own state, its slots and who holds them."""

    now: datetime
    state: ExecutorState
    slots: int
    queues: Mapping[str, QueueState]
    live: Mapping[str, int]
    """How many slots the runs of each queue hold."""
    parents: int
    """How many runs live that hold no slot."""
    max_parents: int
    is_supervised: bool
    """Whether this run holds one of them."""
    is_present: bool
    """Whether its governor is heard of on the bus."""
    trouble: Trouble | None = None
    """What can't be done of this run for the moment."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing to say about a run."""

    situation: Situation
    text: str
    since: datetime | None = None
    until: datetime | None = None
    waits_for: Sequence[int] = ()


def explain(run: Circumstances, around: Surroundings) -> RunExplainResponse:
    """The true reason why the run waits, or what it does."""
    reasons = _reasons(run, around)
    first = reasons[0]
    return RunExplainResponse(
        run_id=run.run.id,
        state=run.run.state,
        code=first.situation,
        text="; ".join(reason.text for reason in reasons),
        since=first.since or run.since,
        until=first.until,
        waits_for=list(first.waits_for),
    )


def _reasons(run: Circumstances, around: Surroundings) -> list[Reason]:
    """At least one."""
    return [*_trouble(around), *_circumstances(run, around)]


def _trouble(around: Surroundings) -> Iterator[Reason]:
    if (trouble := around.trouble) is not None:
        text = f"{trouble.text} {_since(trouble.since, around)}; it is tried again"
        yield Reason(Situation.TROUBLE, text, since=trouble.since)


def _circumstances(run: Circumstances, around: Surroundings) -> list[Reason]:
    match run.run.state:
        case RunState.HELD:
            return [_held(run, around), *_dependency(run)]
        case RunState.QUEUED:
            return list(_waiting(run, around)) or [_next(run, around)]
        case RunState.STARTING | RunState.RUNNING | RunState.STOPPING:
            return _living(run, around)
        case RunState.ENDED:
            return [_ended(run, around)]


# --- a run that waits ----------------------------------------------------------------------------


def _held(run: Circumstances, around: Surroundings) -> Reason:
    text = f"held {_since(run.since, around)}: 'intendant release {run.run.id}' lets it start"
    return Reason(Situation.HELD, text)


def _waiting(run: Circumstances, around: Surroundings) -> Iterator[Reason]:
    yield from _dependency(run)
    yield from _back_off(run, around)
    yield from _daemon(around)
    yield from _queue(run, around)


def _dependency(run: Circumstances) -> Iterator[Reason]:
    if not run.waits_for:
        return
    shown = [f"run {run_id} ({state})" for run_id, state in run.waits_for[:_SHOWN_RUNS]]
    more = len(run.waits_for) - len(shown)
    text = f"waits for {', '.join(shown)}" + (f" and {more} more" if more else "")
    waits_for = [run_id for run_id, _ in run.waits_for]
    yield Reason(Situation.DEPENDENCY, text, waits_for=waits_for)


def _back_off(run: Circumstances, around: Surroundings) -> Iterator[Reason]:
    at = run.not_before
    if at is None or at <= around.now:
        return
    last = run.last_attempt
    why = "" if last is None else f": attempt {last.attempt} {last.outcome}"
    why += f" ({last.reason})" if last is not None and last.reason else ""
    text = f"not tried again before {rfc3339(at)} (in {_span(at - around.now)}){why}"
    yield Reason(Situation.BACK_OFF, text, until=at)


def _daemon(around: Surroundings) -> Iterator[Reason]:
    if around.state in (ExecutorState.PRISTINE, ExecutorState.INITIALIZED):
        yield Reason(Situation.DAEMON, "the daemon is still starting")
    elif around.state is ExecutorState.DRAINING:
        text = "the daemon is draining and starts nothing new but steps of live pipelines"
        yield Reason(Situation.DAEMON, text)
    elif around.state is not ExecutorState.RUNNING:
        yield Reason(Situation.DAEMON, f"the daemon is {around.state} and starts nothing new")


def _queue(run: Circumstances, around: Surroundings) -> Iterator[Reason]:
    if around.is_supervised:  # it holds its slot already
        return
    name = run.run.queue
    queue = around.queues.get(name)
    if queue is not None and queue.paused:
        text = f"queue {name} is paused: 'intendant queue resume {name}' opens it"
        yield Reason(Situation.QUEUE_PAUSED, text)
    if not run.run.spec.holds_slot and around.parents >= around.max_parents:
        text = f"{around.parents} of {around.max_parents} pipelines live that only wait for runs"
        yield Reason(Situation.DAEMON_FULL, text)
    slots = None if queue is None else queue.slots
    in_queue, in_all = around.live.get(name, 0), sum(around.live.values())
    if slots is not None and in_queue >= slots:
        taken = f"{in_queue} of {slots} slots of queue {name} are taken"
        yield Reason(Situation.QUEUE_FULL, taken + _behind(run.ahead.get(name, 0)))
    elif in_all >= around.slots:
        taken = f"{in_all} of {around.slots} slots are taken"
        yield Reason(Situation.DAEMON_FULL, taken + _behind(sum(run.ahead.values())))


def _behind(ahead: int) -> str:
    if not ahead:
        return ", it is next"
    many = f"{MANY_AHEAD} or more" if ahead >= MANY_AHEAD else str(ahead)
    return f", behind {many} better {'run' if ahead == 1 else 'runs'}"


def _next(run: Circumstances, around: Surroundings) -> Reason:
    ahead = 0 if around.is_supervised else sum(run.ahead.values())
    behind = _behind(ahead) if ahead else ""
    return Reason(Situation.NEXT, f"about to start: a slot is free{behind}")


# --- a run that has an attempt -------------------------------------------------------------------


def _living(run: Circumstances, around: Surroundings) -> list[Reason]:
    reasons = [_attempt(run, around)]
    if (at := run.notes.get(RunNote.UNKILLABLE)) is not None:
        text = f"processes of it outlive SIGKILL {_since(at, around)}; they are tried again"
        reasons.insert(0, Reason(Situation.UNKILLABLE, text, since=at))
    if not around.is_present:
        at = run.notes.get(RunNote.DISCONNECTED, run.since)
        text = f"its governor is not heard of {_since(at, around)}; it may still do its work"
        reasons.insert(0, Reason(Situation.DISCONNECTED, text, since=at))
    return reasons


def _attempt(run: Circumstances, around: Surroundings) -> Reason:
    record = run.run
    since = _since(run.since, around)
    match record.state:
        case RunState.STARTING:
            text = f"attempt {record.attempt} is starting {since}"
            return Reason(Situation.STARTING, text)
        case RunState.STOPPING:
            text = f"attempt {record.attempt} is being stopped {since}: {run.stop_reason}"
            return Reason(Situation.STOPPING, text)
        case _:
            until = _time_limit(run)
            limit = "" if until is None else f"; its time limit ends it at {rfc3339(until)}"
            text = f"attempt {record.attempt} is running {since}{limit}"
            return Reason(Situation.RUNNING, text, until=until)


def _time_limit(run: Circumstances) -> datetime | None:
    started_at, timeout_s = run.run.started_at, run.run.spec.timeout_s
    if started_at is None or timeout_s is None:
        return None
    return started_at + timedelta(seconds=timeout_s)


def _ended(run: Circumstances, around: Surroundings) -> Reason:
    record = run.run
    is_attempt_over = record.attempt > 1 and record.started_at is not None  # else: while it waited
    which = f" in attempt {record.attempt}" if is_attempt_over else ""
    text = f"{record.outcome}{which} at {rfc3339(run.since)} ({_span(around.now - run.since)} ago)"
    text += f": {record.reason}" if record.reason else ""
    if record.outcome is Outcome.INTERRUPTED and record.spec.restartable and run.blamed is None:
        text += f"; attempt {record.attempt} was the last that a restartable run may have"
    if run.blamed is None:
        return Reason(Situation.ENDED, text)
    return Reason(
        Situation.ENDED, f"{text}: run {run.blamed} did not succeed", waits_for=[run.blamed]
    )


# --- words ---------------------------------------------------------------------------------------


def rfc3339(at: datetime) -> str:
    """A point in time, in UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _since(at: datetime, around: Surroundings) -> str:
    return f"since {rfc3339(at)} (for {_span(around.now - at)})"


def _span(span: timedelta) -> str:
    return format_duration(max(span.total_seconds(), 0.0))
