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
from intendant.protocol.trial_states import Decision, TrialEvent, TrialOutcome, TrialState
from intendant.workloads.study.actions import (
    Action,
    Answer,
    Changes,
    Drop,
    End,
    Finish,
    Refuse,
    Save,
    Start,
)
from intendant.workloads.study.checkpoints import superfluous
from intendant.workloads.study.conditions import StopConditions, flattened
from intendant.workloads.study.hooks import (
    Callbacks,
    Hooks,
    Searcher,
    TrialScheduler,
)
from intendant.workloads.study.proposals import Proposals
from intendant.workloads.study.reports import Report, checked, lack, result_of
from intendant.workloads.study.resources import Resources
from intendant.workloads.study.tally import Best, Tally, counts
from intendant.workloads.study.trials import (
    Checkpoint,
    Ending,
    Params,
    Restart,
    Result,
    Trial,
    Trials,
    Verdict,
)

log = structlog.get_logger()

Stopper = Callable[[Trial, Result], bool]


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
        self.trials = Trials()
        self.tally = Tally(spec.mode)
        self.is_finished = False
        self._resources = resources
        self._clock = clock
        self._hooks = Hooks(clock, callbacks)
        self._proposals = Proposals(searcher, self._hooks, clock, spec.trials)
        self._stopper = stopper
        self._began_s = clock() - elapsed_s
        self._stop = StopConditions(spec.stop)
        self._stop_study = StopConditions(spec.stop_study)
        self._closing: str | None = None
        self._error: str | None = None
        self._changes = Changes()
        self._actions: list[Action] = []

    def take(self) -> tuple[Changes, list[Action]]:
        """What has come together since the last call."""
        taken = self._changes, self._actions
        self._changes, self._actions = Changes(), []
        return taken

    @property
    def elapsed_s(self) -> float:
        """How long the study has been going on, in all its attempts."""
        return self._clock() - self._began_s

    # --- events ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start what can start."""
        if not self._resources.fits():
            self._give_up("resources: not even one trial fits into what is available")
        self._settle()

    @property
    def proposed(self) -> int:
        """How many trials the searcher has proposed."""
        return self._proposals.count

    @property
    def has_more_to_start(self) -> bool:
        """Whether another trial waits, or may be proposed."""
        waits = bool(self.trials.pending() or self.trials.paused())
        return self._closing is None and (waits or self._proposals.may_come())

    def admit(self, trials: Sequence[Trial], tally: Tally, *, proposed: int) -> None:
        """Take in, before `begin`, what there was earlier: trials that are to go on, the others."""
        self.tally = tally
        self._proposals.count = proposed
        for trial in trials:
            self._rewind(trial)
            self.trials.add(trial)
            self._changes.trials[trial.number] = trial
            self._hooks.call_quietly(self.scheduler.on_trial_add, self.trials, trial)

    def add_trial(self, params: Params) -> int:
        """One more trial, from outside; its number. It does not count as one that was proposed."""
        trial = Trial(self.tally.next_number, params)
        self._add(trial)
        if self._closing is not None:
            self._end_early(trial, Verdict(TrialOutcome.CANCELLED, self._closing))
        self._settle()
        return trial.number

    def on_report(self, number: int, report: Report) -> None:
        """A running trial has said something and waits for the answer."""
        trial = self.trials.get(number)
        if trial is None or trial.state is not TrialState.RUNNING or trial.ending is not None:
            self._actions.append(Answer(number, Decision.STOP))  # it is over already
            return
        try:
            self._take_report(trial, report)
        except Exception as error:
            log.warning("trial_not_processed", trial=number, exc_info=True)
            self._fail(trial, f"processing: {type(error).__name__}: {error}")
        self._settle()

    def on_saved(self, number: int, checkpoint: Checkpoint) -> None:
        """The copy of a checkpoint is on disk."""
        trial = self.trials.get(number)
        if trial is None:
            self._actions.append(Drop(checkpoint))
            return
        trial.is_saving = False
        trial.checkpoints.append(checkpoint)
        trial.checkpoint = checkpoint
        trial.has_saved = True
        for old in superfluous(self.spec.checkpoints, trial.checkpoints, self._in_use()):
            trial.checkpoints.remove(old)
            self._actions.append(Drop(old))
        self._changes.trials[number] = trial
        self._changes.saved.append((number, checkpoint))
        self._hooks.tell("on_checkpoint", trial, checkpoint)
        self._after_save(trial)

    def on_save_failed(self, number: int, reason: str) -> None:
        """A checkpoint could not be copied; what was decided holds all the same."""
        log.warning("checkpoint_not_saved", trial=number, reason=reason)
        trial = self.trials.get(number)
        if trial is not None:
            trial.is_saving = False
            self._after_save(trial)

    def on_ended(self, number: int, ending: Ending) -> None:
        """The trial's process is gone with all it started, or has given the trial back."""
        trial = self.trials.get(number)
        if trial is None or trial.ending is not None:
            return
        trial.ending = ending
        if not trial.is_saving:
            self._conclude(trial, ending)
        self._settle()

    def stop_trial(self, number: int, reason: str) -> bool:
        """End one trial on a person's behalf; False if there is none of this number to end."""
        trial = self.trials.get(number)
        if trial is None:
            return False
        self._end_early(trial, Verdict(TrialOutcome.STOPPED, reason))
        self._settle()
        return True

    def stop_study(self, reason: str) -> None:
        """Propose and start nothing more; what has not ended is cancelled."""
        self._close(reason)
        self._settle()

    def on_time(self) -> None:
        """Some time has passed: `next_time` says when it matters."""
        now = self._clock()
        limit_s = self.spec.time_limit_s
        if limit_s is not None and self.elapsed_s >= limit_s and self._closing is None:
            self._close(f"time_limit: {format_duration(limit_s)}")
        for trial in self.trials.running():
            if trial.verdict is None and now >= self._deadline(trial):
                limit = format_duration(self.spec.trial_timeout_s or 0)
                self._fail(trial, f"time_limit: {limit}")
        self._settle()

    def next_time(self) -> float | None:
        """When `on_time` is to be called next, by the clock; None: not before another event."""
        times = [self._deadline(trial) for trial in self.trials.running() if trial.verdict is None]
        if self.spec.time_limit_s is not None and self._closing is None:
            times.append(self._began_s + self.spec.time_limit_s)
        if self._proposals.ask_again_at is not None:
            times.append(self._proposals.ask_again_at)
        soonest = min(times, default=math.inf)
        return None if math.isinf(soonest) else soonest

    # --- a result --------------------------------------------------------------------------------

    def _take_report(self, trial: Trial, report: Report) -> None:
        result = result_of(trial, report, self._running_s(trial))
        if isinstance(result, str):
            self._actions.append(Refuse(trial.number, result))
            return
        self._keep(trial, result)
        decision = _decided(trial) or self._decide(trial, result)
        if report.checkpoint is None:
            self._execute(trial, decision)
            return
        trial.is_saving = True
        trial.decision = decision
        self._actions.append(Save(trial.number, report.checkpoint, result))

    def _keep(self, trial: Trial, result: Result) -> None:
        trial.last = result
        trial.since_start += 1
        self._changes.results.append((trial.number, result))
        self._changes.trials[trial.number] = trial
        self._hooks.tell("on_trial_result", trial, result)

    def _decide(self, trial: Trial, result: Result) -> Decision:
        """What the trial is to do, and what everybody is told of it (T7, T8)."""
        if (condition := self._stop_study.met(result)) is not None:
            self._close(f"stop_study: {condition}", spare=trial)
            return self._complete_by_rule(trial, result, f"stop_study: {condition}")
        if (reason := self._stop_reason(trial, result)) is not None:
            return self._complete_by_rule(trial, result, reason)
        decision = Decision.CONTINUE
        if result.number(self.spec.metric) is not None:
            answer = self._hooks.call(self.scheduler.on_trial_result, self.trials, trial, result)
            decision = checked(answer)
            self._changes.has_scheduled |= decision is not Decision.CONTINUE
        self._hooks.call(self.searcher.on_trial_result, trial, result)
        if decision is Decision.STOP:
            self._hooks.call(self.searcher.on_trial_complete, trial, result, error=False)
            trial.verdict = Verdict(TrialOutcome.PRUNED)
        return decision

    def _stop_reason(self, trial: Trial, result: Result) -> str | None:
        if (condition := self._stop.met(result)) is not None:
            return f"stop: {condition}"
        if self._stopper is not None and self._hooks.call(self._stopper, trial, result):
            return "stop: stopper"
        return None

    def _complete_by_rule(self, trial: Trial, result: Result, reason: str) -> Decision:
        self._tell_complete(trial, result)
        trial.verdict = Verdict(TrialOutcome.COMPLETED, reason)
        return Decision.STOP

    def _execute(self, trial: Trial, decision: Decision) -> None:
        """Carry out what was decided; the trial waits for its answer."""
        trial.decision = None
        # On disk nothing would be left of what it has done since it saved something.
        stays = trial.restart is None and (self.spec.pause == "memory" or not trial.has_saved)
        if decision is Decision.PAUSE and stays:
            self._release(trial)
            trial.move(TrialEvent.PAUSED)
            trial.is_pausing = True
            self.trials.wait(trial)
            self._changes.trials[trial.number] = trial
            return
        trial.is_pausing = decision is Decision.PAUSE
        self._actions.append(Answer(trial.number, decision))

    def _after_save(self, trial: Trial) -> None:
        """Carry out what had to wait for the save (T11)."""
        decision, trial.decision = trial.decision, None
        if trial.ending is not None:
            self._conclude(trial, trial.ending)
        elif decision is not None:
            self._execute(trial, decision)
        self._settle()

    # --- the end of a process --------------------------------------------------------------------

    def _conclude(self, trial: Trial, ending: Ending) -> None:
        """Nothing of the trial runs any more: carry out its verdict, or find one."""
        trial.ending = None
        trial.decision = None
        self._release(trial)
        try:
            self._conclude_as_decided(trial, ending)
        except Exception as error:
            log.warning("trial_not_concluded", trial=trial.number, exc_info=True)
            self._end(trial, Verdict(TrialOutcome.FAILED, f"{type(error).__name__}: {error}"))

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
                self._tell_complete(trial, trial.last)
            self._end(trial, trial.verdict)

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
            self._rewind(trial)
        self.trials.wait(trial)
        self._changes.trials[trial.number] = trial

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
                self._keep(trial, Result(trial.results + 1, step, metrics, trial.running_s))
        if (missing := lack(trial.last, self.spec.metric)) is not None:
            self._on_failure(trial, missing)
            return
        self._tell_complete(trial, trial.last)
        self._end(trial, Verdict(TrialOutcome.COMPLETED))

    # --- failures --------------------------------------------------------------------------------

    def _fail(self, trial: Trial, reason: str) -> None:
        """A running trial has failed by its own doing or by ours: its process has to end."""
        trial.verdict = Verdict(TrialOutcome.FAILED, reason)
        trial.decision = None
        self._actions.append(End(trial.number))

    def _on_failure(self, trial: Trial, reason: str) -> None:
        trial.failures += 1
        trial.verdict = None
        trial.is_pausing = False
        trial.restart = None
        if trial.failures > self.spec.max_failures or self._closing is not None:
            self._give_up_trial(trial, reason)
            return
        log.warning("trial_retried", trial=trial.number, failures=trial.failures, reason=reason)
        if trial.checkpoint is not None and trial.since_start == 0:
            trial.checkpoint = None  # perhaps it is this that it can't start from
        self._rewind(trial)
        trial.reason = reason
        trial.move(TrialEvent.REQUEUED)
        self.trials.wait(trial)
        self._changes.trials[trial.number] = trial
        if self._resources.fits():
            self._start(trial)
            return
        self._hooks.call_quietly(self.scheduler.on_trial_error, self.trials, trial)
        self._hooks.call_quietly(self.scheduler.on_trial_add, self.trials, trial)

    def _give_up_trial(self, trial: Trial, reason: str) -> None:
        self._hooks.call_quietly(self.scheduler.on_trial_error, self.trials, trial)
        self._hooks.call_quietly(self.searcher.on_trial_complete, trial, trial.last, error=True)
        self._end(trial, Verdict(TrialOutcome.FAILED, reason))
        if self.spec.fail_fast and self._closing is None:
            self._error = f"fail_fast: trial {trial.number}: {reason}"
            self._close(self._error)

    def _rewind(self, trial: Trial) -> None:
        """Results after the checkpoint that it goes on from don't count any more."""
        origin = None if trial.checkpoint is None else trial.checkpoint.result
        seq = 0 if origin is None else origin.seq
        if trial.checkpoint is not None and trial.checkpoint not in trial.checkpoints:
            return  # another trial's: nothing of its own comes after it
        if trial.results > seq:
            self._changes.rewound.append((trial.number, seq))
            trial.last = origin

    # --- starting --------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After every event: start what can start; see whether all is done."""
        if self.is_finished:
            return
        if self._closing is None:
            self._fill()
        if not len(self.trials) and (self._closing is not None or not self._proposals.may_come()):
            self._finish()
        elif not self._resources.taken and self._closing is None:
            self._on_nothing_runs()

    def _fill(self) -> None:
        while self._closing is None and self._resources.fits():
            self._pull()
            if not len(self.trials):
                return
            try:
                trial = self._hooks.call(self.scheduler.choose_trial_to_run, self.trials)
            except Exception as error:
                log.warning("scheduler_failed", exc_info=True)
                self._give_up(f"scheduler: {type(error).__name__}: {error}")
                return
            if trial is None or trial.state not in (TrialState.PENDING, TrialState.PAUSED):
                return
            self._start(trial)

    def _pull(self) -> None:
        """Have trials proposed until as many wait as the scheduler wants to choose from."""
        wanted = getattr(self.scheduler, "wants_waiting", 1)
        waiting = len(self.trials.pending())
        while waiting < wanted and self._proposals.may_come():
            trial = Trial(self.tally.next_number, {})
            params = self._proposals.next_for(trial)
            if params is None:
                return
            trial.params = params
            self._changes.has_searched = True
            self._add(trial)
            waiting += 1

    def _add(self, trial: Trial) -> None:
        self.tally.next_number = trial.number + 1
        self.trials.add(trial)
        self._changes.trials[trial.number] = trial
        self._hooks.call_quietly(self.scheduler.on_trial_add, self.trials, trial)

    def _start(self, trial: Trial) -> None:
        is_held = trial.state is TrialState.PAUSED and trial.is_pausing
        self._resources.take()
        self.trials.start(trial)
        trial.move(TrialEvent.STARTED)
        trial.is_pausing = False
        trial.started_s = self._clock()
        self._changes.trials[trial.number] = trial
        if is_held:
            self._actions.append(Answer(trial.number, Decision.CONTINUE))
            return
        trial.starts += 1
        trial.since_start = 0
        trial.has_saved = False
        self._actions.append(
            Start(trial.number, trial.params, trial.checkpoint, trial.starts, trial.step)
        )
        self._hooks.tell("on_trial_start", trial)

    def _on_nothing_runs(self) -> None:
        """Trials wait and none is chosen, or the searcher proposes nothing: not for ever (T4)."""
        if self._proposals.may_come():
            error = self._proposals.bear_silence()
        else:
            error = f"scheduler: {len(self.trials)} trials wait, and it chooses none"
        if error is not None:
            self._give_up(error)
            self._settle()

    # --- ending ----------------------------------------------------------------------------------

    def _give_up(self, error: str) -> None:
        self._error = self._error or error
        self._close(error)

    def _close(self, reason: str, *, spare: Trial | None = None) -> None:
        """Cancel what has not ended (T16)."""
        if self._closing is not None:
            return
        self._closing = reason
        self._proposals.end()
        for trial in self.trials:
            if trial is not spare and (
                trial.verdict is None or trial.verdict.outcome is not TrialOutcome.FAILED
            ):
                self._end_early(trial, Verdict(TrialOutcome.CANCELLED, reason))

    def _end_early(self, trial: Trial, verdict: Verdict) -> None:
        """T17. A process that runs, or is held, has to end first."""
        is_held = trial.state is TrialState.PAUSED and trial.is_pausing
        if trial.state is not TrialState.RUNNING and not is_held:
            self._hooks.call_quietly(self.scheduler.on_trial_remove, self.trials, trial)
            if verdict.outcome is TrialOutcome.STOPPED:
                self._hooks.call_quietly(
                    self.searcher.on_trial_complete, trial, trial.last, error=False
                )
            self._end(trial, verdict)
            return
        if trial.verdict is not None:
            return  # it is on its way already
        trial.verdict = verdict
        if trial.decision is not None:
            trial.decision = Decision.STOP
        self._actions.append(End(trial.number))

    def _end(self, trial: Trial, verdict: Verdict) -> None:
        trial.verdict = None
        trial.outcome, trial.reason = verdict.outcome, verdict.reason
        trial.move(TrialEvent.ENDED)
        self.trials.remove(trial)
        self.tally.outcomes[verdict.outcome] += 1
        self._consider(trial, verdict.outcome)
        self._changes.trials[trial.number] = trial
        self._changes.has_searched = self._changes.has_scheduled = True
        is_error = verdict.outcome is TrialOutcome.FAILED
        self._hooks.tell("on_trial_error" if is_error else "on_trial_complete", trial)

    def _consider(self, trial: Trial, outcome: TrialOutcome) -> None:
        value = None if trial.last is None else trial.last.number(self.spec.metric)
        if trial.last is None or value is None or not counts(value, outcome):
            return
        self.tally.consider(
            Best(
                trial.number,
                trial.params,
                value,
                trial.last,
                trial.checkpoints[-1].path if trial.checkpoints else None,
                outcome is TrialOutcome.COMPLETED,
            )
        )

    def _finish(self) -> None:
        self.is_finished = True
        error = self._error or self._proposals.error
        if error is None and self.tally.best is None:
            ended = sum(self.tally.outcomes.values())
            failed = self.tally.outcomes[TrialOutcome.FAILED]
            error = f"no_result: of {ended} trials {failed} failed, and none has a result"
        self._hooks.tell("on_study_end")
        self._actions.append(Finish(error))

    # --- small things ----------------------------------------------------------------------------

    def _release(self, trial: Trial) -> None:
        """The trial's process works no more: count its time, give its resources back."""
        if trial.started_s is not None:
            trial.running_s = self._running_s(trial)
            trial.started_s = None
            self._resources.give_back()

    def _running_s(self, trial: Trial) -> float:
        since = 0.0 if trial.started_s is None else self._clock() - trial.started_s
        return trial.running_s + since

    def _deadline(self, trial: Trial) -> float:
        if self.spec.trial_timeout_s is None or trial.started_s is None:
            return math.inf
        return trial.started_s + self.spec.trial_timeout_s - trial.running_s

    def _in_use(self) -> set[str]:
        """The checkpoints that somebody will go on from."""
        wanted = [trial.checkpoint for trial in self.trials]
        wanted += [trial.restart.checkpoint for trial in self.trials if trial.restart is not None]
        return {checkpoint.path for checkpoint in wanted if checkpoint is not None}

    def _tell_complete(self, trial: Trial, result: Result | None) -> None:
        self._hooks.call(self.scheduler.on_trial_complete, self.trials, trial, result)
        self._hooks.call(self.searcher.on_trial_complete, trial, result, error=False)


def _decided(trial: Trial) -> Decision | None:
    """What the trial was told already, and told again if it goes on nevertheless."""
    if trial.verdict is not None:
        return Decision.STOP
    return Decision.PAUSE if trial.is_pausing else None
