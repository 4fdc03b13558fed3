from __future__ import annotations

import signal

import pytest

from intendant.governor.verdict import StopOrder, Verdict, judge, time_limit_order
from intendant.protocol.run_states import Outcome

O = Outcome  # noqa: E741  a column of the table below
CANCEL = StopOrder(O.CANCELLED, "cancelled: by ada")
SHUTDOWN = StopOrder(O.INTERRUPTED, "daemon_stopping: sigterm")


@pytest.mark.parametrize(
    ("status", "stop", "verdict"),
    [
        pytest.param(0, None, Verdict(O.SUCCEEDED, None, 0, None), id="exit 0"),
        pytest.param(7, None, Verdict(O.FAILED, "exit_code: 7", 7, None), id="exit 7"),
        pytest.param(-9, None, Verdict(O.FAILED, "signal: SIGKILL", None, 9), id="killed"),
        pytest.param(-40, None, Verdict(O.FAILED, "signal: 40", None, 40), id="a nameless signal"),
        pytest.param(
            -15, CANCEL, Verdict(O.CANCELLED, CANCEL.reason, None, 15), id="a cancel, obeyed"
        ),
        pytest.param(
            0, CANCEL, Verdict(O.CANCELLED, CANCEL.reason, 0, None), id="a cancel, and exit 0"
        ),
        pytest.param(
            3, SHUTDOWN, Verdict(O.INTERRUPTED, SHUTDOWN.reason, 3, None), id="the daemon's end"
        ),
        pytest.param(
            -9,
            time_limit_order(1.5),
            Verdict(O.TIMED_OUT, "time_limit: 1.50s", None, 9),
            id="the time limit",
        ),
    ],
)
def test_an_end_is_judged_by_who_stopped_it_then_by_how_it_ended(
    status: int, stop: StopOrder | None, verdict: Verdict
) -> None:
    assert judge(status, stop) == verdict


@pytest.mark.parametrize(
    "status", [1, 2, 126, 127, 128, 255, *(-number for number in signal.Signals)]
)
def test_nothing_but_exit_0_is_success(status: int) -> None:
    assert judge(status, None).outcome is O.FAILED


def test_a_time_limit_grants_the_grace_and_names_itself() -> None:
    assert time_limit_order(7200.0) == StopOrder(O.TIMED_OUT, "time_limit: 2h00m", now=False)


@pytest.mark.parametrize(
    ("status", "stop", "verdict"),
    [
        pytest.param(0, None, Verdict(O.FAILED, "no_result", 0, None), id="exit 0"),
        pytest.param(1, None, Verdict(O.FAILED, "no_result", 1, None), id="exit 1"),
        pytest.param(
            1, CANCEL, Verdict(O.CANCELLED, CANCEL.reason, 1, None), id="a cancel goes first"
        ),
    ],
)
def test_a_workloads_own_word_that_it_failed_counts(
    status: int, stop: StopOrder | None, verdict: Verdict
) -> None:
    assert judge(status, stop, "no_result") == verdict
