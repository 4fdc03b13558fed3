"""What a study can be told to use of somebody's own: a searcher, a scheduler, callbacks.

The hooks have the names that Ray Tune gave them. A custom one is made by a factory that is named
in the spec (`package.module:factory`) and called with the spec; it runs in the study's process.
A hook that takes long holds the whole study up, and is warned of by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeAlias, TypeVar

import structlog

from intendant.protocol.trial_states import Decision, TrialOutcome
from intendant.workloads.study.trials import Checkpoint, Params, Result, Trial, Trials

log = structlog.get_logger()

SLOW_S = 0.5

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class History:
    """One trial of earlier, for a searcher or scheduler that takes up its work again."""

    number: int
    params: Params
    outcome: TrialOutcome | None
    value: float | None
    values: dict[int, float] = field(default_factory=dict)
    """The metric by step."""
    notes: dict[str, object] = field(default_factory=dict)
    further: tuple[float, ...] | None = ()
    """The study's further metrics in their order; None where they are not all numbers."""


class Searcher(Protocol):
    """Proposes parameters."""

    def suggest(self, trial: Trial) -> Params | None:
        """Parameters for the trial of this number; `None`: nothing now, or nothing any more."""
        ...

    def is_finished(self) -> bool:
        """Whether it will propose nothing any more."""
        ...

    def set_finished(self) -> None:
        """Propose nothing any more."""
        ...

    def on_trial_result(self, trial: Trial, result: Result) -> None:
        """A trial has reported."""
        ...

    def on_trial_complete(self, trial: Trial, result: Result | None, *, error: bool) -> None:
        """A trial is over; `error`: without a result that counts."""
        ...

    def save(self) -> bytes:
        """What it needs beside the trials to go on as if nothing had happened; short."""
        ...

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        """Go on from there."""
        ...


class TrialScheduler(Protocol):
    """Decides which trials go on and which start.

    It may have a number `wants_waiting`: of how many waiting trials it wants to choose; of one
    otherwise.
    """

    def on_trial_add(self, trials: Trials, trial: Trial) -> None:
        """A trial waits for its start, or for another one."""
        ...

    def on_trial_error(self, trials: Trials, trial: Trial) -> None:
        """A trial has failed; if it is tried again, `on_trial_add` follows."""
        ...

    def on_trial_result(self, trials: Trials, trial: Trial, result: Result) -> Decision:
        """A trial has reported the metric: what is it to do?"""
        ...

    def on_trial_complete(self, trials: Trials, trial: Trial, result: Result | None) -> None:
        """A trial is complete."""
        ...

    def on_trial_remove(self, trials: Trials, trial: Trial) -> None:
        """A trial that waited or was paused will not go on."""
        ...

    def choose_trial_to_run(self, trials: Trials) -> Trial | None:
        """One of those that wait or are paused; there are resources for it."""
        ...

    def save(self) -> bytes:
        """What it needs to go on; short."""
        ...

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        """Go on from there."""
        ...


class Callbacks:
    """Is told what happens; a base class whose methods do nothing."""

    def on_trial_start(self, trial: Trial) -> None:
        """A process starts on the trial."""

    def on_trial_result(self, trial: Trial, result: Result) -> None:
        """It has reported."""

    def on_checkpoint(self, trial: Trial, checkpoint: Checkpoint) -> None:
        """A checkpoint of it is kept."""

    def on_trial_complete(self, trial: Trial) -> None:
        """It has ended without a failure."""

    def on_trial_error(self, trial: Trial) -> None:
        """It has ended with one."""

    def on_study_end(self) -> None:
        """Nothing will happen any more."""


Stopper: TypeAlias = Callable[[Trial, Result], bool]
"""A function of somebody's own that says whether to stop a trial."""


class Hooks:
    """Calls hooks of searcher, scheduler and callbacks; warns by name of those that take long."""

    def __init__(self, clock: Callable[[], float], callbacks: Sequence[Callbacks] = ()) -> None:
        self._clock = clock
        self._callbacks = callbacks

    def call(self, hook: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the hook returns or raises."""
        began = self._clock()
        try:
            return hook(*args, **kwargs)
        finally:
            if (took_s := self._clock() - began) > SLOW_S:
                log.warning("hook_slow", hook=_name(hook), took_s=round(took_s, 3))

    def call_quietly(self, hook: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What the hook returns; its trouble is logged and changes nothing."""
        try:
            return self.call(hook, *args, **kwargs)
        except Exception:
            log.warning("hook_failed", hook=_name(hook), exc_info=True)
            return None

    def tell(self, hook: str, *args: object) -> None:
        """Tell all callbacks."""
        for callbacks in self._callbacks:
            self.call_quietly(getattr(callbacks, hook), *args)


def _name(hook: Callable[..., object]) -> str:
    return getattr(hook, "__qualname__", None) or type(hook).__qualname__
