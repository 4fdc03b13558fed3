"""Ending a run for good, or as far as that goes while it is live."""

from __future__ import annotations

from intendant.protocol.run_states import LIVE, Outcome, RunEvent, RunState
from intendant.store.cells import Cell
from intendant.store.rows import RunRow
from intendant.store.transaction import Transaction


def cancel(tx: Transaction, row: RunRow, reason: str) -> RunRow:
    """End a run that waits, mark one that is live as stopping, leave one that has ended."""
    if row.state in LIVE:
        return stop_live(tx, row, outcome=Outcome.CANCELLED, reason=reason)
    if row.state is RunState.ENDED:
        return row
    ended: dict[str, Cell] = {
        "outcome": Outcome.CANCELLED,
        "reason": reason,
        "finished_at": tx.now(),
    }
    return tx.move(row, RunEvent.STOP_REQUESTED, ended)


def stop_live(tx: Transaction, row: RunRow, *, outcome: Outcome, reason: str) -> RunRow:
    """A person's word goes over the daemon's; apart from that the first one stays."""
    if row.state is RunState.STOPPING and row.stop_outcome in (outcome, Outcome.CANCELLED):
        return row
    stop = {"stop_outcome": outcome, "stop_reason": reason}
    return tx.move(row, RunEvent.STOP_REQUESTED, stop)
