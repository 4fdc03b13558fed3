"""Starting trials: as many as there are resources for, as the scheduler chooses."""

from __future__ import annotations

import structlog

from intendant.protocol.trial_states import Decision, TrialEvent, TrialState
from intendant.workloads.study.actions import Answer, Start
from intendant.workloads.study.closing import Closing
from intendant.workloads.study.state import StudyState
from intendant.workloads.study.trials import Trial

log = structlog.get_logger()


class Starting:
    """Has trials proposed and starts them."""

    def __init__(self, study: StudyState, closing: Closing) -> None:
        self._study = study
        self._closing = closing

    def fill(self) -> None:
        """Start what there is room for."""
        while self._study.closing is None and self._study.resources.fits():
            self._pull()
            if not len(self._study.trials):
                return
            try:
                trial = self._study.hooks.call(
                    self._study.scheduler.choose_trial_to_run, self._study.trials
                )
            except Exception as error:
                log.warning("scheduler_failed", exc_info=True)
                self._closing.give_up(f"scheduler: {type(error).__name__}: {error}")
                return
            if trial is None or trial.state not in (TrialState.PENDING, TrialState.PAUSED):
                return
            self.start(trial)

    def _pull(self) -> None:
        """Have trials proposed until as many wait as the scheduler wants to choose from."""
        wanted = getattr(self._study.scheduler, "wants_waiting", 1)
        waiting = len(self._study.trials.pending())
        while waiting < wanted and self._study.proposals.may_come():
            trial = Trial(self._study.tally.next_number, {})
            params = self._study.proposals.next_for(trial)
            if params is None:
                return
            trial.params = params
            self._study.changes.has_searched = True
            self.add(trial)
            waiting += 1

    def add(self, trial: Trial) -> None:
        """A new trial waits."""
        self._study.tally.next_number = trial.number + 1
        self._study.trials.add(trial)
        self._study.note(trial)
        self._study.tell_added(trial)

    def start(self, trial: Trial) -> None:
        """Start a process on the trial, or let it go on in the one that it has kept."""
        is_held = trial.state is TrialState.PAUSED and trial.is_pausing
        self._study.resources.take()
        self._study.trials.start(trial)
        trial.move(TrialEvent.STARTED)
        trial.is_pausing = False
        trial.started_s = self._study.clock()
        self._study.note(trial)
        if is_held:
            self._study.do(Answer(trial.number, Decision.CONTINUE))
            return
        trial.starts += 1
        trial.since_start = 0
        trial.refusal = None
        trial.has_saved = False
        self._study.do(
            Start(trial.number, trial.params, trial.checkpoint, trial.starts, trial.step)
        )
        self._study.hooks.tell("on_trial_start", trial)

    def bear_idleness(self) -> None:
        """Trials wait and none is chosen, or the searcher proposes nothing: not for ever (T4)."""
        if self._study.proposals.may_come():
            error = self._study.proposals.bear_silence()
        else:
            error = f"scheduler: {len(self._study.trials)} trials wait, and it chooses none"
        if error is not None:
            self._closing.give_up(error)
