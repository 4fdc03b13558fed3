"""The life of a trial: every state, every event, every allowed move; and what decides over it.

Like `run_states`: nothing here reads a clock or does anything. State is where a trial is; how it
ended (`TrialOutcome`) and why (a reason) stand beside it.
"""

from __future__ import annotations

from enum import StrEnum

from intendant.errors import IllegalTransition


class TrialState(StrEnum):
    """Where a trial is."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class TrialOutcome(StrEnum):
    """How a trial ended.

    `COMPLETED`: it returned, or met a stop condition. `PRUNED`: the scheduler stopped it.
    `STOPPED`: a person did, or had the study go on without it.
    `CANCELLED`: it was in the way of the study's end, and is unfinished.
    """

    COMPLETED = "completed"
    PRUNED = "pruned"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrialEvent(StrEnum):
    """What can happen to a trial."""

    STARTED = "started"
    PAUSED = "paused"
    REQUEUED = "requeued"
    ENDED = "ended"


class Decision(StrEnum):
    """What a trial that has reported is to do: go on, wait, or stop."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


S, E = TrialState, TrialEvent

TRANSITIONS: dict[TrialState, dict[TrialEvent, TrialState]] = {
    S.PENDING: {E.STARTED: S.RUNNING, E.ENDED: S.ENDED},
    S.RUNNING: {E.PAUSED: S.PAUSED, E.REQUEUED: S.PENDING, E.ENDED: S.ENDED},
    S.PAUSED: {E.STARTED: S.RUNNING, E.REQUEUED: S.PENDING, E.ENDED: S.ENDED},
    S.ENDED: {},
}

FINISHED = frozenset({TrialOutcome.COMPLETED, TrialOutcome.PRUNED, TrialOutcome.STOPPED})
"""The outcomes of a trial that has said all it was to say."""


def after(state: TrialState, event: TrialEvent) -> TrialState:
    """The state that `event` leads to, or `IllegalTransition`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{event} makes no sense for a trial that is {state}") from None
