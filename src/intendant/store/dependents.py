"""What the end of a run means for the runs that come after it, and for those of its own steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from intendant.protocol.pipelines import children_keys
from intendant.protocol.run_states import Outcome, RunEvent, RunState
from intendant.store.rows import RunRow
from intendant.store.stopping import cancel
from intendant.store.transaction import Transaction

DEPENDENCY = "dependency"
"""The reason of a run that ended because one before it did not succeed."""


def settle(tx: Transaction, ended: Iterable[RunRow]) -> None:
    """Tell the dependents of runs that have just ended, and theirs, to the last.

    What carried out a step of one that has ended is cancelled: nobody waits for it any more.
    """
    waiting = deque(ended)
    while waiting:
        parent = waiting.popleft()
        children = [cancel(tx, child, _reason(parent)) for child in _children(tx, parent)]
        waiting.extend(child for child in children if child.state is RunState.ENDED)
        if parent.outcome is Outcome.SUCCEEDED:
            _count_down(tx, parent)
        else:
            waiting.extend(_end(tx, child, parent) for child in _dependents(tx, parent))


def _children(tx: Transaction, parent: RunRow) -> list[RunRow]:
    """The runs of its steps that have not ended: they have its account, and keys that name it."""
    if parent.kind != "pipeline":
        return []
    rows = tx.execute(
        "SELECT id FROM run WHERE account = ? AND submission_key BETWEEN ? AND ? "
        "AND state <> 'ended' ORDER BY id",
        (parent.account, *children_keys(parent.id)),
    ).fetchall()
    return [tx.run(run_id) for (run_id,) in rows]


def _reason(parent: RunRow) -> str:
    return f"cancelled: run {parent.id}, whose step it is, has ended"


def _count_down(tx: Transaction, parent: RunRow) -> None:
    # Derived from `dependency`, so no event tells it (see rows.replay).
    tx.execute(
        "UPDATE run SET open_dependencies = open_dependencies - 1 WHERE state <> 'ended' "
        "AND id IN (SELECT run_id FROM dependency WHERE on_run_id = ?)",
        (parent.id,),
    )


def _dependents(tx: Transaction, parent: RunRow) -> list[RunRow]:
    rows = tx.execute(
        "SELECT run_id FROM dependency WHERE on_run_id = ? ORDER BY run_id", (parent.id,)
    ).fetchall()
    dependents = [tx.run(run_id) for (run_id,) in rows]
    return [row for row in dependents if row.state is not RunState.ENDED]


def _end(tx: Transaction, child: RunRow, parent: RunRow) -> RunRow:
    return tx.move(
        child,
        RunEvent.DEPENDENCY_FAILED,
        {"outcome": Outcome.INTERRUPTED, "reason": DEPENDENCY, "finished_at": tx.now()},
        detail={"run": parent.id},
    )
