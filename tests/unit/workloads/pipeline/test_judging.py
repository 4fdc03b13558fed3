"""How an attempt at a step ended, from its report, its exit status and why it was ended."""

from __future__ import annotations

import pytest

from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import StepOutcome as Out
from intendant.workloads.nursery import TreeEnd
from intendant.workloads.pipeline.processes import Attempt, Why, judge

GOOD = StepReport(outcome=Out.SUCCEEDED)
BAD = StepReport(outcome=Out.FAILED, reason="exception: no")


@pytest.mark.parametrize(
    ("status", "why", "report", "outcome", "reason"),
    [
        (0, None, GOOD, Out.SUCCEEDED, None),
        (0, None, StepReport(outcome=Out.SKIPPED), Out.SKIPPED, None),
        (0, None, BAD, Out.FAILED, "exception: no"),
        (1, None, BAD, Out.FAILED, "exception: no"),
        (3, None, GOOD, Out.FAILED, "exit_code: 3"),
        (-9, None, GOOD, Out.FAILED, "signal: 9"),
        (0, None, None, Out.FAILED, "no_result"),
        (3, None, None, Out.FAILED, "exit_code: 3"),
        (None, None, GOOD, Out.FAILED, "process_lost: its keeper is gone"),
        (0, "timed_out", GOOD, Out.TIMED_OUT, "time_limit: 2 s"),
        (-15, "aborted", None, Out.ABORTED, "aborted: the pipeline ends"),
    ],
)
def test_p9_only_a_report_and_a_good_exit_make_a_success(
    status: int | None,
    why: Why | None,
    report: StepReport | None,
    outcome: Out,
    reason: str | None,
) -> None:
    attempt = Attempt("a", {}, timeout_s=2, grace_s=1)
    end = judge(attempt, TreeEnd(status, None), why, report)
    assert (end.outcome, end.reason) == (outcome, reason)
