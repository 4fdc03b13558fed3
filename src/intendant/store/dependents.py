"""What the end of a run means for the runs that come after it, and for those of its own steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from intendant.errors import RunNotFound
from intendant.protocol.pipelines import PipelineSpec, children_keys, parent_of
from intendant.protocol.run_states import Outcome, RunEvent, RunState
from intendant.protocol.specs import RunSpec
from intendant.store.rows import RunRow
from intendant.store.stopping import cancel
from intendant.store.transaction import Transaction

DEPENDENCY = "dependency"
"""The reason of a run that ended because one before it did not succeed."""


def settle(tx: Transaction, ended: Iterable[RunRow]) -> None:
    """Tell the dependents of runs that have just ended, and theirs, to the last.

    What carried out a step of one that has ended is cancelled: nobody waits for it any more but a
    pipeline that does that step again, and that one only for its end.
    """
    waiting = deque(ended)
    while waiting:
        parent = waiting.popleft()
        children = [cancel(tx, child, _reason(parent)) for child in _children(tx, parent)]
        waiting.extend(child for child in children if child.state is RunState.ENDED)
        if parent.outcome is Outcome.SUCCEEDED:
            _count_down(tx, parent)
        else:
            for child in _dependents(tx, parent):
                if only_waits(child, parent):
                    _count_again(tx, child)
                else:
                    waiting.append(_end(tx, child, parent))


def only_waits(child: RunRow, parent: RunRow) -> bool:
    """Whether the child comes after the parent for its end alone, however that one ends."""
    return parent_of(parent.submission_key or "") in _origins(child.spec)


def left_by_origins(tx: Transaction, spec: RunSpec) -> list[RunRow]:
    """What still carries out steps of the pipelines that this one does again.

    Until they have ended it waits: no step is to run beside itself.
    """
    return [row for origin in sorted(_origins(spec)) for row in _steps_of(tx, origin)]


def _origins(spec: RunSpec) -> set[int]:
    """The runs that a pipeline goes on from or tries again, by id."""
    workload = spec.workload
    if not isinstance(workload, PipelineSpec):
        return set()
    going_on = workload.continues
    found = (spec.retry_of, None if going_on is None else going_on.run_id)
    return {run_id for run_id in found if run_id is not None}


def _steps_of(tx: Transaction, run_id: int) -> list[RunRow]:
    try:
        return _children(tx, tx.run(run_id))
    except RunNotFound:  # forgotten since
        return []


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


def _count_again(tx: Transaction, child: RunRow) -> None:
    tx.execute(
        "UPDATE run SET open_dependencies = (SELECT count(*) FROM dependency JOIN run AS parent "
        "ON parent.id = on_run_id WHERE run_id = :id AND parent.state <> 'ended') WHERE id = :id",
        {"id": child.id},
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
