"""Where a study stands: its trials, what it may use, what is to be written and to be done.

The parts of the loop share it: `closing` ends trials, `starting` starts them, `concluding` deals
with processes that have ended, `deciding` with reports. Each uses only those named before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from intendant.protocol.study import StudySpec
from intendant.workloads.study.actions import Action, Changes
from intendant.workloads.study.hooks import Callbacks, Hooks, Searcher, TrialScheduler
from intendant.workloads.study.proposals import Proposals
from intendant.workloads.study.resources import Resources
from intendant.workloads.study.tally import Tally
from intendant.workloads.study.trials import Result, Trial, Trials


class StudyState:
    """The state of a study; changed by the parts of its loop alone."""

    def __init__(
        self,
        spec: StudySpec,
        *,
        searcher: Searcher,
        scheduler: TrialScheduler,
        resources: Resources,
        clock: Callable[[], float],
        callbacks: Sequence[Callbacks],
    ) -> None:
        self.spec = spec
        self.searcher = searcher
        self.scheduler = scheduler
        self.resources = resources
        self.clock = clock
        self.trials = Trials()
        self.tally = Tally(spec.goals)
        self.hooks = Hooks(clock, callbacks)
        self.proposals = Proposals(searcher, self.hooks, clock, spec.trials)
        self.closing: str | None = None
        """Why nothing starts any more, once that is so."""
        self.error: str | None = None
        """Why the study has failed, if it has."""
        self.changes = Changes()
        self._actions: list[Action] = []

    def do(self, action: Action) -> None:
        """Want something done, once the changes are written."""
        self._actions.append(action)

    def note(self, trial: Trial) -> None:
        """The trial has changed."""
        self.changes.trials[trial.number] = trial

    def take(self) -> tuple[Changes, list[Action]]:
        """What has come together since the last call."""
        taken = self.changes, self._actions
        self.changes, self._actions = Changes(), []
        return taken

    def running_s(self, trial: Trial) -> float:
        """How long the trial has been running, over all its starts."""
        since = 0.0 if trial.started_s is None else self.clock() - trial.started_s
        return trial.running_s + since

    def deadline(self, trial: Trial) -> float:
        """When a running trial has had its time, by the clock."""
        if self.spec.trial_timeout_s is None or trial.started_s is None:
            return math.inf
        return trial.started_s + self.spec.trial_timeout_s - trial.running_s

    def release(self, trial: Trial) -> None:
        """The trial's process works no more: count its time, give its resources back."""
        if trial.started_s is not None:
            trial.running_s = self.running_s(trial)
            trial.started_s = None
            self.resources.give_back()

    def in_use(self) -> set[str]:
        """The checkpoints that somebody will go on from."""
        wanted = [trial.checkpoint for trial in self.trials]
        wanted += [trial.restart.checkpoint for trial in self.trials if trial.restart is not None]
        return {checkpoint.path for checkpoint in wanted if checkpoint is not None}

    def tell_added(self, trial: Trial) -> None:
        """The scheduler hears that the trial waits for a start."""
        self.hooks.call_quietly(self.scheduler.on_trial_add, self.trials, trial)

    def tell_failed(self, trial: Trial) -> None:
        """The scheduler hears that the trial has failed."""
        self.hooks.call_quietly(self.scheduler.on_trial_error, self.trials, trial)

    def tell_complete(self, trial: Trial, result: Result | None) -> None:
        """Scheduler and searcher hear that the trial is through."""
        self.hooks.call(self.scheduler.on_trial_complete, self.trials, trial, result)
        self.hooks.call(self.searcher.on_trial_complete, trial, result, error=False)

    def rewind(self, trial: Trial) -> None:
        """Results after the checkpoint that it goes on from don't count any more."""
        origin = None if trial.checkpoint is None else trial.checkpoint.result
        seq = 0 if origin is None else origin.seq
        if trial.checkpoint is not None and trial.checkpoint not in trial.checkpoints:
            return  # another trial's: nothing of its own comes after it
        if trial.results > seq:
            self.changes.rewound.append((trial.number, seq))
            trial.last = origin

    def keep(self, trial: Trial, result: Result) -> None:
        """A result of the trial, which counts from now on."""
        trial.last = result
        trial.since_start += 1
        self.changes.results.append((trial.number, result))
        self.note(trial)
        self.hooks.tell("on_trial_result", trial, result)
