"""Which changes of a run have somebody told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from intendant.executor.on_end import is_wanted
from intendant.protocol.records import RunRecord
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import RunSpec
from intendant.settings import Settings

COMMAND = ["notify"]
AT = datetime(2030, 1, 1, tzinfo=UTC)


def changed(state: RunState, on_end: list[str] | None) -> RunRecord:
    """A run that is there now."""
    workload = {"kind": "command", "argv": ["true"]}
    outcome = Outcome.SUCCEEDED if state is RunState.ENDED else None
    return RunRecord(
        id=1, name=None, kind="command", state=state, outcome=outcome, reason=None,
        exit_code=None, signal=None, attempt=1, queue="default", priority=0, account="ada",
        submitted_at=AT, started_at=None, finished_at=None,
        spec=RunSpec.model_validate({"workload": workload, "on_end": on_end}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "of_run", "of_daemon", "expected"),
    [
        (RunState.ENDED, COMMAND, None, True),
        (RunState.ENDED, None, COMMAND, True),
        (RunState.ENDED, None, None, False),
        (RunState.QUEUED, COMMAND, COMMAND, False),
        (RunState.STOPPING, COMMAND, COMMAND, False),
    ],
)
def test_ends_are_told_where_there_is_a_command(
    state: RunState, of_run: list[str] | None, of_daemon: list[str] | None, expected: bool
) -> None:
    assert is_wanted(changed(state, of_run), Settings(on_end=of_daemon)) is expected
