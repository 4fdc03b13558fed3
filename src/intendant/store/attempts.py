"""The life of an attempt: granted, then started and ended, or burnt."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pydantic import JsonValue

from intendant.errors import IllegalTransition, StaleAttempt
from intendant.protocol.retry import counts_as_try, launch_delay_s, retry_delay_s
from intendant.protocol.run_states import Outcome, RunEvent, after
from intendant.store.base import AttemptEnd, Grant
from intendant.store.cells import micros, moment
from intendant.store.dependents import settle
from intendant.store.queries import secrets_of
from intendant.store.rows import ROW_EVENTS, AttemptRow, RunRow
from intendant.store.transaction import Transaction

_MICROS_PER_S = 1_000_000


def grant(tx: Transaction, run_id: int, attempt: int, *, token_sha256: str) -> Grant:
    """The intent to launch the next attempt, before anybody forks; asked again, the same answer."""
    row = tx.run(run_id)
    if _is_granted(tx, row, attempt, token_sha256):
        return Grant(row.record(), secrets_of(tx.execute, run_id))
    if attempt != row.attempt + 1:
        raise StaleAttempt(
            f"run {run_id}: found attempt {attempt}, expected the next one, {row.attempt + 1}"
        )
    if row.open_dependencies:
        raise IllegalTransition(f"run {run_id} waits for {row.open_dependencies} other runs")
    if _is_paused(tx, row.queue):
        raise IllegalTransition(f"run {run_id} waits for its queue {row.queue}, which is paused")
    row = tx.move(row, RunEvent.SLOT_GRANTED, {"attempt": attempt, "not_before": None})
    tx.execute(
        "INSERT INTO attempt (run_id, attempt, token_sha256, granted_at) VALUES (?, ?, ?, ?)",
        (run_id, attempt, token_sha256, tx.now()),
    )
    return Grant(row.record(), secrets_of(tx.execute, run_id))


def _is_granted(tx: Transaction, row: RunRow, attempt: int, token_sha256: str) -> bool:
    """Whether this very attempt was granted before and is not over."""
    if attempt != row.attempt:
        return False
    query = (
        "SELECT 1 FROM attempt WHERE run_id = ? AND attempt = ? AND token_sha256 = ? "
        "AND finished_at IS NULL"
    )
    return bool(tx.execute(query, (row.id, attempt, token_sha256)).fetchall())


def _is_paused(tx: Transaction, queue: str) -> bool:
    return bool(tx.execute("SELECT paused FROM queue WHERE name = ?", (queue,)).fetchall()[0][0])


def started(tx: Transaction, run_id: int, attempt: int, *, at: datetime, pid: int) -> RunRow:
    """The workload runs. What is known already, or of an attempt that has ended, is old news."""
    row, known = _known(tx, run_id, attempt)
    if attempt != row.attempt:
        raise StaleAttempt(f"run {run_id} is at attempt {row.attempt}, not {attempt}")
    if known.started_at is not None or known.finished_at is not None:
        return row
    tx.execute(
        "UPDATE attempt SET started_at = ? WHERE run_id = ? AND attempt = ?",
        (micros(at), run_id, attempt),
    )
    columns = {"started_at": micros(at), "burnt": 0}
    return tx.move(row, RunEvent.STARTED, columns, at=micros(at), detail={"pid": pid})


def ended(tx: Transaction, run_id: int, attempt: int, *, end: AttemptEnd) -> RunRow:
    """The attempt's end: by policy the run is queued again, or it has ended."""
    row, known = _known(tx, run_id, attempt)
    if known.finished_at is not None:
        return row
    _note_steps(tx, row, end)
    _close(tx, row, end)
    stopped_by = row.stop_outcome or (Outcome.INTERRUPTED if end.daemon_lost else None)
    tries = row.tries + counts_as_try(end.outcome, stopped_by=stopped_by)
    delay_s = retry_delay_s(row.spec, end.outcome, stopped_by=stopped_by, tries=tries)
    if delay_s is None:
        return _finish(tx, row, _verdict(row, end), tries=tries, burnt=0)
    return _requeue(tx, row, RunEvent.RETRY_GRANTED, end, delay_s=delay_s, tries=tries, burnt=0)


def tombstoned(
    tx: Transaction, run_id: int, attempt: int, *, reason: str, daemon_lost: bool = False
) -> RunRow:
    """The attempt never started and never will: its run goes back to the queue, or gives up.

    What a person cancelled ends; what the daemon's own end stopped is nobody's failure.
    """
    row, known = _known(tx, run_id, attempt)
    if known.finished_at is not None:
        return row
    after(row.state, RunEvent.TOMBSTONED)
    if known.started_at is not None:
        raise IllegalTransition(f"attempt {attempt} of run {run_id} has started")
    end = _never_started(tx, row, reason)
    _close(tx, row, end)
    if row.stop_outcome is Outcome.CANCELLED:
        return _finish(tx, row, replace(end, reason=row.stop_reason))
    if daemon_lost or row.stop_outcome is Outcome.INTERRUPTED:
        return _requeue(tx, row, RunEvent.TOMBSTONED, end, delay_s=0)
    burnt = row.burnt + 1
    delay_s = launch_delay_s(burnt)
    if delay_s is None:
        failed = replace(end, outcome=Outcome.FAILED, reason=f"launch_failed: {reason}")
        return _finish(tx, row, failed, burnt=burnt)
    return _requeue(tx, row, RunEvent.TOMBSTONED, end, delay_s=delay_s, burnt=burnt)


def _known(tx: Transaction, run_id: int, attempt: int) -> tuple[RunRow, AttemptRow]:
    """The run and this attempt of it, or `StaleAttempt`. Only the newest can be without an end."""
    row, known = tx.run(run_id), tx.attempt(run_id, attempt)
    if known is None:
        raise StaleAttempt(f"run {run_id} is at attempt {row.attempt} and had no attempt {attempt}")
    return row, known


def _note_steps(tx: Transaction, row: RunRow, end: AttemptEnd) -> None:
    """What the governor did, but for what it told at the time and what is not its to say."""
    told = _told_of(tx, row) if end.steps else frozenset()
    for step in end.steps:
        if step.event not in ROW_EVENTS | told:
            tx.note(row, step.event, at=micros(step.at))


def _told_of(tx: Transaction, row: RunRow) -> frozenset[str]:
    """The events of the newest attempt."""
    query = "SELECT DISTINCT event FROM event WHERE run_id = ? AND attempt = ?"
    return frozenset(event for (event,) in tx.execute(query, (row.id, row.attempt)))


def _never_started(tx: Transaction, row: RunRow, reason: str) -> AttemptEnd:
    return AttemptEnd(
        outcome=row.stop_outcome or Outcome.INTERRUPTED,
        reason=f"not_started: {reason}",
        exit_code=None,
        signal=None,
        started_at=None,
        finished_at=moment(tx.now()),
    )


def _verdict(row: RunRow, end: AttemptEnd) -> AttemptEnd:
    """The run's end; an attempt that was lost while a person's cancel was on its way: cancelled."""
    if row.stop_outcome is Outcome.CANCELLED and end.outcome is Outcome.INTERRUPTED:
        return replace(end, outcome=Outcome.CANCELLED, reason=row.stop_reason)
    return end


def _close(tx: Transaction, row: RunRow, end: AttemptEnd) -> None:
    tx.execute(
        "UPDATE attempt SET outcome = ?, reason = ?, exit_code = ?, signal = ?, finished_at = ?, "
        "started_at = coalesce(?, started_at) WHERE run_id = ? AND attempt = ?",
        (
            end.outcome,
            end.reason,
            end.exit_code,
            end.signal,
            micros(end.finished_at),
            end.started_at and micros(end.started_at),
            row.id,
            row.attempt,
        ),
    )


def _finish(tx: Transaction, row: RunRow, end: AttemptEnd, **counters: int) -> RunRow:
    """End the run, and with it those that can't start any more."""
    finished_at = micros(end.finished_at)
    row = tx.move(
        row,
        RunEvent.TREE_EMPTY,
        {
            "outcome": end.outcome,
            "reason": end.reason,
            "exit_code": end.exit_code,
            "signal": end.signal,
            "started_at": micros(end.started_at) if end.started_at else row.started_at,
            "finished_at": finished_at,
            **counters,
        },
        at=finished_at,
    )
    settle(tx, [row])
    return row


def _requeue(
    tx: Transaction,
    row: RunRow,
    event: RunEvent,
    end: AttemptEnd,
    *,
    delay_s: float,
    **counters: int,
) -> RunRow:
    """Back to the queue; how the attempt ended stays in its own row and in the event."""
    return tx.move(
        row,
        event,
        {
            "not_before": tx.now() + round(delay_s * _MICROS_PER_S) if delay_s else None,
            "started_at": None,
            "stop_outcome": None,
            "stop_reason": None,
            **counters,
        },
        at=micros(end.finished_at),
        detail={"ended": _told(end)},
    )


def _told(end: AttemptEnd) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "outcome": end.outcome,
        "reason": end.reason,
        "exit_code": end.exit_code,
        "signal": end.signal,
    }
    return {name: value for name, value in told.items() if value is not None}
