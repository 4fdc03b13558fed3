"""Optuna's pruners as schedulers, against Optuna by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from intendant.errors import SettingsError
from intendant.protocol.trial_states import Decision, TrialOutcome
from intendant.workloads.study.hooks import History, TrialScheduler
from intendant.workloads.study.making import make_searcher_and_scheduler
from intendant.workloads.study.trials import Result, Trial, Trials
from tests.unit.workloads.study.studies import make_spec

PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9),
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "asha": {"min_resource": 1, "reduction_factor": 3},
    "hyperband": {"min_resource": 1, "max_resource": 9},
    "median": {"n_startup_trials": 2, "n_warmup_steps": 1},
}
TRIALS, STEPS = 18, 9


def curve(number: int, step: int) -> float:
    """A loss that falls; every trial at another height, in no order."""
    return (number * 7 % TRIALS) + 10 / step


def make_scheduler(method: str) -> TrialScheduler:
    spec = make_spec(scheduler={"method": method, "options": OPTIONS[method]})
    return make_searcher_and_scheduler(spec, seed=7)[1]


def run(scheduler: TrialScheduler, numbers: range, histories: list[History]) -> list[int | None]:
    """At which step each trial was stopped, one trial after the other."""
    stopped: list[int | None] = []
    for number in numbers:
        trial, trials, at, values = Trial(number, {"x": 0.5}), Trials(), None, {}
        scheduler.on_trial_add(trials, trial)
        for step in range(1, STEPS + 1):
            result = Result(step, step, {"loss": curve(number, step)}, 0.0)
            values[step] = curve(number, step)
            if scheduler.on_trial_result(trials, trial, result) is Decision.STOP:
                at = step
                break
        else:
            scheduler.on_trial_complete(trials, trial, result)
        stopped.append(at)
        histories.append(as_history(trial, values, is_pruned=at is not None))
    return stopped


def as_history(trial: Trial, values: dict[int, float], *, is_pruned: bool) -> History:
    outcome = TrialOutcome.PRUNED if is_pruned else TrialOutcome.COMPLETED
    last = values[max(values)]
    return History(trial.number, trial.params, outcome, last, values, dict(trial.notes))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("method", PRUNERS)
def test_the_same_trials_are_stopped_as_by_optuna_itself(method: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="intendant", pruner=PRUNERS[method]())
    expected: list[int | None] = []
    for number in range(TRIALS):
        trial, at = study.ask(), None
        for step in range(1, STEPS + 1):
            trial.report(curve(number, step), step)
            if trial.should_prune():
                at = step
                break
        study.tell(
            trial,
            curve(number, STEPS) if at is None else None,
            state=optuna.trial.TrialState.COMPLETE
            if at is None
            else optuna.trial.TrialState.PRUNED,
        )
        expected.append(at)
    assert run(make_scheduler(method), range(TRIALS), []) == expected
    assert {None} < set(expected)


@pytest.mark.parametrize("method", PRUNERS)
def test_t20_a_restored_scheduler_stops_whom_it_would_have_stopped(method: str) -> None:
    undisturbed = run(make_scheduler(method), range(TRIALS), [])
    histories: list[History] = []
    first = make_scheduler(method)
    run(first, range(9), histories)
    second = make_scheduler(method)
    second.restore(first.save(), histories)
    assert run(second, range(9, TRIALS), []) == undisturbed[9:]


def test_a_trial_that_goes_back_is_judged_by_where_it_is() -> None:
    scheduler, trials, trial = make_scheduler("asha"), Trials(), Trial(0, {"x": 0.5})
    scheduler.on_trial_add(trials, trial)
    for step in (1, 2, 3, 2, 3):
        result = Result(step, step, {"loss": 1.0 / step}, 0.0)
        assert scheduler.on_trial_result(trials, trial, result) is Decision.CONTINUE


def test_options_that_a_pruner_does_not_take_are_refused_by_name() -> None:
    spec = make_spec(scheduler={"method": "asha", "options": {"colour": "red"}})
    with pytest.raises(SettingsError, match=r"scheduler: asha: .*colour"):
        make_searcher_and_scheduler(spec, seed=7)
