"""What is kept in mind of the trials that have ended: how many, and the best."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from intendant.protocol.study import Mode
from intendant.protocol.trial_states import FINISHED, TrialOutcome
from intendant.workloads.study.trials import Params, Result


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial so far."""

    number: int
    params: Params
    value: float
    result: Result
    checkpoint: str | None
    is_complete: bool


@dataclass(slots=True)
class Tally:
    """One number for each outcome, the next trial's number, and the best."""

    mode: Mode
    next_number: int = 0
    outcomes: Counter[TrialOutcome] = field(default_factory=Counter)
    best: Best | None = None

    def consider(self, candidate: Best) -> None:
        """A trial has ended with a value. One that is complete beats any that was cut short.

        Of equals the first, as in every list of trials.
        """
        if self.best is None or self._rank(candidate) > self._rank(self.best):
            self.best = candidate

    def _rank(self, best: Best) -> tuple[bool, float, int]:
        value = best.value if self.mode == "max" else -best.value
        return best.is_complete, value, -best.number


def counts(value: float | None, outcome: TrialOutcome) -> bool:
    """Whether a trial of this outcome and value could be the best."""
    is_over = outcome in FINISHED or outcome is TrialOutcome.CANCELLED
    return is_over and value is not None and math.isfinite(value)
