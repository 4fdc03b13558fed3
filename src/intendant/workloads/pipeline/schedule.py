"""Which step is next, and what the end of one means for the others; pure.

A step is ready when every step that it comes after has ended well, and starts as soon as there is
room in its lane: the best priority first, then the order of the pipeline. A step that can't run any
more is settled at once, and all that come after it with it; one that is not wanted, because one
before it was skipped, when all before it have ended. What happens elsewhere goes on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from intendant.protocol.graph import Graph
from intendant.protocol.step_states import FAILURES, GOOD, StepOutcome

O = StepOutcome  # noqa: E741  short where there are many


class Planned(Protocol):
    """What scheduling needs to know of a step."""

    @property
    def name(self) -> str: ...

    @property
    def priority(self) -> int: ...

    @property
    def continue_on_fail(self) -> bool: ...

    @property
    def continue_on_abort(self) -> bool: ...

    @property
    def skip_children_on_fail(self) -> bool: ...

    @property
    def skip_children_on_abort(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Settlement:
    """A step that ends without having begun, and why."""

    step: str
    outcome: StepOutcome
    reason: str


class Effect(StrEnum):
    """What the end of a step means for one that comes after it."""

    LETS_START = "lets_start"
    SKIPS = "skips"
    PREVENTS = "prevents"


def effect_of(step: Planned, outcome: StepOutcome) -> Effect:
    """What the end of a step means for its children: ClearML's `skip_children_on_…`."""
    if outcome in GOOD:
        return Effect.LETS_START
    if outcome is O.SKIPPED:
        return Effect.SKIPS
    if outcome in FAILURES and not step.skip_children_on_fail:
        return Effect.LETS_START
    if outcome is O.ABORTED and not step.skip_children_on_abort:
        return Effect.LETS_START
    return Effect.PREVENTS


def is_tolerated(step: Planned, outcome: StepOutcome) -> bool:
    """Whether a step that ended so leaves the pipeline sound: ClearML's `continue_on_…`.

    One that was not run counts through the step that kept it from running.
    """
    if outcome in FAILURES:
        return step.continue_on_fail
    if outcome is O.ABORTED:
        return step.continue_on_abort
    return True


class Schedule:
    """The steps of one pipeline while it is carried out.

    `lanes` says in which lane each step runs, `room` how many at once in each. `kept` are the steps
    that have ended before.
    """

    def __init__(
        self,
        steps: Sequence[Planned],
        graph: Graph,
        *,
        lanes: Mapping[str, str],
        room: Mapping[str, int],
        fail_fast: bool = False,
        kept: Mapping[str, StepOutcome] | None = None,
    ) -> None:
        self._steps = {step.name: step for step in steps}
        self._graph = graph
        self._lanes = lanes
        self._room = dict(room)
        self._fail_fast = fail_fast
        self._ranks = {step.name: (-step.priority, at) for at, step in enumerate(steps)}
        self._ready: dict[str, list[tuple[int, int, str]]] = {lane: [] for lane in room}
        self._running: set[str] = set()
        self._outcomes: dict[str, StepOutcome] = dict(kept or {})
        self._unwanted: dict[str, str] = {}
        self._is_stopped = False
        self.culprits: list[str] = []
        """The steps that make the pipeline fail, in the order in which they ended."""
        self._waits_for = self._count_open_parents()
        for name, count in self._waits_for.items():
            if count == 0:
                self._make_ready(name)

    def take(self) -> list[str]:
        """The steps that start now, in their order; they take up room until `end`."""
        if self._is_stopped:
            return []
        taken = []
        for lane, ready in self._ready.items():
            while ready and self._room[lane] > 0:
                _, _, name = heapq.heappop(ready)
                self._room[lane] -= 1
                self._running.add(name)
                taken.append(name)
        return sorted(taken, key=self._ranks.__getitem__)

    def leave(self, name: str) -> None:
        """A running step gives its room up, for a while, before it is tried again."""
        self._room[self._lanes[name]] += 1

    def put_back(self, name: str) -> None:
        """A step that has left is ready again."""
        self._running.remove(name)
        self._make_ready(name)

    def end(self, name: str, outcome: StepOutcome, *, has_left: bool = False) -> list[Settlement]:
        """A running step has ended; those that end with it, without having begun."""
        self._running.remove(name)
        if not has_left:
            self.leave(name)
        self._outcomes[name] = outcome
        if not is_tolerated(self._steps[name], outcome):
            self.culprits.append(name)
            if self._fail_fast:
                return [*self._spread([name]), *self.stop(f"fail_fast: {name} {outcome}")]
        return self._spread([name])

    def stop(self, reason: str) -> list[Settlement]:
        """Nothing starts any more: every step that has not begun is settled."""
        self._is_stopped = True
        open_steps = [
            name for name in self._steps if name not in self._outcomes and name not in self._running
        ]
        for name in open_steps:
            self._outcomes[name] = O.NOT_RUN
        return [Settlement(name, O.NOT_RUN, reason) for name in open_steps]

    @property
    def running(self) -> frozenset[str]:
        """The steps that have begun and not ended."""
        return frozenset(self._running)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing starts any more."""
        return self._is_stopped

    @property
    def is_over(self) -> bool:
        """Whether every step has ended."""
        return len(self._outcomes) == len(self._steps)

    def outcome(self, name: str) -> StepOutcome | None:
        """How a step ended."""
        return self._outcomes.get(name)

    def _count_open_parents(self) -> dict[str, int]:
        """For each step that has not ended, how many of its parents have not either."""
        return {
            name: sum(parent not in self._outcomes for parent in self._graph.parents[name])
            for name in self._steps
            if name not in self._outcomes
        }

    def _make_ready(self, name: str) -> None:
        heapq.heappush(self._ready[self._lanes[name]], (*self._ranks[name], name))

    def _spread(self, ended: Iterable[str]) -> list[Settlement]:
        """What the ends of these steps mean for all that come after them."""
        settled: list[Settlement] = []
        todo = list(ended)
        while todo:
            name = todo.pop()
            effect = effect_of(self._steps[name], self._outcomes[name])
            for child in self._graph.children[name]:
                if child in self._outcomes:
                    continue
                self._waits_for[child] -= 1
                settlement = self._settlement(child, name, effect)
                if settlement is not None:
                    self._outcomes[child] = settlement.outcome
                    settled.append(settlement)
                    todo.append(child)
        return settled

    def _settlement(self, child: str, parent: str, effect: Effect) -> Settlement | None:
        """How a child of a step that has ended ends with it; it may become ready instead."""
        if effect is Effect.PREVENTS:
            return Settlement(child, O.NOT_RUN, f"parent: {parent} {self._outcomes[parent]}")
        if effect is Effect.SKIPS:
            self._unwanted.setdefault(child, f"parent: {parent} {O.SKIPPED}")
        if self._waits_for[child]:
            return None
        if child in self._unwanted:
            return Settlement(child, O.SKIPPED, self._unwanted[child])
        self._make_ready(child)
        return None
