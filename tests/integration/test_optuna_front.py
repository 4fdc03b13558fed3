"""The trials that no other one beats are those that Optuna names."""

from __future__ import annotations

import random

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from intendant.protocol.pareto import as_losses, front
from intendant.protocol.study import Mode


@pytest.mark.parametrize("modes", [("min", "max"), ("max", "max", "min")])
def test_the_front_is_that_of_optuna(modes: tuple[Mode, ...]) -> None:
    dice = random.Random(3)
    directions = [
        StudyDirection.MINIMIZE if mode == "min" else StudyDirection.MAXIMIZE for mode in modes
    ]
    study = optuna.create_study(directions=directions)
    values = [[float(dice.randrange(40)) for _ in modes] for _ in range(60)]
    study.add_trials([create_trial(state=TrialState.COMPLETE, values=each) for each in values])

    found = front({number: as_losses(each, modes) for number, each in enumerate(values)})

    assert sorted(found) == sorted(trial.number for trial in study.best_trials)
    assert len(found) > 2
