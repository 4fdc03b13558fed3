"""Optuna's storage in memory, in which the latest of a trial's reports costs what the first did."""

from __future__ import annotations

import copy
import math
from itertools import islice

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from intendant.protocol.study import Mode
from intendant.workloads.study.trials import Trial


class Mirror(InMemoryStorage):
    """One study, whose trials can go back to an earlier step."""

    def __init__(self, mode: Mode) -> None:
        super().__init__()
        self._better = min if mode == "min" else max
        self._bests: dict[int, float] = {}
        """The best value so far of trials that were judged."""

    def number_of(self, trial: Trial) -> int:
        """Optuna's id of a trial of ours."""
        return self.get_trial_id_from_study_id_trial_number(0, trial.number)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Take a value; those of later steps are forgotten: the trial has gone back."""
        # In place: the original copies all values of the trial for each new one.
        values = self._get_trial(trial_id).intermediate_values
        last = next(reversed(values), None)
        if last == step and _is_same(values[step], intermediate_value):
            return  # a sampler and a pruner are told of it, one after the other
        if last is not None and last >= step:
            while values and next(reversed(values)) >= step:
                values.popitem()
            self._bests.pop(trial_id, None)
        values[step] = intermediate_value
        if trial_id in self._bests:
            self._bests[trial_id] = self._best(self._bests[trial_id], intermediate_value)

    def as_judged(self, trial_id: int) -> FrozenTrial:
        """The trial as a pruner is to see it: its last value, and the best at the step before.

        Pruners ask no more of the trial that they judge, but would look at all its values for it.
        """
        trial = self._get_trial(trial_id)
        latest = list(islice(reversed(trial.intermediate_values.items()), 2))
        if len(latest) < 2:
            return trial
        (step, value), (before, _) = latest
        judged = copy.copy(trial)
        judged.intermediate_values = {before: self._best_of(trial), step: value}
        return judged

    def keep_last_value(self, trial_id: int) -> None:
        """Forget the others: of a trial that was given up, samplers want to know where."""
        values = self._get_trial(trial_id).intermediate_values
        for step in list(values)[:-1]:
            del values[step]
        self.forget_best(trial_id)

    def forget_best(self, trial_id: int) -> None:
        """The trial is not judged any more."""
        self._bests.pop(trial_id, None)

    def _best_of(self, trial: FrozenTrial) -> float:
        trial_id = trial._trial_id
        if trial_id not in self._bests:
            best = math.nan
            for value in trial.intermediate_values.values():
                best = self._best(best, value)
            self._bests[trial_id] = best
        return self._bests[trial_id]

    def _best(self, one: float, other: float) -> float:
        """The better of two, of which one may be no number."""
        if math.isnan(one) or math.isnan(other):
            return other if math.isnan(one) else one
        return self._better(one, other)


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
