"""Who wants an attempt to end, and what that says of the attempt."""

from __future__ import annotations

import pytest

from intendant.executor.stop import DAEMON_STOPPING, Stop
from intendant.protocol.run_states import Outcome

CANCEL = Stop(Outcome.CANCELLED, "not tonight")
SHUTDOWN = Stop(Outcome.INTERRUPTED, f"{DAEMON_STOPPING}: sigterm")
NONSENSE = Stop(Outcome.INTERRUPTED, "protocol_error: run_shutdown_response is no answer")


@pytest.mark.parametrize(("stop", "answer"), [(CANCEL, False), (SHUTDOWN, True), (NONSENSE, False)])
def test_only_the_daemons_end_is_nobodys_failure(stop: Stop, answer: bool) -> None:
    assert stop.is_by_daemon is answer


def test_a_cancel_outranks_the_daemons_end_and_keeps_its_haste() -> None:
    hasty = Stop(SHUTDOWN.outcome, SHUTDOWN.reason, now=True, is_final=True)
    assert CANCEL.after(hasty) == Stop(CANCEL.outcome, CANCEL.reason, now=True, is_final=True)
    assert SHUTDOWN.after(CANCEL) == CANCEL
