"""What becomes of a trial whose process has ended: over, paused, or started again."""

from __future__ import annotations

import structlog

from intendant.protocol.trial_states import TrialEvent, TrialOutcome, TrialState
from intendant.workloads.study.closing import Closing
from intendant.workloads.study.conditions import flattened
from intendant.workloads.study.reports import lack
from intendant.workloads.study.starting import Starting
from intendant.workloads.study.state import StudyState
from intendant.workloads.study.trials import Ending, Restart, Result, Trial, Verdict

log = structlog.get_logger()


class Concluding:
    """Carries out a trial's verdict, or finds one."""

    def __init__(self, study: StudyState, closing: Closing, starting: Starting) -> None:
        self._study = study
        self._closing = closing
        self._starting = starting

    def conclude(self, trial: Trial, ending: Ending) -> None:
        """Nothing of the trial runs any more: carry out its verdict, or find one."""
        trial.ending = None
        trial.decision = None
        self._study.release(trial)
        try:
            self._conclude_as_decided(trial, ending)
        except Exception as error:
            log.warning("trial_not_concluded", trial=trial.number, exc_info=True)
            self._closing.end(
                trial, Verdict(TrialOutcome.FAILED, f"{type(error).__name__}: {error}")
            )

    def _conclude_as_decided(self, trial: Trial, ending: Ending) -> None:
        if trial.verdict is None and trial.is_pausing:
            self._pause(trial, ending)
        elif trial.verdict is None and ending.error is not None:
            self._on_failure(trial, ending.error)
        elif trial.verdict is None:
            self._on_returned(trial, ending)
        elif trial.verdict.outcome is TrialOutcome.FAILED:
            self._on_failure(trial, trial.verdict.reason or "failed")
        else:
            if trial.verdict.outcome is TrialOutcome.STOPPED:
                self._study.tell_complete(trial, trial.last)
            self._closing.end(trial, trial.verdict)

    def _pause(self, trial: Trial, ending: Ending) -> None:
        """It has left its process, and goes on from a checkpoint, its own or another's."""
        if trial.state is TrialState.PAUSED:  # it was held in memory, and that is lost
            self._on_failure(trial, ending.error or "its process ended while it was paused")
            return
        trial.is_pausing = False
        trial.move(TrialEvent.PAUSED)
        restart, trial.restart = trial.restart, None
        if restart is not None:
            self._become(trial, restart)
        else:
            self._study.rewind(trial)
        self._study.trials.wait(trial)
        self._study.note(trial)

    def _become(self, trial: Trial, restart: Restart) -> None:
        """Go on as a variant of another trial, from that one's checkpoint; results stay."""
        trial.params = restart.params
        trial.checkpoint = restart.checkpoint
        trial.notes["donor"] = restart.donor
        if trial.last is not None:  # its steps count on from the donor's
            origin = restart.checkpoint.result
            trial.last = Result(trial.last.seq, origin.step, origin.metrics, trial.running_s)

    def _on_returned(self, trial: Trial, ending: Ending) -> None:
        """The objective is through. What it returned counts, else what it reported last (T9)."""
        if ending.metrics is not None:
            metrics = flattened(ending.metrics)
            if trial.last is None or dict(trial.last.metrics) != metrics:
                step = trial.step + 1
                self._study.keep(trial, Result(trial.results + 1, step, metrics, trial.running_s))
        if (missing := lack(trial.last, self._study.spec.goals)) is not None:
            refused = "" if trial.refusal is None else f"; of a report: {trial.refusal}"
            self._on_failure(trial, f"{missing}{refused}")
            return
        self._study.tell_complete(trial, trial.last)
        self._closing.end(trial, Verdict(TrialOutcome.COMPLETED))

    def _on_failure(self, trial: Trial, reason: str) -> None:
        trial.failures += 1
        trial.verdict = None
        trial.is_pausing = False
        trial.restart = None
        if trial.failures > self._study.spec.max_failures or self._study.closing is not None:
            self._give_up_trial(trial, reason)
            return
        log.warning("trial_retried", trial=trial.number, failures=trial.failures, reason=reason)
        if trial.checkpoint is not None and trial.since_start == 0:
            trial.checkpoint = None  # perhaps it is this that it can't start from
        self._study.rewind(trial)
        trial.reason = reason
        trial.move(TrialEvent.REQUEUED)
        self._study.trials.wait(trial)
        self._study.note(trial)
        if self._study.resources.fits():
            self._starting.start(trial)
            return
        self._study.tell_failed(trial)
        self._study.tell_added(trial)

    def _give_up_trial(self, trial: Trial, reason: str) -> None:
        self._study.tell_failed(trial)
        self._study.hooks.call_quietly(
            self._study.searcher.on_trial_complete, trial, trial.last, error=True
        )
        self._closing.end(trial, Verdict(TrialOutcome.FAILED, reason))
        if self._study.spec.fail_fast and self._study.closing is None:
            self._study.error = f"fail_fast: trial {trial.number}: {reason}"
            self._closing.close(self._study.error)
