"""Forgetting runs: which may go, and how their rows do.

The row goes first, the folder after it. A crash in between leaves a folder that no run owns, which
is told from all others by that and removed by the next `prune`; the other order would leave a run
that claims an end it can no longer prove.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime

import structlog
from pydantic import JsonValue

from intendant.errors import RunNotFound, RunUnreadable
from intendant.protocol.run_states import RunNote
from intendant.protocol.selectors import Selection
from intendant.store.base import PrunePage
from intendant.store.cells import Cell, Execute, micros
from intendant.store.queries import intervals
from intendant.store.transaction import Transaction

log = structlog.get_logger()

PAGE = 1000
"""How many runs are looked at, and at most removed, at once: others want to write too."""

_MAY_GO = """state = 'ended' AND finished_at <= :before AND NOT EXISTS (
    SELECT 1 FROM dependency JOIN run AS child ON child.id = run_id
    WHERE on_run_id = run.id AND child.state <> 'ended')"""

_STRANGE = """SELECT value ->> 0, value ->> 1 FROM json_each(:parts) WHERE NOT EXISTS (
    SELECT 1 FROM event WHERE run_id BETWEEN value ->> 0 AND value ->> 1
    AND (:owner IS NULL OR (seq = 1 AND detail ->> 'account' = :owner))) LIMIT 1"""

_LOOK = f"""SELECT id, {_MAY_GO} FROM run WHERE id BETWEEN :low AND :high AND id > :after_id
    AND (:owner IS NULL OR account = :owner) ORDER BY id LIMIT :limit"""  # noqa: S608  a constant of this module is put in


def prunable(
    execute: Execute,
    selection: Selection | None,
    *,
    before: datetime,
    after_id: int,
    owner: str | None = None,
) -> PrunePage:
    """The next page of runs, and those among them that may go; `RunNotFound` before the first.

    A run that is gone already is known from its events: asked twice, it is refused neither time.
    """
    if selection is not None and after_id == 0:
        _require_known(execute, selection, owner)
    seen: list[int] = []
    may_go: list[int] = []
    for low, high in sorted(intervals(execute, selection, owner)):
        page: dict[str, Cell] = {"low": low, "high": high, "after_id": after_id, "owner": owner}
        page["limit"] = PAGE - len(seen)
        for run_id, is_old in execute(_LOOK, {**page, "before": micros(before)}):
            seen.append(run_id)
            if is_old:
                may_go.append(run_id)
        if len(seen) == PAGE:
            return PrunePage(may_go, seen[-1])
    return PrunePage(may_go, None)


def _require_known(execute: Execute, selection: Selection, owner: str | None) -> None:
    parts = [*((run_id, run_id) for run_id in selection.ids), *selection.ranges]
    found = execute(_STRANGE, {"parts": json.dumps(parts), "owner": owner}).fetchone()
    if found is not None:
        low, high = found
        raise RunNotFound(f"no run {low}" if low == high else f"no run in {low}-{high}")


def prune(
    tx: Transaction, run_ids: Sequence[int], *, before: datetime, detail: dict[str, JsonValue]
) -> list[int]:
    """Remove those of the runs that may (still) go; an event for each stays.

    One that can't be read stays too: nothing is done with it.
    """
    rows = tx.execute(
        f"SELECT id FROM run WHERE id IN (SELECT value FROM json_each(:ids)) AND {_MAY_GO} "  # noqa: S608
        "ORDER BY id",
        {"ids": json.dumps([*run_ids]), "before": micros(before)},
    ).fetchall()
    gone = []
    for (run_id,) in rows:
        try:
            row = tx.run(run_id)
        except RunUnreadable as error:
            log.warning("run_not_pruned", run_id=run_id, error=str(error))
            continue
        tx.note(row, RunNote.PRUNED, detail=detail)
        gone.append(run_id)
    ids = json.dumps(gone)
    environments = tx.execute(
        "SELECT DISTINCT environment_id FROM secret "
        "WHERE run_id IN (SELECT value FROM json_each(?)) AND environment_id IS NOT NULL",
        (ids,),
    ).fetchall()
    tx.execute("DELETE FROM run WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    tx.execute(
        "DELETE FROM environment WHERE id IN (SELECT value FROM json_each(?)) "
        "AND NOT EXISTS (SELECT 1 FROM secret WHERE environment_id = environment.id)",
        (json.dumps([environment_id for (environment_id,) in environments]),),
    )
    return gone


def without_row(execute: Execute, run_ids: Collection[int]) -> list[int]:
    """Those of the ids that no run has."""
    rows = execute(
        "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM run)",
        (json.dumps([*run_ids]),),
    )
    return [run_id for (run_id,) in rows]
