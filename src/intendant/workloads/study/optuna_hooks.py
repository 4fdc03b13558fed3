"""Samplers of Optuna's as a searcher, its pruners as a scheduler; made from what a spec names."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from intendant.errors import SettingsError
from intendant.protocol.study import SchedulerSpec, SearchSpec
from intendant.protocol.trial_states import Decision
from intendant.workloads.study.hooks import History
from intendant.workloads.study.optuna_study import OptunaStudy
from intendant.workloads.study.schedulers import FifoScheduler
from intendant.workloads.study.trials import Params, Result, Trial, Trials


class OptunaSearcher:
    """A sampler of Optuna's."""

    def __init__(self, study: OptunaStudy) -> None:
        self._study = study
        self._is_finished = False

    def suggest(self, trial: Trial) -> Params | None:
        """What the sampler proposes."""
        return None if self._is_finished else self._study.ask(trial)

    def is_finished(self) -> bool:
        """Only when it was told so."""
        return self._is_finished

    def set_finished(self) -> None:
        """Propose nothing any more."""
        self._is_finished = True

    def on_trial_result(self, trial: Trial, result: Result) -> None:
        """What some samplers learn from before the end."""
        value = result.number(self._study.metric)
        if value is not None:
            self._study.add(trial)
            self._study.report(trial, result.step, value)

    def on_trial_complete(self, trial: Trial, result: Result | None, *, error: bool) -> None:
        """The value, or that there is none."""
        self._study.add(trial)
        values = None if error else self._study.values_in(result)
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        self._study.tell(trial, state, values)

    def save(self) -> bytes:
        """The sampler."""
        return self._study.save_sampler()

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        """The sampler, and the trials that it learns from."""
        self._study.restore_sampler(state)
        self._study.restore_trials(trials)


class PruningScheduler(FifoScheduler):
    """A pruner of Optuna's."""

    def __init__(self, study: OptunaStudy) -> None:
        self._study = study

    def on_trial_add(self, trials: Trials, trial: Trial) -> None:  # noqa: ARG002
        """Optuna counts it."""
        self._study.add(trial)

    def on_trial_result(self, trials: Trials, trial: Trial, result: Result) -> Decision:  # noqa: ARG002
        """STOP what the pruner gives up."""
        value = result.number(self._study.metric)
        if value is None:
            return Decision.CONTINUE
        self._study.report(trial, result.step, value)
        if not self._study.should_prune(trial):
            return Decision.CONTINUE
        self._study.tell(trial, TrialState.PRUNED, None)
        return Decision.STOP

    def on_trial_complete(self, trials: Trials, trial: Trial, result: Result | None) -> None:  # noqa: ARG002
        """What the others are compared with."""
        values = self._study.values_in(result)
        if values is not None:
            self._study.tell(trial, TrialState.COMPLETE, values)

    def save(self) -> bytes:
        """The pruner."""
        return self._study.save_pruner()

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        """The pruner, and the trials that it compares."""
        self._study.restore_pruner(state)
        self._study.restore_trials(trials)


_SAMPLERS = {
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "nsgaii": "NSGAIISampler",
}
_PRUNERS = {
    "asha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "median": "MedianPruner",
}


def make_sampler(spec: SearchSpec, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler that the spec names; `SettingsError` for options that it does not take."""
    maker = getattr(optuna.samplers, _SAMPLERS[spec.method])
    options = {**spec.options, "seed": seed}
    sampler: optuna.samplers.BaseSampler = _made(maker, options, f"search: {spec.method}")
    return sampler


def make_pruner(spec: SchedulerSpec) -> optuna.pruners.BasePruner:
    """The pruner that the spec names; `SettingsError` for options that it does not take."""
    maker = getattr(optuna.pruners, _PRUNERS[spec.method])
    pruner: optuna.pruners.BasePruner = _made(maker, spec.options, f"scheduler: {spec.method}")
    return pruner


def _made(maker: Any, options: Mapping[str, Any], what: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental, says Optuna of many
            return maker(**options)
    except (TypeError, ValueError, ImportError) as error:
        raise SettingsError(f"{what}: {error}") from error
