"""What is kept in mind of the trials that have ended: how many, and the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from intendant.protocol.pareto import Losses, as_losses, dominates
from intendant.protocol.study import Mode
from intendant.protocol.trial_states import FINISHED, TrialOutcome
from intendant.workloads.results import to_json
from intendant.workloads.study.trials import Params, Result

MAX_FRONT = 1000
"""Trials on the Pareto front that are kept in mind; beyond, only one that beats some comes in."""
MAX_FRONT_BYTES = 16 * 1024
"""Bytes, as JSON, of the metrics of one of them, and as many of its parameters. The study's own
metrics are kept whatever they take."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial so far, or one of those that no other one beats."""

    number: int
    params: Params
    values: tuple[float, ...]
    """Of the study's metrics, all finite."""
    result: Result
    checkpoint: str | None
    is_complete: bool
    left_out: int = 0
    """How many of its metrics are not kept in mind, for want of room."""
    params_left_out: int = 0
    """How many of its parameters."""


@dataclass(slots=True)
class Tally:
    """One number for each outcome, the next trial's number, and the best.

    With several metrics there is a front of those that no other one beats, and no best one.
    """

    goals: Mapping[str, Mode]
    """The study's metrics."""
    next_number: int = 0
    outcomes: Counter[TrialOutcome] = field(default_factory=Counter)
    best: Best | None = None
    _front: list[tuple[Losses, Best]] = field(default_factory=list)

    @property
    def has_front(self) -> bool:
        """Whether there are several metrics."""
        return len(self.goals) > 1

    @property
    def has_result(self) -> bool:
        """Whether a trial has ended with a value."""
        return self.best is not None or bool(self._front)

    @property
    def front(self) -> list[Best]:
        """The Pareto front, the best by the first metric first."""
        ranked = sorted(self._front, key=lambda each: (each[0], each[1].number))
        return [best for _, best in ranked]

    def consider(self, candidate: Best) -> None:
        """A trial has ended with values. One that is complete beats any that was cut short.

        Of equals the first, as in every list of trials.
        """
        if self.has_front:
            self._add_to_front(candidate)
        elif self.best is None or self._rank(candidate) < self._rank(self.best):
            self.best = candidate

    def _rank(self, best: Best) -> tuple[bool, tuple[float, ...], int]:
        return not best.is_complete, self._losses(best), best.number

    def _losses(self, best: Best) -> Losses:
        return as_losses(best.values, tuple(self.goals.values()))

    def _add_to_front(self, candidate: Best) -> None:
        new = self._losses(candidate), candidate
        if any(_beats(each, new) for each in self._front):
            return
        kept = [each for each in self._front if not _beats(new, each)]
        if len(kept) < MAX_FRONT:
            self._front = [*kept, (new[0], _with_what_fits(candidate, self.goals))]


def _with_what_fits(best: Best, goals: Collection[str]) -> Best:
    """The same with those parameters, and beside the study's own those metrics, that fit."""
    metrics, params = best.result.metrics, best.params
    kept = _fitting(metrics, always=goals)
    kept_params = _fitting(params)
    return replace(
        best,
        params=kept_params,
        result=replace(best.result, metrics=kept),
        left_out=len(metrics) - len(kept),
        params_left_out=len(params) - len(kept_params),
    )


def _fitting(values: Mapping[str, T], *, always: Collection[str] = ()) -> dict[str, T]:
    """In their order those that fit into `MAX_FRONT_BYTES` together, and `always` some."""
    room, kept = MAX_FRONT_BYTES, dict[str, T]()
    for name, value in values.items():
        size = len(to_json({name: value}))
        if name in always or size <= room:
            kept[name] = value
            room -= size
    return kept


def _beats(one: tuple[Losses, Best], other: tuple[Losses, Best]) -> bool:
    if one[1].is_complete is not other[1].is_complete:
        return one[1].is_complete
    return dominates(one[0], other[0])


def counts(outcome: TrialOutcome) -> bool:
    """Whether a trial of this outcome could be the best."""
    return outcome in FINISHED or outcome is TrialOutcome.CANCELLED
