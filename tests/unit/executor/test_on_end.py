"""Which changes of a run have somebody told."""

from __future__ import annotations

import pytest

from intendant.executor.on_end import is_wanted
from intendant.protocol.run_states import RunState
from intendant.settings import Settings
from tests.helpers.rows import a_row

COMMAND = ["notify"]


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
    assert is_wanted(a_row(state=state, on_end=of_run), Settings(on_end=of_daemon)) is expected
