"""The reason why a run waits, over what store and executor can know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from intendant.executor.explain import Surroundings, explain
from intendant.executor.schedule import QueueState
from intendant.executor.troubles import Trouble
from intendant.protocol.executor_states import ExecutorState
from intendant.protocol.records import AttemptRecord, RunRecord
from intendant.protocol.run_states import Outcome, RunNote, RunState
from intendant.protocol.specs import RunSpec
from intendant.protocol.workloads import CommandSpec
from intendant.store.base import MANY_AHEAD, Circumstances

THEN = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
NOW = THEN + timedelta(seconds=90)
SPEC = RunSpec(queue="gpu", workload=CommandSpec(kind="command", argv=["true"]))
RUN = RunRecord(
    id=7, name=None, kind="command", state=RunState.QUEUED, outcome=None, reason=None,
    exit_code=None, signal=None, attempt=0, queue="gpu", priority=0, account="ada",
    submitted_at=THEN, started_at=None, finished_at=None, spec=SPEC,
)  # fmt: skip
QUEUED = Circumstances(
    run=RUN, since=THEN, not_before=None, waits_for=[], stop_reason=None, last_attempt=None,
    notes={}, blamed=None, ahead={"gpu": 0, "default": 0},
)  # fmt: skip
FREE = Surroundings(
    now=NOW, state=ExecutorState.RUNNING, slots=4,
    queues={"gpu": QueueState("gpu", 3, paused=False)}, live={}, parents=0, max_parents=2,
    is_supervised=False,
    is_present=True,
)  # fmt: skip
FAILED = AttemptRecord(
    run_id=7, attempt=1, outcome=Outcome.FAILED, reason="exit_code: 1", exit_code=1, signal=None,
    granted_at=THEN, started_at=THEN, finished_at=THEN,
)  # fmt: skip
PAUSED = {"gpu": QueueState("gpu", 3, paused=True)}
LATER = NOW + timedelta(seconds=30)
HELD = replace(QUEUED, run=RUN.model_copy(update={"state": RunState.HELD}))
DEPENDENT = replace(QUEUED, waits_for=[(3, RunState.RUNNING), (4, RunState.QUEUED)])


def of_state(state: RunState, *, seen: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A run with an attempt, in this state."""
    run = RUN.model_copy(update={"state": state, "attempt": 2} | fields)
    return replace(QUEUED, run=run, **(seen or {}))


@pytest.mark.parametrize(
    ("run", "around", "code", "text"),
    [
        (HELD, FREE, "held",
         "held since 2030-01-01T12:00:00.000Z (for 1m30s): 'intendant release 7' lets it start"),
        (DEPENDENT, FREE, "dependency", "waits for run 3 (running), run 4 (queued)"),
        (replace(QUEUED, not_before=LATER, last_attempt=FAILED), FREE, "back_off",
         ("not tried again before 2030-01-01T12:02:00.000Z (in 30.0s): "
         "attempt 1 failed (exit_code: 1)")),
        (QUEUED, replace(FREE, state=ExecutorState.DRAINING), "daemon",
         "the daemon is draining and starts nothing new but steps of live pipelines"),
        (QUEUED, replace(FREE, state=ExecutorState.INITIALIZED), "daemon",
         "the daemon is still starting"),
        (QUEUED, replace(FREE, queues=PAUSED), "queue_paused",
         "queue gpu is paused: 'intendant queue resume gpu' opens it"),
        (replace(QUEUED, ahead={"gpu": 2, "default": 9}), replace(FREE, live={"gpu": 3}),
         "queue_full", "3 of 3 slots of queue gpu are taken, behind 2 better runs"),
        (QUEUED, replace(FREE, live={"gpu": 3}), "queue_full",
         "3 of 3 slots of queue gpu are taken, it is next"),
        (replace(QUEUED, ahead={"gpu": 0, "default": 1}), replace(FREE, live={"default": 4}),
         "daemon_full", "4 of 4 slots are taken, behind 1 better run"),
        (replace(QUEUED, ahead={"gpu": MANY_AHEAD}), replace(FREE, live={"default": 4}),
         "daemon_full", "4 of 4 slots are taken, behind 1000 or more better runs"),
        (QUEUED, FREE, "next", "about to start: a slot is free"),
        (QUEUED, replace(FREE, live={"gpu": 3}, is_supervised=True), "next",
         "about to start: a slot is free"),
        (of_state(RunState.STARTING), FREE, "starting",
         "attempt 2 is starting since 2030-01-01T12:00:00.000Z (for 1m30s)"),
        (of_state(RunState.RUNNING), FREE, "running",
         "attempt 2 is running since 2030-01-01T12:00:00.000Z (for 1m30s)"),
        (of_state(RunState.STOPPING, seen={"stop_reason": "cancelled: by ada"}), FREE, "stopping",
         ("attempt 2 is being stopped since 2030-01-01T12:00:00.000Z (for 1m30s): "
         "cancelled: by ada")),
        (of_state(RunState.ENDED, outcome=Outcome.FAILED, reason="exit_code: 2", started_at=THEN),
         FREE, "ended",
         "failed in attempt 2 at 2030-01-01T12:00:00.000Z (1m30s ago): exit_code: 2"),
        (of_state(RunState.ENDED, outcome=Outcome.CANCELLED, reason="cancelled: by ada"), FREE,
         "ended", "cancelled at 2030-01-01T12:00:00.000Z (1m30s ago): cancelled: by ada"),
        (of_state(RunState.ENDED, outcome=Outcome.SUCCEEDED, attempt=1), FREE, "ended",
         "succeeded at 2030-01-01T12:00:00.000Z (1m30s ago)"),
    ],
)  # fmt: skip
def test_a_run_is_explained_by_what_keeps_it(
    run: Circumstances, around: Surroundings, code: str, text: str
) -> None:
    found = explain(run, around)

    assert (found.code, found.text) == (code, text)
    assert (found.run_id, found.since) == (7, THEN)


def test_all_reasons_are_said_and_the_first_gives_the_code() -> None:
    run = replace(DEPENDENT, not_before=LATER)

    found = explain(run, replace(FREE, queues=PAUSED))

    assert found.code == "dependency"
    assert found.waits_for == [3, 4]
    assert [text.split()[0] for text in found.text.split("; ")] == ["waits", "not", "queue"]


def test_a_back_off_says_until_when() -> None:
    assert explain(replace(QUEUED, not_before=LATER), FREE).until == LATER


def test_a_back_off_that_is_over_is_no_reason() -> None:
    assert explain(replace(QUEUED, not_before=THEN), FREE).code == "next"


def test_of_many_dependencies_the_first_are_named() -> None:
    found = explain(replace(QUEUED, waits_for=[(n, RunState.QUEUED) for n in range(1, 9)]), FREE)

    assert found.text.endswith("run 5 (queued) and 3 more")
    assert found.waits_for == list(range(1, 9))


def test_a_time_limit_is_an_until() -> None:
    spec = SPEC.model_copy(update={"timeout_s": 120.0})
    run = of_state(RunState.RUNNING, started_at=THEN, spec=spec)

    found = explain(run, FREE)

    assert found.until == THEN + timedelta(seconds=120)
    assert found.text.endswith("its time limit ends it at 2030-01-01T12:02:00.000Z")


def test_a_governor_that_is_silent_comes_first() -> None:
    at = THEN + timedelta(seconds=60)
    run = of_state(RunState.RUNNING, seen={"notes": {RunNote.DISCONNECTED: at}})

    found = explain(run, replace(FREE, is_present=False, is_supervised=True))

    assert (found.code, found.since) == ("disconnected", at)
    assert "not heard of since 2030-01-01T12:01:00.000Z (for 30.0s)" in found.text
    assert "attempt 2 is running" in found.text


def test_a_tree_that_can_not_be_killed_is_named() -> None:
    run = of_state(RunState.STOPPING, seen={"notes": {RunNote.UNKILLABLE: NOW}})

    assert explain(run, FREE).code == "unkillable"


def test_what_can_not_be_recorded_comes_first() -> None:
    trouble = Trouble("end", 7, "database or disk is full", NOW - timedelta(seconds=30))

    found = explain(of_state(RunState.RUNNING), replace(FREE, trouble=trouble))

    assert found.code == "trouble"
    assert found.text.startswith(
        "its end can't be recorded (database or disk is full) since 2030-01-01T12:01:00.000Z "
        "(for 30.0s); it is tried again; attempt 2 is running"
    )


def test_a_restartable_run_that_was_interrupted_too_often_says_so() -> None:
    spec = SPEC.model_copy(update={"restartable": True})
    run = of_state(RunState.ENDED, outcome=Outcome.INTERRUPTED, reason="governor_lost", spec=spec)

    text = explain(run, FREE).text

    assert text.endswith("governor_lost; attempt 2 was the last that a restartable run may have")


def test_a_run_that_ended_for_another_one_names_it() -> None:
    run = of_state(
        RunState.ENDED, outcome=Outcome.INTERRUPTED, reason="dependency", seen={"blamed": 3}
    )

    found = explain(run, FREE)

    assert found.waits_for == [3]
    assert found.text.endswith(": dependency: run 3 did not succeed")
