"""Ending trials, one or all: what was decided, then the process, then the books."""

from __future__ import annotations

from intendant.protocol.trial_states import Decision, TrialEvent, TrialOutcome, TrialState
from intendant.workloads.study.actions import End
from intendant.workloads.study.state import StudyState
from intendant.workloads.study.tally import Best, counts
from intendant.workloads.study.trials import Trial, Verdict


class Closing:
    """Ends trials."""

    def __init__(self, study: StudyState) -> None:
        self._study = study

    def give_up(self, error: str) -> None:
        """The study has failed; the first reason counts."""
        self._study.error = self._study.error or error
        self.close(error)

    def close(self, reason: str, *, spare: Trial | None = None) -> None:
        """Cancel what has not ended (T16)."""
        if self._study.closing is not None:
            return
        self._study.closing = reason
        self._study.proposals.end()
        for trial in self._study.trials:
            if trial is not spare and (
                trial.verdict is None or trial.verdict.outcome is not TrialOutcome.FAILED
            ):
                self.end_early(trial, Verdict(TrialOutcome.CANCELLED, reason))

    def end_early(self, trial: Trial, verdict: Verdict) -> None:
        """T17. A process that runs, or is held, has to end first."""
        is_held = trial.state is TrialState.PAUSED and trial.is_pausing
        if trial.state is not TrialState.RUNNING and not is_held:
            self._study.hooks.call_quietly(
                self._study.scheduler.on_trial_remove, self._study.trials, trial
            )
            if verdict.outcome is TrialOutcome.STOPPED:
                self._study.hooks.call_quietly(
                    self._study.searcher.on_trial_complete, trial, trial.last, error=False
                )
            self.end(trial, verdict)
            return
        if trial.verdict is not None:
            return  # it is on its way already
        trial.verdict = verdict
        if trial.decision is not None:
            trial.decision = Decision.STOP
        self._study.do(End(trial.number))

    def fail(self, trial: Trial, reason: str) -> None:
        """A running trial has failed by its own doing or by ours: its process has to end."""
        trial.verdict = Verdict(TrialOutcome.FAILED, reason)
        trial.decision = None
        self._study.do(End(trial.number))

    def end(self, trial: Trial, verdict: Verdict) -> None:
        """Nothing of the trial runs: it has ended so."""
        trial.verdict = None
        trial.outcome, trial.reason = verdict.outcome, verdict.reason
        trial.move(TrialEvent.ENDED)
        self._study.trials.remove(trial)
        self._study.tally.outcomes[verdict.outcome] += 1
        self._consider(trial, verdict.outcome)
        self._study.note(trial)
        self._study.changes.has_searched = self._study.changes.has_scheduled = True
        is_error = verdict.outcome is TrialOutcome.FAILED
        self._study.hooks.tell("on_trial_error" if is_error else "on_trial_complete", trial)

    def _consider(self, trial: Trial, outcome: TrialOutcome) -> None:
        values = None if trial.last is None else trial.last.numbers(self._study.spec.goals)
        if trial.last is None or values is None or not counts(outcome):
            return
        self._study.tally.consider(
            Best(
                trial.number,
                trial.params,
                values,
                trial.last,
                trial.checkpoints[-1].path if trial.checkpoints else None,
                outcome is TrialOutcome.COMPLETED,
            )
        )
