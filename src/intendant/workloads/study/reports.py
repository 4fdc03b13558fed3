"""What a report is worth: a result, a result that is none, a decision; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

from intendant.protocol.study import MAX_REPORTS
from intendant.protocol.trial_states import Decision
from intendant.workloads.study.conditions import flattened
from intendant.workloads.study.trials import Result, Trial

MAX_STEP = 2**63 - 1
"""What a column of the database holds (sqlite.org/datatype3.html)."""


class Report(Protocol):
    """What a trial says: metrics, perhaps its step, perhaps a folder to keep."""

    @property
    def metrics(self) -> Mapping[str, object]: ...

    @property
    def step(self) -> int | None: ...

    @property
    def checkpoint(self) -> str | None: ...


def result_of(trial: Trial, report: Report, running_s: float) -> Result | str:
    """The result that a report of the trial is, or why it is none."""
    step = trial.step + 1 if report.step is None else report.step
    if step <= trial.step and trial.last is not None:
        return f"step {step} comes after step {trial.step}, expected a later one"
    if not 0 <= step <= MAX_STEP:
        return f"found step {step}, expected 0 to {MAX_STEP}"
    if trial.results >= MAX_REPORTS:
        return f"the trial has reported {MAX_REPORTS} times, expected no more"
    try:
        metrics = flattened(report.metrics)
    except ValueError as error:
        return str(error)
    return Result(trial.results + 1, step, metrics, running_s)


def lack(result: Result | None, metrics: Iterable[str]) -> str | None:
    """Why the last result of a trial does not say how good it is, if it does not."""
    for metric in metrics:
        if result is None:
            return f"no_result: the trial has neither reported nor returned {metric!r}"
        value = result.number(metric)
        if value is None:
            found = ", ".join(sorted(result.metrics)[:20]) or "nothing"
            return f"metric_missing: expected the number {metric!r}, found {found}"
        if not math.isfinite(value):
            return f"metric_not_finite: {metric} is {value}"
    return None


def checked(decision: object) -> Decision:
    """What a scheduler decided; `ValueError` if that is no decision."""
    try:
        return Decision(str(decision))
    except ValueError:
        expected = ", ".join(Decision)
        raise ValueError(f"the scheduler decided {decision!r}, expected {expected}") from None
