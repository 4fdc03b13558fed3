"""What trials report, and what they are told: results, decisions, saves in between."""

from __future__ import annotations

from intendant.protocol.trial_states import Decision, TrialEvent, TrialOutcome
from intendant.workloads.study.actions import Answer, Refuse, Save
from intendant.workloads.study.closing import Closing
from intendant.workloads.study.concluding import Concluding
from intendant.workloads.study.conditions import StopConditions
from intendant.workloads.study.hooks import Stopper
from intendant.workloads.study.reports import Report, checked, result_of
from intendant.workloads.study.state import StudyState
from intendant.workloads.study.trials import Result, Trial, Verdict


class Deciding:
    """Takes reports and carries out what is decided on them."""

    def __init__(
        self, study: StudyState, closing: Closing, concluding: Concluding, stopper: Stopper | None
    ) -> None:
        self._study = study
        self._closing = closing
        self._concluding = concluding
        self._stopper = stopper
        self._stop = StopConditions(study.spec.stop)
        self._stop_study = StopConditions(study.spec.stop_study)

    def take_report(self, trial: Trial, report: Report) -> None:
        """A result, or a refusal; and what the trial is told, perhaps after a save."""
        result = result_of(trial, report, self._study.running_s(trial))
        if isinstance(result, str):
            self.refuse(trial, result)
            return
        self._study.keep(trial, result)
        decision = _decided(trial) or self._decide(trial, result)
        if report.checkpoint is None:
            self._execute(trial, decision)
            return
        trial.is_saving = True
        trial.decision = decision
        self._study.do(Save(trial.number, report.checkpoint, result))

    def refuse(self, trial: Trial, reason: str) -> None:
        """The trial goes on; what it said does not count, and it is told why."""
        trial.refusal = reason
        self._study.do(Refuse(trial.number, reason))

    def after_save(self, trial: Trial) -> None:
        """Carry out what had to wait for the save (T11)."""
        decision, trial.decision = trial.decision, None
        if trial.ending is not None:
            self._concluding.conclude(trial, trial.ending)
        elif decision is not None:
            self._execute(trial, decision)

    def _decide(self, trial: Trial, result: Result) -> Decision:
        """What the trial is to do, and what everybody is told of it (T7, T8)."""
        if (condition := self._stop_study.met(result)) is not None:
            self._closing.close(f"stop_study: {condition}", spare=trial)
            return self._complete_by_rule(trial, result, f"stop_study: {condition}")
        if (reason := self._stop_reason(trial, result)) is not None:
            return self._complete_by_rule(trial, result, reason)
        decision = Decision.CONTINUE
        if result.number(self._study.spec.metric) is not None:
            answer = self._study.hooks.call(
                self._study.scheduler.on_trial_result, self._study.trials, trial, result
            )
            decision = checked(answer)
            self._study.changes.has_scheduled |= decision is not Decision.CONTINUE
        self._study.hooks.call(self._study.searcher.on_trial_result, trial, result)
        if decision is Decision.STOP:
            self._study.hooks.call(
                self._study.searcher.on_trial_complete, trial, result, error=False
            )
            trial.verdict = Verdict(TrialOutcome.PRUNED)
        return decision

    def _stop_reason(self, trial: Trial, result: Result) -> str | None:
        if (condition := self._stop.met(result)) is not None:
            return f"stop: {condition}"
        if self._stopper is not None and self._study.hooks.call(self._stopper, trial, result):
            return "stop: stopper"
        return None

    def _complete_by_rule(self, trial: Trial, result: Result, reason: str) -> Decision:
        self._study.tell_complete(trial, result)
        trial.verdict = Verdict(TrialOutcome.COMPLETED, reason)
        return Decision.STOP

    def _execute(self, trial: Trial, decision: Decision) -> None:
        """Carry out what was decided; the trial waits for its answer."""
        trial.decision = None
        # On disk nothing would be left of what it has done since it saved something.
        stays = trial.restart is None and (
            self._study.spec.pause == "memory" or not trial.has_saved
        )
        if decision is Decision.PAUSE and stays:
            self._study.release(trial)
            trial.move(TrialEvent.PAUSED)
            trial.is_pausing = True
            self._study.trials.wait(trial)
            self._study.note(trial)
            return
        trial.is_pausing = decision is Decision.PAUSE
        self._study.do(Answer(trial.number, decision))


def _decided(trial: Trial) -> Decision | None:
    """What the trial was told already, and told again if it goes on nevertheless."""
    if trial.verdict is not None:
        return Decision.STOP
    return Decision.PAUSE if trial.is_pausing else None
