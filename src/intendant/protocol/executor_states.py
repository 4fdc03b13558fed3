"""The executor's own life: its states, what moves them, and why it ends.

The state says where the daemon is, the cause why it is ending; never one for the other.
"""

from __future__ import annotations

from enum import StrEnum

from intendant.errors import IllegalTransition


class ExecutorState(StrEnum):
    """Where the daemon is."""

    PRISTINE = "pristine"
    INITIALIZED = "initialized"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    KILLING = "killing"
    EXITED = "exited"


class ExecutorEvent(StrEnum):
    """What moves the daemon on."""

    HELPERS_READY = "helpers_ready"
    RECOVERED = "recovered"
    DRAIN = "drain"
    STOP = "stop"
    LEAVE = "leave"
    KILL = "kill"
    DONE = "done"


class Cause(StrEnum):
    """Why the daemon ends."""

    COMMAND = "command"
    IDLE = "idle"
    SIGINT = "sigint"
    SIGTERM = "sigterm"
    SIGABRT = "sigabrt"
    BROKER_LOST = "broker_lost"


class Policy(StrEnum):
    """What becomes of the runs when the daemon ends."""

    STOP = "stop"
    DRAIN = "drain"
    LEAVE = "leave"
    NOW = "now"


S, E = ExecutorState, ExecutorEvent

_ENDING = {E.STOP: S.STOPPING, E.LEAVE: S.EXITED, E.KILL: S.KILLING}

TRANSITIONS: dict[ExecutorState, dict[ExecutorEvent, ExecutorState]] = {
    # Runs of an earlier daemon live already: what is ordered concerns them.
    S.PRISTINE: {E.HELPERS_READY: S.INITIALIZED, E.DRAIN: S.DRAINING, **_ENDING},
    S.INITIALIZED: {E.RECOVERED: S.RUNNING, E.DRAIN: S.DRAINING, **_ENDING},
    S.RUNNING: {E.DRAIN: S.DRAINING, **_ENDING},
    S.DRAINING: {E.DRAIN: S.DRAINING, E.DONE: S.EXITED, **_ENDING},
    S.STOPPING: {
        E.DRAIN: S.STOPPING,
        E.STOP: S.STOPPING,
        E.LEAVE: S.EXITED,
        E.KILL: S.KILLING,
        E.DONE: S.EXITED,
    },
    S.KILLING: {
        E.DRAIN: S.KILLING,
        E.STOP: S.KILLING,
        E.LEAVE: S.KILLING,
        E.KILL: S.KILLING,
        E.DONE: S.EXITED,
    },
    S.EXITED: {},
}


def after(state: ExecutorState, event: ExecutorEvent) -> ExecutorState:
    """The state that `event` leads to, or `IllegalTransition`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{event} makes no sense for an executor that is {state}") from None
