"""Whether and when a run gets another attempt; pure decisions, the store records them.

An attempt that the daemon's own end took down is nobody's failure: it does not count as a try,
and a restartable run comes back from it at once, however often. From an interruption that nobody
asked for (its governor was lost) it comes back too, but `MAX_RESTARTS` times at most: it may be
the run itself that takes its governor down. An attempt that never started
(burnt: a tombstone took the place of its claim) has a back-off of its own, whatever the run's
policy says, unless it was the daemon's end that kept it from starting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intendant.protocol.fields import RetryPolicy
from intendant.protocol.run_states import Outcome

if TYPE_CHECKING:
    from intendant.protocol.specs import RunSpec

MAX_RESTARTS = 3
"""Tries of a restartable run after its first that may follow an interruption, if its retry policy
does not allow for more."""
MAX_BURNT = 5
"""Attempts in a row that may fail to start before the run itself fails."""
LAUNCH_BACKOFF_S = 0.1
LAUNCH_BACKOFF_MAX_S = 30.0
_MAX_DOUBLINGS = 60


def counts_as_try(outcome: Outcome, *, stopped_by: Outcome | None) -> bool:
    """Whether an attempt that started uses up one of those that the retry policy allows."""
    return not (outcome is Outcome.INTERRUPTED and stopped_by is Outcome.INTERRUPTED)


def retry_delay_s(
    spec: RunSpec, outcome: Outcome, *, stopped_by: Outcome | None, tries: int
) -> float | None:
    """Seconds to wait before the next attempt; None if the run has ended for good.

    `stopped_by` says who asked for the end: a person (`CANCELLED`), the daemon's shutdown or
    crash (`INTERRUPTED`), nobody (None). `tries` is the number of attempts that started and
    count, this one included.
    """
    if stopped_by is Outcome.CANCELLED:
        return None
    if spec.restartable and not counts_as_try(outcome, stopped_by=stopped_by):
        return 0.0
    allowed = spec.retry.attempts if outcome in spec.retry.on else None
    if spec.restartable and outcome is Outcome.INTERRUPTED:
        allowed = max(spec.retry.attempts, MAX_RESTARTS)
    return None if allowed is None or tries > allowed else backoff_s(spec.retry, tries)


def backoff_s(policy: RetryPolicy, tries: int) -> float:
    """Seconds to wait after so many tries: doubled from one to the next, up to a bound."""
    return _doubled(policy.backoff_s, tries - 1, limit=policy.backoff_max_s)


def launch_delay_s(burnt: int) -> float | None:
    """Seconds to wait after the `burnt`-th attempt in a row that did not start; None: give up."""
    if burnt >= MAX_BURNT:
        return None
    return _doubled(LAUNCH_BACKOFF_S, burnt - 1, limit=LAUNCH_BACKOFF_MAX_S)


def _doubled(first_s: float, times: int, *, limit: float) -> float:
    return min(first_s * 2.0 ** max(0, min(times, _MAX_DOUBLINGS)), limit)
