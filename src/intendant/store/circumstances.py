"""What the database knows of why a run is where it is."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

from intendant.protocol.run_states import RunEvent, RunNote, RunState
from intendant.store.base import MANY_AHEAD, Circumstances
from intendant.store.cells import Execute, micros, moment, optional_moment
from intendant.store.queries import row_of
from intendant.store.rows import SELECT_ATTEMPT, AttemptRow, RunRow

_NOTES = json.dumps([*RunNote])


def circumstances(
    execute: Execute, run_id: int, *, queues: Collection[str], now: datetime
) -> Circumstances:
    """All that can be said about the run from its rows."""
    row = row_of(execute, run_id)
    last_attempt = execute(
        f"{SELECT_ATTEMPT} WHERE run_id = ? AND attempt = ?", (run_id, row.attempt)
    ).fetchone()
    is_waiting = row.state is RunState.QUEUED
    return Circumstances(
        run=row.record(),
        since=_since(execute, row),
        not_before=optional_moment(row.not_before),
        waits_for=_waits_for(execute, row),
        stop_reason=row.stop_reason,
        last_attempt=None if last_attempt is None else AttemptRow._make(last_attempt).record(),
        notes=_notes(execute, row),
        blamed=_blamed(execute, row),
        ahead={name: _ahead(execute, row, name, now) for name in queues} if is_waiting else {},
    )


def _since(execute: Execute, row: RunRow) -> datetime:
    """When the run came into its state: the first event after the last that left it elsewhere."""
    found = execute(
        "SELECT min(at) FROM event WHERE run_id = :id AND after = :state AND seq > "
        "(SELECT coalesce(max(seq), 0) FROM event WHERE run_id = :id AND after <> :state)",
        {"id": row.id, "state": row.state},
    ).fetchone()
    return moment(row.submitted_at if found[0] is None else found[0])


def _waits_for(execute: Execute, row: RunRow) -> list[tuple[int, RunState]]:
    if not row.open_dependencies or row.state is RunState.ENDED:
        return []
    rows = execute(
        "SELECT id, state FROM dependency JOIN run ON id = on_run_id "
        "WHERE run_id = ? AND state <> 'ended' ORDER BY id",
        (row.id,),
    )
    return [(parent_id, RunState(state)) for parent_id, state in rows]


def _notes(execute: Execute, row: RunRow) -> dict[str, datetime]:
    rows = execute(
        "SELECT event, max(at) FROM event WHERE run_id = ? AND attempt = ? "
        "AND event IN (SELECT value FROM json_each(?)) GROUP BY event",
        (row.id, row.attempt, _NOTES),
    )
    return {str(event): moment(at) for event, at in rows}


def _blamed(execute: Execute, row: RunRow) -> int | None:
    if row.state is not RunState.ENDED:
        return None
    found = execute(
        "SELECT detail FROM event WHERE run_id = ? AND event = ?",
        (row.id, RunEvent.DEPENDENCY_FAILED),
    ).fetchone()
    parent = None if found is None else json.loads(found[0]).get("run")
    return parent if isinstance(parent, int) else None


_BETTER = """SELECT count(*) FROM (
    SELECT 1 FROM run INDEXED BY {index}
    WHERE state = 'queued' AND open_dependencies = 0 AND queue = :queue
    AND only_waits IN (0, 1) AND {when}
    AND (priority > :priority OR (priority = :priority AND id < :id)) LIMIT :limit)"""


def _ahead(execute: Execute, row: RunRow, queue: str, now: datetime) -> int:
    """How many runs of a queue that could start now come before this one, counted to a bound."""
    wanted = {"queue": queue, "priority": row.priority, "id": row.id, "limit": MANY_AHEAD}
    [[ready]] = execute(
        _BETTER.format(index="run_ready", when="not_before IS NULL"), wanted
    ).fetchall()
    [[ripe]] = execute(
        _BETTER.format(index="run_backoff", when="not_before <= :now"),
        {**wanted, "now": micros(now)},
    ).fetchall()
    return min(int(ready) + int(ripe), MANY_AHEAD)
