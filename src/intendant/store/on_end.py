"""Which runs have ended and wait for the commands that are to be told (`executor.on_end`)."""

from __future__ import annotations

from intendant.protocol.records import RunRecord
from intendant.store.transaction import Transaction


def want_ends(tx: Transaction, *, of_all: bool) -> None:
    """From now on keep the ends of all runs, or of those only that bring a command."""
    if of_all:
        tx.execute("INSERT OR IGNORE INTO on_end_for_all VALUES (1)")
    else:
        tx.execute("DELETE FROM on_end_for_all")


def take_end(tx: Transaction) -> RunRecord | None:
    """The run that has waited longest; it waits no more."""
    found = tx.execute("SELECT id, run_id FROM on_end ORDER BY id LIMIT 1").fetchone()
    if found is None:
        return None
    row_id, run_id = found
    tx.execute("DELETE FROM on_end WHERE id = ?", (row_id,))
    return tx.run(run_id).record()
