"""The life of a run: every state, every event, every allowed move.

Nothing here reads a clock, touches a file or sends a signal. The caller does the work and
records the event; the store applies `after()` inside the transaction that writes it, so a
stored state is always a legal one.

State is where a run is. How it ended (`Outcome`) and why (`reason`) are fields beside it.
"""

from __future__ import annotations

from enum import StrEnum

from intendant.errors import IllegalTransition


class RunState(StrEnum):
    """Where a run is."""

    HELD = "held"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a run or an attempt ended. `CANCELLED`: a person asked; `INTERRUPTED`: the system did."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


class RunEvent(StrEnum):
    """What can happen to a run so that its state changes (or stays, on purpose)."""

    HELD = "held"
    RELEASED = "released"
    SLOT_GRANTED = "slot_granted"
    STARTED = "started"
    STOP_REQUESTED = "stop_requested"
    TOMBSTONED = "tombstoned"
    RETRY_GRANTED = "retry_granted"
    TREE_EMPTY = "tree_empty"
    DEPENDENCY_FAILED = "dependency_failed"


class RunNote(StrEnum):
    """What the event log also keeps although no state changes."""

    SUBMITTED = "submitted"
    PRIORITY_SET = "priority_set"
    PRUNED = "pruned"
    ASKED_TO_END = "asked_to_end"
    TERM_SENT = "term_sent"
    GRACE_EXPIRED = "grace_expired"
    TREE_KILLED = "tree_killed"
    TIME_LIMIT_REACHED = "time_limit_reached"
    ADOPTED = "adopted"
    DISCONNECTED = "disconnected"
    RECONNECTED = "reconnected"
    UNKILLABLE = "unkillable"


class Situation(StrEnum):
    """What a run waits for or does, in one word; `explain` says it in a sentence."""

    HELD = "held"
    DEPENDENCY = "dependency"
    BACK_OFF = "back_off"
    DAEMON = "daemon"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_FULL = "queue_full"
    DAEMON_FULL = "daemon_full"
    NEXT = "next"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DISCONNECTED = "disconnected"
    UNKILLABLE = "unkillable"
    TROUBLE = "trouble"
    ENDED = "ended"


S, E = RunState, RunEvent

TRANSITIONS: dict[RunState, dict[RunEvent, RunState]] = {
    S.HELD: {
        E.RELEASED: S.QUEUED,
        E.STOP_REQUESTED: S.ENDED,
        E.DEPENDENCY_FAILED: S.ENDED,
    },
    S.QUEUED: {
        E.SLOT_GRANTED: S.STARTING,
        E.HELD: S.HELD,
        E.STOP_REQUESTED: S.ENDED,
        E.DEPENDENCY_FAILED: S.ENDED,
    },
    S.STARTING: {
        E.STARTED: S.RUNNING,
        E.STOP_REQUESTED: S.STOPPING,
        E.TOMBSTONED: S.QUEUED,
        E.RETRY_GRANTED: S.QUEUED,
        E.TREE_EMPTY: S.ENDED,
    },
    S.RUNNING: {
        E.STOP_REQUESTED: S.STOPPING,
        E.RETRY_GRANTED: S.QUEUED,
        E.TREE_EMPTY: S.ENDED,
    },
    S.STOPPING: {
        E.STARTED: S.STOPPING,
        E.STOP_REQUESTED: S.STOPPING,
        E.TOMBSTONED: S.QUEUED,
        E.RETRY_GRANTED: S.QUEUED,
        E.TREE_EMPTY: S.ENDED,
    },
    S.ENDED: {},
}

LIVE = frozenset({S.STARTING, S.RUNNING, S.STOPPING})
"""The states in which an attempt exists and a slot is taken."""


def after(state: RunState, event: RunEvent) -> RunState:
    """The state that `event` leads to, or `IllegalTransition`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        legal = " or ".join(each for each, row in TRANSITIONS.items() if event in row)
        found = f"found a run that is {state}"
        raise IllegalTransition(f"{event}: {found}, expected one that is {legal}") from None
