"""A study of Optuna's that follows ours, through its ask-and-tell interface.

Samplers and pruners look at one study of Optuna's in memory, which mirrors ours: trial numbers are
the same, so the same seed gives the suggestions and the prunings of Optuna run by itself. The truth
is in our store. What a restart needs beside the trials is the sampler and the pruner themselves
(the generators in them have moved on) as a pickle that only the run's own process opens; and what
they have noted on each trial, which is kept with the trial.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from intendant.protocol.space import (
    Choice,
    Fixed,
    Grid,
    Integer,
    LogUniform,
    Parameter,
    Uniform,
    exists,
    fits,
    in_order,
    last_rung,
)
from intendant.protocol.study import Mode
from intendant.protocol.trial_states import TrialOutcome
from intendant.workloads.study.hooks import History
from intendant.workloads.study.optuna_mirror import Mirror
from intendant.workloads.study.optuna_space import as_choice, choices, distribution_of
from intendant.workloads.study.trials import Params, Result, Trial

NAME = "intendant"
"""Of the study in memory: Hyperband's brackets are dealt out by it."""
NOTES = "optuna"
"""Under which a trial keeps what samplers and pruners have noted on it."""

_STATES = {
    TrialOutcome.COMPLETED: TrialState.COMPLETE,
    TrialOutcome.PRUNED: TrialState.PRUNED,
    TrialOutcome.STOPPED: TrialState.COMPLETE,
    TrialOutcome.FAILED: TrialState.FAIL,
    TrialOutcome.CANCELLED: TrialState.FAIL,
}


class OptunaStudy:
    """One study of Optuna's that follows ours."""

    def __init__(
        self,
        space: Mapping[str, Parameter],
        *,
        goals: Mapping[str, Mode],
        sampler: optuna.samplers.BaseSampler | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        self.goals = goals
        self.metric = next(iter(goals))
        self._order = in_order(space)
        self._distributions = {
            name: distribution_of(parameter)
            for name, parameter in space.items()
            if not isinstance(parameter, Fixed)
        }
        self._storage = Mirror(goals[self.metric])
        self.study = optuna.create_study(
            storage=self._storage,
            study_name=NAME,
            directions=["minimize" if mode == "min" else "maximize" for mode in goals.values()],
            sampler=sampler or optuna.samplers.RandomSampler(),
            pruner=pruner or optuna.pruners.NopPruner(),
        )

    def ask(self, trial: Trial) -> Params:
        """Parameters for the next trial."""
        self._fill_up_to(trial.number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Optuna's experimental samplers
            asked = self.study.ask()
            params: Params = {}
            for name in self._order:
                parameter = self.space[name]
                if exists(parameter, params):
                    params[name] = self._suggested(asked, name, parameter)
        self._note(trial)
        return params

    def add(self, trial: Trial) -> None:
        """A trial that somebody else has proposed."""
        if trial.number < len(self._trials()):
            return
        self._fill_up_to(trial.number)
        self.study.add_trial(self._frozen(trial.params, TrialState.RUNNING))

    def report(self, trial: Trial, step: int, value: float) -> None:
        """A value of the metric; where there are several, Optuna learns from ends alone."""
        if len(self.goals) > 1:
            return
        self._storage.set_trial_intermediate_value(self._storage.number_of(trial), step, value)

    def should_prune(self, trial: Trial) -> bool:
        """Whether the pruner gives the trial up."""
        judged = self._storage.as_judged(self._storage.number_of(trial))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decision = self.study.pruner.prune(self.study, judged)
        self._note(trial)
        return bool(decision)

    def tell(self, trial: Trial, state: TrialState, values: Sequence[float] | None) -> None:
        """How the trial has ended, with a value for each metric; the first word counts."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.study.tell(
                trial.number,
                values if state is TrialState.COMPLETE else None,
                state=state,
                skip_if_finished=True,
            )
        self._note(trial)
        trial_id = self._storage.number_of(trial)
        if self._storage.get_trial(trial_id).state is TrialState.PRUNED:
            self._storage.keep_last_value(trial_id)
        self._storage.forget_best(trial_id)

    def values_in(self, result: Result | None) -> list[float] | None:
        """A value for each metric, if there are all."""
        found = [] if result is None else [result.number(metric) for metric in self.goals]
        values = [each for each in found if each is not None and each == each]
        return values if len(values) == len(self.goals) else None

    def save_sampler(self) -> bytes:
        """The sampler, and what it has noted on the study."""
        notes = self._storage.get_study_system_attrs(0)
        return pickle.dumps((self.study.sampler, notes))

    def save_pruner(self) -> bytes:
        """The pruner."""
        return pickle.dumps(self.study.pruner)

    def restore_sampler(self, state: bytes) -> None:
        """The sampler as it was."""
        # Written by this run's own process into its own folder.
        self.study.sampler, notes = pickle.loads(state)  # noqa: S301
        for key, value in notes.items():
            self._storage.set_study_system_attr(0, key, value)

    def restore_pruner(self, state: bytes) -> None:
        """The pruner as it was."""
        self.study.pruner = pickle.loads(state)  # noqa: S301  as above

    def restore_trials(self, trials: Iterable[History]) -> None:
        """The trials of earlier, once."""
        if self._trials():
            return
        for history in trials:
            self._fill_up_to(history.number)
            frozen = self.frozen(self._as_told(history))
            self.study.add_trial(frozen)
            if frozen.state is TrialState.PRUNED:
                self._storage.keep_last_value(history.number)

    def _as_told(self, history: History) -> History:
        """With several metrics nothing is pruned in Optuna's eyes: it compares by one alone."""
        if len(self.goals) > 1 and history.outcome is TrialOutcome.PRUNED:
            return replace(history, outcome=TrialOutcome.STOPPED)
        return history

    def frozen(self, history: History) -> FrozenTrial:
        """A trial of ours as one of Optuna's."""
        state = TrialState.RUNNING if history.outcome is None else _STATES[history.outcome]
        values = None if history.value is None else (history.value, *(history.further or ()))
        if state is TrialState.COMPLETE and (values is None or len(values) != len(self.goals)):
            state = TrialState.FAIL
        has_values = state is TrialState.COMPLETE or (
            state is TrialState.PRUNED and len(self.goals) == 1 and values is not None
        )
        notes = history.notes.get(NOTES, {})
        return self._frozen(
            history.params,
            state,
            values=values if has_values else None,
            intermediate_values=history.values,
            system_attrs=dict(notes) if isinstance(notes, dict) else {},
        )

    def _frozen(self, params: Params, state: TrialState, **rest: Any) -> FrozenTrial:
        # What a searcher of one's own has proposed beyond the space, Optuna would refuse.
        known = {
            name: value
            for name, value in params.items()
            if name in self._distributions and fits(self.space[name], value)
        }
        return create_trial(
            state=state,
            params={name: as_choice(self.space[name], value) for name, value in known.items()},
            distributions={name: self._distributions[name] for name in known},
            **rest,
        )

    def _suggested(self, asked: optuna.Trial, name: str, parameter: Parameter) -> JsonValue:
        match parameter:
            case Fixed():
                return parameter.value
            case Choice() | Grid():
                chosen = asked.suggest_categorical(name, choices(parameter))
                return parameter.values[choices(parameter).index(chosen)]
            case Uniform():
                return asked.suggest_float(
                    name, parameter.low, last_rung(parameter), step=parameter.step
                )
            case LogUniform():
                return asked.suggest_float(name, parameter.low, parameter.high, log=True)
            case Integer():
                return asked.suggest_int(
                    name,
                    parameter.low,
                    int(last_rung(parameter)),
                    step=parameter.step,
                    log=parameter.log,
                )

    def _fill_up_to(self, number: int) -> None:
        """Numbers that Optuna has not heard of were somebody else's, and are gone."""
        while len(self._trials()) < number:
            self.study.add_trial(create_trial(state=TrialState.FAIL))

    def _trials(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(0, deepcopy=False)

    def _note(self, trial: Trial) -> None:
        notes = self._storage.get_trial(self._storage.number_of(trial)).system_attrs
        if notes:
            trial.notes[NOTES] = dict(notes)
