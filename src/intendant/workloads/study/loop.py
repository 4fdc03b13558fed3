"""The loop of a study, without a process, a file or a clock: events in, changes and actions out.

    what happened ──▶ on_…() ──▶ take() ──▶ changes, to be written in one transaction
                                        └─▶ actions, to be carried out after that

An event concerns one trial, and so does its trouble: whatever goes wrong in dealing with it fails
that trial and no other. Searcher, scheduler and callbacks are somebody else's code; every call of
them goes through `Hooks`.

A trial whose process runs ends in two moves. First it is decided how (its `verdict`, or that it is
to be paused); the process is told or ended; and when it is gone (`on_ended`) the decision is
carried out. Its resources are taken until then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import structlog

from intendant.protocol.durations import format_duration
from intendant.protocol.study import StudySpec
from intendant.protocol.trial_states import Decision, TrialOutcome, TrialState
from intendant.workloads.study.actions import Action, Answer, Changes, Drop, Finish
from intendant.workloads.study.checkpoints import superfluous
from intendant.workloads.study.closing import Closing
from intendant.workloads.study.concluding import Concluding
from intendant.workloads.study.deciding import Deciding
from intendant.workloads.study.hooks import Callbacks, Searcher, Stopper, TrialScheduler
from intendant.workloads.study.reports import Report
from intendant.workloads.study.resources import Resources
from intendant.workloads.study.starting import Starting
from intendant.workloads.study.state import StudyState
from intendant.workloads.study.tally import Tally
from intendant.workloads.study.trials import Checkpoint, Ending, Params, Trial, Trials, Verdict

log = structlog.get_logger()


class StudyLoop:
    """Begin it once, tell it what happens, carry out what it takes."""

    def __init__(
        self,
        spec: StudySpec,
        *,
        searcher: Searcher,
        scheduler: TrialScheduler,
        resources: Resources,
        clock: Callable[[], float],
        callbacks: Sequence[Callbacks] = (),
        stopper: Stopper | None = None,
        elapsed_s: float = 0.0,
    ) -> None:
        self.spec = spec
        self.searcher = searcher
        self.scheduler = scheduler
        self.is_finished = False
        self._study = StudyState(
            spec, searcher=searcher, scheduler=scheduler, resources=resources, clock=clock,
            callbacks=callbacks,
        )  # fmt: skip
        self._closing = Closing(self._study)
        self._starting = Starting(self._study, self._closing)
        self._concluding = Concluding(self._study, self._closing, self._starting)
        self._deciding = Deciding(self._study, self._closing, self._concluding, stopper)
        self._began_s = clock() - elapsed_s

    def take(self) -> tuple[Changes, list[Action]]:
        """What has come together since the last call."""
        return self._study.take()

    @property
    def trials(self) -> Trials:
        """Those that have not ended."""
        return self._study.trials

    @property
    def tally(self) -> Tally:
        """How many have ended, and the best."""
        return self._study.tally

    @property
    def elapsed_s(self) -> float:
        """How long the study has been going on, in all its attempts."""
        return self._study.clock() - self._began_s

    def begin(self) -> None:
        """Start what can start."""
        if not self._study.resources.fits():
            self._closing.give_up("resources: not even one trial fits into what is available")
        self._settle()

    @property
    def proposed(self) -> int:
        """How many trials the searcher has proposed."""
        return self._study.proposals.count

    @property
    def has_more_to_start(self) -> bool:
        """Whether another trial waits, or may be proposed."""
        waits = bool(self._study.trials.pending() or self._study.trials.paused())
        return self._study.closing is None and (waits or self._study.proposals.may_come())

    def admit(self, trials: Sequence[Trial], tally: Tally, *, proposed: int) -> None:
        """Take in, before `begin`, what there was earlier: trials that are to go on, the others."""
        self._study.tally = tally
        self._study.proposals.count = proposed
        for trial in trials:
            self._study.rewind(trial)
            self._study.trials.add(trial)
            self._study.note(trial)
            self._study.tell_added(trial)

    def add_trial(self, params: Params) -> int:
        """One more trial, from outside; its number. It does not count as one that was proposed."""
        trial = Trial(self._study.tally.next_number, params)
        self._starting.add(trial)
        if self._study.closing is not None:
            self._closing.end_early(trial, Verdict(TrialOutcome.CANCELLED, self._study.closing))
        self._settle()
        return trial.number

    def on_report(self, number: int, report: Report) -> None:
        """A running trial has said something and waits for the answer."""
        trial = self._talking(number)
        if trial is None:
            return
        try:
            self._deciding.take_report(trial, report)
        except Exception as error:
            log.warning("trial_not_processed", trial=number, exc_info=True)
            self._closing.fail(trial, f"processing: {type(error).__name__}: {error}")
        self._settle()

    def on_unreadable(self, number: int, reason: str) -> None:
        """A running trial has said what is no report."""
        trial = self._talking(number)
        if trial is not None:
            self._deciding.refuse(trial, reason)

    def _talking(self, number: int) -> Trial | None:
        """The trial of this number; None for one that is over already, which is told to stop."""
        trial = self._study.trials.get(number)
        if trial is None or trial.state is not TrialState.RUNNING or trial.ending is not None:
            self._study.do(Answer(number, Decision.STOP))
            return None
        return trial

    def on_saved(self, number: int, checkpoint: Checkpoint) -> None:
        """The copy of a checkpoint is on disk."""
        trial = self._study.trials.get(number)
        if trial is None:
            self._study.do(Drop(checkpoint))
            return
        trial.is_saving = False
        trial.checkpoints.append(checkpoint)
        trial.checkpoint = checkpoint
        trial.has_saved = True
        for old in superfluous(
            self._study.spec.checkpoints, trial.checkpoints, self._study.in_use()
        ):
            trial.checkpoints.remove(old)
            self._study.do(Drop(old))
        self._study.note(trial)
        self._study.changes.saved.append((number, checkpoint))
        self._study.hooks.tell("on_checkpoint", trial, checkpoint)
        self._deciding.after_save(trial)
        self._settle()

    def on_save_failed(self, number: int, reason: str) -> None:
        """A checkpoint could not be copied; what was decided holds all the same."""
        log.warning("checkpoint_not_saved", trial=number, reason=reason)
        trial = self._study.trials.get(number)
        if trial is not None:
            trial.is_saving = False
            self._deciding.after_save(trial)
            self._settle()

    def on_ended(self, number: int, ending: Ending) -> None:
        """The trial's process is gone with all it started, or has given the trial back."""
        trial = self._study.trials.get(number)
        if trial is None or trial.ending is not None:
            return
        trial.ending = ending
        if not trial.is_saving:
            self._concluding.conclude(trial, ending)
        self._settle()

    def stop_trial(self, number: int, reason: str) -> bool:
        """End one trial on a person's behalf; False if there is none of this number to end."""
        trial = self._study.trials.get(number)
        if trial is None:
            return False
        self._closing.end_early(trial, Verdict(TrialOutcome.STOPPED, reason))
        self._settle()
        return True

    def stop_study(self, reason: str) -> None:
        """Propose and start nothing more; what has not ended is cancelled."""
        self._closing.close(reason)
        self._settle()

    def on_time(self) -> None:
        """Some time has passed: `next_time` says when it matters."""
        now = self._study.clock()
        limit_s = self._study.spec.time_limit_s
        if limit_s is not None and self.elapsed_s >= limit_s and self._study.closing is None:
            self._closing.close(f"time_limit: {format_duration(limit_s)}")
        for trial in self._study.trials.running():
            if trial.verdict is None and now >= self._study.deadline(trial):
                limit = format_duration(self._study.spec.trial_timeout_s or 0)
                self._closing.fail(trial, f"time_limit: {limit}")
        self._settle()

    def next_time(self) -> float | None:
        """When `on_time` is to be called next, by the clock; None: not before another event."""
        times = [
            self._study.deadline(trial)
            for trial in self._study.trials.running()
            if trial.verdict is None
        ]
        if self._study.spec.time_limit_s is not None and self._study.closing is None:
            times.append(self._began_s + self._study.spec.time_limit_s)
        if self._study.proposals.ask_again_at is not None:
            times.append(self._study.proposals.ask_again_at)
        soonest = min(times, default=math.inf)
        return None if math.isinf(soonest) else soonest

    def _settle(self) -> None:
        """After every event: start what can start; see whether all is done."""
        if self.is_finished:
            return
        if self._study.closing is None:
            self._starting.fill()
        if not len(self._study.trials) and (
            self._study.closing is not None or not self._study.proposals.may_come()
        ):
            self._finish()
        elif not self._study.resources.taken and self._study.closing is None:
            self._starting.bear_idleness()
            if self._study.closing is not None:
                self._settle()

    def _finish(self) -> None:
        self.is_finished = True
        error = self._study.error or self._study.proposals.error
        if error is None and not self._study.tally.has_result:
            ended = sum(self._study.tally.outcomes.values())
            failed = self._study.tally.outcomes[TrialOutcome.FAILED]
            error = f"no_result: of {ended} trials {failed} failed, and none has a result"
        self._study.hooks.tell("on_study_end")
        self._study.do(Finish(error))
