"""What a study knows of its trials: results, checkpoints, and the trials that have not ended.

A trial is changed by the loop alone (`loop`). What has ended is in the store and no longer here,
so that a study of a million trials takes no more memory than one of ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pydantic import JsonValue

from intendant.protocol.trial_states import (
    Decision,
    TrialEvent,
    TrialOutcome,
    TrialState,
    after,
)

Params: TypeAlias = dict[str, JsonValue]
Metric: TypeAlias = float | int | str | bool | None
Metrics: TypeAlias = Mapping[str, Metric]


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial has reported once. `seq` counts its results, `step` is its own count."""

    seq: int
    step: int
    metrics: Metrics
    running_s: float
    """How long the trial had been running in all."""

    def number(self, metric: str) -> float | None:
        """The metric, if it is a number; it may be infinite or none at all (nan)."""
        value = self.metrics.get(metric)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return float(value)
        except OverflowError:  # a whole number of hundreds of digits
            return math.inf if value > 0 else -math.inf

    def numbers(self, metrics: Iterable[str]) -> tuple[float, ...] | None:
        """These metrics, if each of them is a finite number."""
        found = [self.number(metric) for metric in metrics]
        finite = tuple(each for each in found if each is not None and math.isfinite(each))
        return finite if len(finite) == len(found) else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that a trial can go on from, and the result that it came with."""

    path: str
    result: Result


@dataclass(frozen=True, slots=True)
class Restart:
    """How a paused trial is to go on as another: population based training."""

    params: Params
    checkpoint: Checkpoint
    donor: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial will have ended, once its process is gone."""

    outcome: TrialOutcome
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a trial's process (or its turn in one) came to its end.

    With an `error` it failed; else it returned, with metrics or with nothing.
    """

    metrics: Mapping[str, object] | None = None
    error: str | None = None


@dataclass(slots=True)
class Trial:
    """One trial that has not ended, or is ending."""

    number: int
    params: Params
    state: TrialState = TrialState.PENDING
    outcome: TrialOutcome | None = None
    reason: str | None = None
    failures: int = 0
    starts: int = 0
    """How often a process began to work on it."""
    running_s: float = 0.0
    last: Result | None = None
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """Those that are kept, oldest first."""
    checkpoint: Checkpoint | None = None
    """What it starts from, or would."""
    notes: dict[str, JsonValue] = field(default_factory=dict)
    """What searcher and scheduler want to know of it again after a restart."""
    restart: Restart | None = None
    # While it runs:
    started_s: float | None = None
    since_start: int = 0
    """Results since its process started: none yet means that it may still be restoring."""
    refusal: str | None = None
    """Why its last report that was refused was; who does not read answers never learns of it."""
    has_saved: bool = False
    """Whether it has a checkpoint from this start."""
    is_saving: bool = False
    decision: Decision | None = None
    """Made, but not carried out: a save is in flight."""
    verdict: Verdict | None = None
    is_pausing: bool = False
    ending: Ending | None = None

    @property
    def step(self) -> int:
        """The last step that it reported, or started from; 0 before the first."""
        return 0 if self.last is None else self.last.step

    @property
    def results(self) -> int:
        """How many results it has."""
        return 0 if self.last is None else self.last.seq

    def move(self, event: TrialEvent) -> None:
        """Let an event happen to it; `IllegalTransition` if it can't."""
        self.state = after(self.state, event)


class Trials:
    """The trials that have not ended: in the order of their numbers, and those that wait in theirs.

    The schedulers' view; they change nothing here.
    """

    def __init__(self) -> None:
        self._live: dict[int, Trial] = {}
        self._waiting: dict[int, None] = {}

    def __iter__(self) -> Iterator[Trial]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, number: int) -> Trial | None:
        """The trial, if it has not ended."""
        return self._live.get(number)

    def pending(self) -> list[Trial]:
        """Those that wait for their first start or another one, in order."""
        return self._in(TrialState.PENDING)

    def paused(self) -> list[Trial]:
        """Those that have been paused, the first one first."""
        return self._in(TrialState.PAUSED)

    def running(self) -> list[Trial]:
        """Those with a process at work."""
        return [trial for trial in self._live.values() if trial.state is TrialState.RUNNING]

    def _in(self, state: TrialState) -> list[Trial]:
        waiting = (self._live[number] for number in self._waiting)
        return [trial for trial in waiting if trial.state is state]

    # --- for the loop ----------------------------------------------------------------------------

    def add(self, trial: Trial) -> None:
        """Take it in, at the end of those that wait."""
        self._live[trial.number] = trial
        self._waiting[trial.number] = None

    def wait(self, trial: Trial) -> None:
        """Put it at the end of those that wait."""
        self._waiting.pop(trial.number, None)
        self._waiting[trial.number] = None

    def start(self, trial: Trial) -> None:
        """It waits no longer."""
        self._waiting.pop(trial.number, None)

    def remove(self, trial: Trial) -> None:
        """It has ended."""
        self._waiting.pop(trial.number, None)
        self._live.pop(trial.number, None)
