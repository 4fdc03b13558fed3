from __future__ import annotations

import pytest

from intendant.protocol.study import Mode
from intendant.workloads.study.tally import Best, Tally
from intendant.workloads.study.trials import Result


def ended(number: int, value: float, *, is_complete: bool = True) -> Best:
    return Best(number, {}, value, Result(1, 1, {}, 0.0), None, is_complete)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_of_equal_trials_the_first_is_the_best_whichever_ended_first(mode: Mode) -> None:
    tally = Tally(mode)
    for number in (2, 0, 1):
        tally.consider(ended(number, 0.5))
    tally.consider(ended(3, 0.1 if mode == "min" else 0.9, is_complete=False))
    assert tally.best is not None
    assert tally.best.number == 0
