"""What pruners are shown of a trial, against all that there is of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Literal, TypeAlias

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from intendant.workloads.study.optuna_mirror import Mirror

Direction: TypeAlias = Literal["minimize", "maximize"]
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=2, interval_steps=3),
    "warm": lambda: optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=5),
}


def with_a_past(dice: random.Random, direction: Direction) -> tuple[Mirror, optuna.Study]:
    """Three trials that are complete, one that runs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    mirror = Mirror("min" if direction == "minimize" else "max")
    study = optuna.create_study(storage=mirror, direction=direction)
    for _ in range(3):
        values = {step: dice.random() for step in range(20)}
        done = create_trial(state=TrialState.COMPLETE, value=1.0, intermediate_values=values)
        study.add_trial(done)
    study.add_trial(create_trial(state=TrialState.RUNNING))
    return mirror, study


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("kind", PRUNERS)
def test_a_pruner_judges_by_the_last_two_values_as_by_all(kind: str, direction: Direction) -> None:
    verdicts = set()
    for seed in range(12):
        dice, pruner = random.Random(seed), PRUNERS[kind]()
        mirror, study = with_a_past(dice, direction)
        steps = sorted(dice.sample(range(20), 12))
        for step in [*steps, steps[5], *steps[7:]]:  # it goes back once
            value = math.nan if dice.random() < 0.2 else dice.random()
            mirror.set_trial_intermediate_value(3, step, value)
            expected = pruner.prune(study, mirror.get_trial(3))
            assert pruner.prune(study, mirror.as_judged(3)) == expected
            verdicts.add(bool(expected))
    assert verdicts == {True, False}


def test_what_is_judged_does_not_grow_with_the_reports() -> None:
    mirror, _ = with_a_past(random.Random(1), "maximize")
    for step in range(1000):
        mirror.set_trial_intermediate_value(3, step, math.cos(step))
        assert len(mirror.as_judged(3).intermediate_values) <= 2
    assert mirror.as_judged(3).intermediate_values[998] == 1.0


def test_a_value_that_is_told_twice_counts_once_and_one_of_an_earlier_step_goes_back() -> None:
    mirror, _ = with_a_past(random.Random(1), "minimize")
    for step, value in [(1, 0.1), (2, 0.5), (2, 0.5), (4, math.nan), (4, math.nan)]:
        mirror.set_trial_intermediate_value(3, step, value)
    assert list(mirror.get_trial(3).intermediate_values) == [1, 2, 4]
    mirror.set_trial_intermediate_value(3, 2, 0.7)
    assert mirror.get_trial(3).intermediate_values == {1: 0.1, 2: 0.7}
    mirror.keep_last_value(3)
    assert mirror.get_trial(3).intermediate_values == {2: 0.7}
