"""Schedulers: Optuna's pruners against Optuna by itself, and population based training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from pydantic import TypeAdapter

from intendant.errors import SettingsError
from intendant.protocol.space import Parameter
from intendant.protocol.trial_states import Decision, TrialEvent
from intendant.workloads.study.hooks import History, TrialScheduler
from intendant.workloads.study.making import make_searcher_and_scheduler
from intendant.workloads.study.population import PopulationOptions, PopulationScheduler
from intendant.workloads.study.trials import Checkpoint, Result, Trial, Trials
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
    from intendant.protocol.trial_states import TrialOutcome

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


# --- population based training -----------------------------------------------------------------

POPULATION_SPACE: dict[str, Parameter] = TypeAdapter(dict[str, Parameter]).validate_python(
    {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "batch": {"type": "choice", "values": [16, 32, 64]},
        "depth": {"type": "integer", "low": 1, "high": 8},
    }
)


def make_population(**options: Any) -> PopulationScheduler:
    return PopulationScheduler(
        POPULATION_SPACE,
        metric="loss",
        mode="min",
        seed=5,
        options=PopulationOptions(**{"interval": 2, **options}),
    )


def four_trials() -> Trials:
    """All four run."""
    trials = Trials()
    for number in range(4):
        trial = Trial(number, {"lr": 1e-2, "batch": 32, "depth": number + 1})
        trials.add(trial)
        trials.start(trial)
        trial.move(TrialEvent.STARTED)
    return trials


def result(step: int, loss: float) -> Result:
    return Result(step, step, {"loss": loss}, 0.0)


def all_report(scheduler: PopulationScheduler, trials: Trials) -> list[Decision]:
    """Step 2; trial 0 is the best and has a checkpoint, trial 3 the worst."""
    decisions = []
    for trial in trials:
        said = result(2, float(trial.number))
        if trial.number == 0:
            trial.checkpoints.append(Checkpoint("/best", said))
        decisions.append(scheduler.on_trial_result(trials, trial, said))
    return decisions


def test_the_worst_goes_on_from_the_checkpoint_of_the_best() -> None:
    scheduler, trials = make_population(), four_trials()
    decisions = all_report(scheduler, trials)
    assert decisions[3] is Decision.PAUSE
    worst = trials.get(3)
    assert worst is not None
    assert worst.restart is not None
    assert (worst.restart.donor, worst.restart.checkpoint.path) == (0, "/best")


def test_nobody_is_compared_between_two_comparisons() -> None:
    scheduler, trials = make_population(), four_trials()
    for trial in trials:
        assert scheduler.on_trial_result(trials, trial, result(1, 9.0)) is Decision.CONTINUE


def test_without_a_checkpoint_of_a_better_one_the_worst_goes_on_as_it_is() -> None:
    scheduler, trials = make_population(), four_trials()
    for trial in trials:
        said = result(2, float(trial.number))
        assert scheduler.on_trial_result(trials, trial, said) is Decision.CONTINUE


def test_members_take_turns_when_not_all_can_run() -> None:
    scheduler, trials = make_population(), four_trials()
    waiting = Trial(4, {})
    trials.add(waiting)
    running = trials.running()[0]
    assert scheduler.on_trial_result(trials, running, result(1, 1.0)) is Decision.CONTINUE
    assert scheduler.on_trial_result(trials, running, result(2, 1.0)) is Decision.PAUSE
    assert scheduler.choose_trial_to_run(trials) is waiting


def test_a_variant_stays_within_the_space_and_near_its_origin() -> None:
    scheduler = make_population(resample=0.0)
    origin = {"lr": 1e-1, "batch": 16, "depth": 8}
    for _ in range(100):
        variant: Any = scheduler.variant(origin)  # type: ignore[arg-type]  # dicts are invariant
        assert variant["lr"] in (1e-1, pytest.approx(0.8e-1))
        assert variant["batch"] in (16, 32)
        assert variant["depth"] in (6, 8)


def test_t20_a_restored_population_decides_as_it_would_have() -> None:
    first, second = make_population(), make_population()
    trials = four_trials()
    all_report(first, trials)
    second.restore(first.save(), [])
    origin: Any = {"lr": 1e-2, "batch": 32, "depth": 3}
    assert [second.variant(origin) for _ in range(5)] == [first.variant(origin) for _ in range(5)]
    assert second.save() == first.save()
