"""A study's loop with a scripted searcher and scheduler and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from intendant.protocol.study import StudySpec
from intendant.protocol.trial_states import Decision
from intendant.workloads.study.actions import Action, Answer, Changes, End, Finish, Save, Start
from intendant.workloads.study.hooks import Callbacks, History
from intendant.workloads.study.loop import StudyLoop
from intendant.workloads.study.resources import Resources
from intendant.workloads.study.schedulers import FifoScheduler
from intendant.workloads.study.trials import (
    Checkpoint,
    Ending,
    Params,
    Result,
    Trial,
    Trials,
)

A = TypeVar("A")

SPACE: dict[str, dict[str, Any]] = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
    "momentum": {"type": "uniform", "low": 0.0, "high": 0.99},
    "rung": {"type": "uniform", "low": -1.0, "high": 1.0, "step": 0.3},
    "layers": {"type": "integer", "low": 3, "high": 20, "step": 4},
    "width": {"type": "integer", "low": 1, "high": 1000, "log": True},
    "kind": {"type": "choice", "values": ["a", "b", 3, None]},
    "only": {"type": "uniform", "low": 1.0, "high": 1.0},
}
"""Parameters of every kind."""


def make_spec(**fields: Any) -> StudySpec:
    """A study of `x` between 0 and 1, to be minimised."""
    given: dict[str, Any] = {
        "kind": "study",
        "target": "some.module:objective",
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "metric": "loss",
        "trials": 100,
    }
    return StudySpec.model_validate({**given, **fields})


@dataclass(frozen=True)
class Said:
    """A report of a trial."""

    metrics: Mapping[str, object]
    step: int | None = None
    checkpoint: str | None = None


class Script:
    """A searcher that proposes what it was given, and writes down what it is told."""

    def __init__(self, proposals: Iterable[Params | Exception | None]) -> None:
        self._proposals = list(proposals)
        self.told: list[tuple[object, ...]] = []
        self.was_finished = False

    def suggest(self, trial: Trial) -> Params | None:
        proposal = self._proposals.pop(0) if self._proposals else None
        if isinstance(proposal, Exception):
            raise proposal
        self.told.append(("suggest", trial.number))
        return proposal

    def is_finished(self) -> bool:
        return self.was_finished or not self._proposals

    def set_finished(self) -> None:
        self.was_finished = True

    def on_trial_result(self, trial: Trial, result: Result) -> None:
        self.told.append(("result", trial.number, result.step))

    def on_trial_complete(self, trial: Trial, result: Result | None, *, error: bool) -> None:
        self.told.append(("complete", trial.number, error))

    def save(self) -> bytes:
        return b"searcher"

    def restore(self, state: bytes, trials: Iterable[History]) -> None:
        self.told.append(("restore", state))


class Decider(FifoScheduler):
    """A scheduler that decides as it was told, else CONTINUE, and writes down what it hears."""

    def __init__(self, decisions: Iterable[Decision | str | Exception] = ()) -> None:
        self._decisions = list(decisions)
        self.told: list[tuple[object, ...]] = []

    def on_trial_add(self, trials: Trials, trial: Trial) -> None:
        self.told.append(("add", trial.number))

    def on_trial_error(self, trials: Trials, trial: Trial) -> None:
        self.told.append(("error", trial.number))

    def on_trial_result(self, trials: Trials, trial: Trial, result: Result) -> Decision:
        self.told.append(("result", trial.number, result.step))
        decision = self._decisions.pop(0) if self._decisions else Decision.CONTINUE
        if isinstance(decision, Exception):
            raise decision
        return decision  # type: ignore[return-value]  # what a user's scheduler may do wrong

    def on_trial_complete(self, trials: Trials, trial: Trial, result: Result | None) -> None:
        self.told.append(("complete", trial.number))

    def on_trial_remove(self, trials: Trials, trial: Trial) -> None:
        self.told.append(("remove", trial.number))


@dataclass
class Desk:
    """A loop, what it was made of, and what it has asked for so far."""

    loop: StudyLoop
    searcher: Script
    scheduler: Decider
    now: list[float]
    taken: list[Action] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)

    def take(self) -> list[Action]:
        """What is to be done now."""
        changes, actions = self.loop.take()
        self.changes.append(changes)
        self.taken += actions
        return actions

    def report(self, number: int, step: int | None = None, *, checkpoint: str | None = None,
               **metrics: object) -> list[Action]:  # fmt: skip
        """A trial reports; what is to be done."""
        self.loop.on_report(number, Said(metrics, step, checkpoint))
        return self.take()

    def save(self, actions: Sequence[Action]) -> list[Action]:
        """The one save among the actions succeeds."""
        [save] = only(Save, actions)
        self.loop.on_saved(save.number, Checkpoint(save.source, save.result))
        return self.take()

    def returns(self, number: int, **metrics: object) -> list[Action]:
        """The objective returns, with metrics if there are some."""
        self.loop.on_ended(number, Ending(metrics=metrics or None))
        return self.take()

    def fails(self, number: int, error: str = "exit_code: 1") -> list[Action]:
        """The trial's process fails."""
        self.loop.on_ended(number, Ending(error=error))
        return self.take()

    def passes(self, seconds: float) -> list[Action]:
        """Time passes."""
        self.now[0] += seconds
        self.loop.on_time()
        return self.take()

    def trial(self, number: int) -> Trial:
        """A trial as it was last written down."""
        for changes in reversed(self.changes):
            if number in changes.trials:
                return changes.trials[number]
        raise KeyError(number)

    @property
    def finish(self) -> Finish | None:
        """How the study has ended, if it has."""
        return next(iter(only(Finish, self.taken)), None)


def a_study(
    *decisions: Decision | str | Exception,
    proposals: int | Iterable[Params | Exception | None] = 3,
    at_once: int | None = 2,
    callbacks: Sequence[Callbacks] = (),
    begin: bool = True,
    scheduler: Decider | None = None,
    **fields: Any,
) -> Desk:
    """A loop that has begun."""
    if isinstance(proposals, int):
        proposals = [{"x": float(number)} for number in range(proposals)]
    searcher, now = Script(proposals), [0.0]
    decider = scheduler or Decider(decisions)
    spec = make_spec(**fields)
    loop = StudyLoop(
        spec,
        searcher=searcher,
        scheduler=decider,
        resources=Resources(spec.resources, {"cpu": 64, **spec.available}, at_once),
        clock=lambda: now[0],
        callbacks=callbacks,
    )
    desk = Desk(loop, searcher, decider, now)
    if begin:
        loop.begin()
        desk.take()
    return desk


def only(kind: type[A], actions: Iterable[object]) -> list[A]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


def started(actions: Iterable[Action]) -> list[int]:
    """The trials that are to be started."""
    return [action.number for action in only(Start, actions)]


def answered(actions: Iterable[Action]) -> list[tuple[int, Decision]]:
    """What trials are told."""
    return [(action.number, action.decision) for action in only(Answer, actions)]


def ended(actions: Iterable[Action]) -> list[int]:
    """The trials whose processes are to be ended."""
    return [action.number for action in only(End, actions)]
