"""What people ask of runs and queues: stop, hold, release, move ahead, pause."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from intendant.errors import IllegalTransition, InvalidRequest, StaleAttempt, unknown_queue
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.records import QueueRecord
from intendant.protocol.run_states import LIVE, Outcome, RunEvent, RunNote, RunState
from intendant.store.base import Changed
from intendant.store.dependents import settle
from intendant.store.queries import queue_records
from intendant.store.rows import ROW_EVENTS, RunRow
from intendant.store.stopping import cancel, stop_live
from intendant.store.transaction import Transaction

Change = Callable[[RunRow], RunRow]


def request_stop(
    tx: Transaction,
    run_ids: Sequence[int],
    *,
    outcome: Outcome,
    reason: str,
    only_waiting: bool = False,
) -> Changed:
    """End what waits, mark what is live as stopping (or leave it), leave what has ended.

    Dependents come last: one that is named itself is cancelled, not a victim of another.
    """

    def stop(row: RunRow) -> RunRow:
        if row.state in LIVE:
            return row if only_waiting else stop_live(tx, row, outcome=outcome, reason=reason)
        return cancel(tx, row, reason) if outcome is Outcome.CANCELLED else row

    result = _change_each(tx, run_ids, stop)
    settle(tx, [row for row in map(tx.run, result.changed) if row.state is RunState.ENDED])
    return result


def hold(tx: Transaction, run_ids: Sequence[int], *, lenient: bool = False) -> Changed:
    """Keep queued runs from starting; `IllegalTransition` (or `lenient`) if one is past that."""

    def hold_one(row: RunRow) -> RunRow:
        if row.state is RunState.HELD or (lenient and row.state is not RunState.QUEUED):
            return row
        return tx.move(row, RunEvent.HELD)

    return _change_each(tx, run_ids, hold_one)


def release(tx: Transaction, run_ids: Sequence[int], *, lenient: bool = False) -> Changed:
    """Let held runs start; `IllegalTransition` (or `lenient`) if one is past that."""

    def release_one(row: RunRow) -> RunRow:
        if row.state is RunState.QUEUED or (lenient and row.state is not RunState.HELD):
            return row
        return tx.move(row, RunEvent.RELEASED)

    return _change_each(tx, run_ids, release_one)


def set_priority(tx: Transaction, run_id: int, priority: int) -> Changed:
    """Move the run in its queue; of a live one, its next attempts."""

    def move_one(row: RunRow) -> RunRow:
        if row.state is RunState.ENDED:
            raise IllegalTransition(f"run {run_id} has ended")
        if row.priority == priority:
            return row
        return tx.set(row, RunNote.PRIORITY_SET, {"priority": priority})

    return _change_each(tx, [run_id], move_one)


def note(
    tx: Transaction, run_id: int, attempt: int, *, event: RunNote, detail: dict[str, JsonValue]
) -> None:
    """Append an event that changes nothing; those that change a row have methods of their own."""
    if event in ROW_EVENTS:
        raise InvalidRequest(f"{event} is no note")
    row = tx.run(run_id)
    if attempt != row.attempt:
        raise StaleAttempt(f"run {run_id} is at attempt {row.attempt}, not {attempt}")
    tx.note(row, event, detail=detail)


def queue_set(tx: Transaction, name: str, *, slots: int | None) -> QueueRecord:
    """Make a queue, or change its slots; `None`: as many as the daemon has."""
    tx.execute(
        "INSERT INTO queue (name, slots) VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET slots = excluded.slots",
        (name, slots),
    )
    return _queue(tx, name)


def queue_pause(tx: Transaction, name: str, paused: bool) -> QueueRecord:
    """Pause or resume a queue, or `QueueNotFound`."""
    tx.execute("UPDATE queue SET paused = ? WHERE name = ?", (paused, name))
    return _queue(tx, name)


def queue_remove(tx: Transaction, name: str) -> QueueRecord:
    """Remove a queue and give it as it was; `InvalidRequest` says who needs it."""
    queue = _queue(tx, name)
    if name == "default":
        raise InvalidRequest(f"the queue {name} is always there")
    counts = tx.execute(
        "SELECT state, runs FROM run_count WHERE queue = ? AND runs > 0 ORDER BY state", (name,)
    ).fetchall()
    if counts:
        told = ", ".join(f"{runs} {state}" for state, runs in counts)
        raise InvalidRequest(
            f"queue {name} has runs: {told}; expected none ('intendant prune' forgets ended ones)"
        )
    _require_unneeded(tx, name)
    tx.execute("DELETE FROM run_count WHERE queue = ?", (name,))
    tx.execute("DELETE FROM queue WHERE name = ?", (name,))
    return queue


def _require_unneeded(tx: Transaction, name: str) -> None:
    """`InvalidRequest` if steps of a pipeline that has not ended are to be runs of this queue."""
    waiting = json.dumps([state for state in RunState if state is not RunState.ENDED])
    named = tx.execute(
        "SELECT id FROM run WHERE state IN (SELECT value FROM json_each(?)) "
        "AND kind = 'pipeline' AND instr(spec, ?)",
        (waiting, json.dumps(name)),
    ).fetchall()
    for (run_id,) in named:
        workload = tx.run(run_id).spec.workload
        if isinstance(workload, PipelineSpec) and name in workload.queues():
            raise InvalidRequest(f"queue {name} is needed by steps of run {run_id}, not ended yet")


def _queue(tx: Transaction, name: str) -> QueueRecord:
    queues = {queue.name: queue for queue in queue_records(tx.execute)}
    if name not in queues:
        raise unknown_queue(name, queues)
    return queues[name]


def _change_each(tx: Transaction, run_ids: Sequence[int], change: Change) -> Changed:
    """Change run after run, each once; all of them or, if one refuses, none."""
    before = {run_id: tx.run(run_id) for run_id in run_ids}
    after = {run_id: change(row) for run_id, row in before.items()}
    return Changed(
        [row.record() for row in after.values()],
        [run_id for run_id, row in after.items() if row is not before[run_id]],
    )
