"""How an attempt ended, from what the kernel says and what was asked; pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from intendant.protocol.durations import format_duration
from intendant.protocol.run_states import Outcome


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Why the workload is being ended before its time; `now` skips every grace."""

    outcome: Outcome
    reason: str
    now: bool = False
    grace_s: float | None = None
    """Instead of the run's own graces."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of an attempt, as its records will say it."""

    outcome: Outcome
    reason: str | None
    exit_code: int | None
    signal: int | None


def time_limit_order(timeout_s: float) -> StopOrder:
    """The order that follows when the time limit has passed."""
    return StopOrder(Outcome.TIMED_OUT, f"time_limit: {format_duration(timeout_s)}")


def judge(status: int, stop: StopOrder | None, failure: str | None = None) -> Verdict:
    """What a workload's end means: `status` is its exit code, or minus a signal's number.

    Who stopped it decides over how it then ended: exit 0 after a cancel is still cancelled. Next
    comes its own word that it failed, then its exit status.
    """
    exit_code = status if status >= 0 else None
    signum = -status if status < 0 else None
    if stop is not None:
        return Verdict(stop.outcome, stop.reason, exit_code, signum)
    if failure is not None:
        return Verdict(Outcome.FAILED, failure, exit_code, signum)
    if status == 0:
        return Verdict(Outcome.SUCCEEDED, None, exit_code, signum)
    if signum is None:
        return Verdict(Outcome.FAILED, f"exit_code: {status}", exit_code, signum)
    return Verdict(Outcome.FAILED, f"signal: {_signal_name(signum)}", exit_code, signum)


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # real-time signals have no names of their own
        return str(signum)
