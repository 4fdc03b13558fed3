"""First come, first served: the scheduler that stops nobody, and the base of the others."""

from __future__ import annotations

from collections.abc import Iterable

from intendant.protocol.trial_states import Decision
from intendant.workloads.study.hooks import History
from intendant.workloads.study.trials import Result, Trial, Trials


class FifoScheduler:
    """Starts trials in order, the waiting before the paused, and lets each go on."""

    def on_trial_add(self, trials: Trials, trial: Trial) -> None:
        """Nothing to prepare."""

    def on_trial_error(self, trials: Trials, trial: Trial) -> None:
        """Nothing to clear."""

    def on_trial_result(self, trials: Trials, trial: Trial, result: Result) -> Decision:  # noqa: ARG002
        """Go on."""
        return Decision.CONTINUE

    def on_trial_complete(self, trials: Trials, trial: Trial, result: Result | None) -> None:
        """Nothing to clear."""

    def on_trial_remove(self, trials: Trials, trial: Trial) -> None:
        """Nothing to clear."""

    def choose_trial_to_run(self, trials: Trials) -> Trial | None:
        """The first that waits, else the first that was paused."""
        return next(iter(trials.pending() or trials.paused()), None)

    def save(self) -> bytes:
        """Nothing."""
        return b""

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        """Nothing."""
