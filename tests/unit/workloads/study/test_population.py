"""Population based training."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from intendant.protocol.space import Parameter
from intendant.protocol.trial_states import Decision, TrialEvent
from intendant.workloads.study.population import PopulationOptions, PopulationScheduler
from intendant.workloads.study.trials import Checkpoint, Result, Trial, Trials

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
