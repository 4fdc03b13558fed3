"""The life of a step: where it is, and how it ended.

    pending ─▶ running ─▶ ended
       ▲          │          a step that never runs goes from pending to ended at once
       └──────────┘          a retry

Pure, like `protocol.run_states`: whoever asks `step_after` does the work.
"""

from __future__ import annotations

from enum import StrEnum

from intendant.errors import IllegalTransition

STEP_TARGET = "intendant.workloads.pipeline.step_run:carry_out_order"
"""What a run calls that carries out a step of a pipeline; a function that is called by no other."""
LEFT_BEHIND = "aborted: the pipeline ends, and no daemon has answered in time"
"""The reason of a step whose run a later daemon cancels, or carries on."""


class StepState(StrEnum):
    """Where a step is."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


class StepOutcome(StrEnum):
    """How a step ended. Only `succeeded` and `cached` let those after it start of themselves."""

    SUCCEEDED = "succeeded"
    CACHED = "cached"
    """It had succeeded before, with the same code, parameters and ancestors."""
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    ABORTED = "aborted"
    """It ran, and was ended: by a person, or because the pipeline ends."""
    SKIPPED = "skipped"
    """It was not wanted: a callback or the step itself said so, or one before it was skipped."""
    NOT_RUN = "not_run"
    """It could not run: one that it comes after has not succeeded, or the pipeline ended."""


class StepEvent(StrEnum):
    """What moves a step."""

    STARTED = "started"
    RETRIED = "retried"
    ENDED = "ended"
    RESET = "reset"
    """It is to run again, in a pipeline that goes on."""


GOOD = frozenset({StepOutcome.SUCCEEDED, StepOutcome.CACHED})
FAILURES = frozenset({StepOutcome.FAILED, StepOutcome.TIMED_OUT})

S, E = StepState, StepEvent

TRANSITIONS: dict[StepState, dict[StepEvent, StepState]] = {
    S.PENDING: {E.STARTED: S.RUNNING, E.ENDED: S.ENDED, E.RESET: S.PENDING},
    S.RUNNING: {E.ENDED: S.ENDED, E.RETRIED: S.PENDING, E.RESET: S.PENDING},
    S.ENDED: {E.RESET: S.PENDING},
}


def step_after(state: StepState, event: StepEvent) -> StepState:
    """The state that `event` leads to, or `IllegalTransition`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{event} makes no sense for a step that is {state}") from None
