"""Rows of runs as the store hands them out, without a store."""

from __future__ import annotations

from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import RunSpec
from intendant.store.rows import RunRow, new_row

TRUE = {"kind": "command", "argv": ["true"]}


def a_row(
    run_id: int = 1, state: RunState = RunState.RUNNING, *, on_end: list[str] | None = None
) -> RunRow:
    """A command of the account `ada` in this state, its command `on_end` if it has one."""
    columns = {
        "account": "ada",
        "kind": "command",
        "queue": "default",
        "priority": 0,
        "submitted_at": 0,
        "outcome": Outcome.SUCCEEDED if state is RunState.ENDED else None,
    }
    spec = RunSpec.model_validate({"workload": TRUE, "on_end": on_end})
    return new_row(columns, run_id=run_id, state=state, spec=spec)
