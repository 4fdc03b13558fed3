"""The searches that need nothing else: at random, and every point of a grid.

The others go through Optuna (`optuna_study`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from pydantic import JsonValue

from intendant.protocol.space import Parameter, exists, in_order, values_of
from intendant.workloads.study.hooks import History
from intendant.workloads.study.sampling import Dice, sample_all
from intendant.workloads.study.trials import Params, Result, Trial


class _OpenLoop:
    """A search that does not care how its trials do."""

    _is_finished = False

    def is_finished(self) -> bool:
        """Whether it will propose nothing any more."""
        return self._is_finished

    def set_finished(self) -> None:
        """Propose nothing any more."""
        self._is_finished = True

    def on_trial_result(self, trial: Trial, result: Result) -> None:
        """Does not matter."""

    def on_trial_complete(self, trial: Trial, result: Result | None, *, error: bool) -> None:
        """Does not matter."""


class RandomSearch(_OpenLoop):
    """Each trial at random, whatever the others were."""

    def __init__(self, space: Mapping[str, Parameter], *, seed: int) -> None:
        self._space = space
        self._order = in_order(space)
        self._seed = seed
        self._dice = Dice(seed)

    def suggest(self, trial: Trial) -> Params | None:  # noqa: ARG002  any trial
        """The next draw."""
        return None if self._is_finished else sample_all(self._space, self._order, self._dice)

    def save(self) -> bytes:
        """How much was drawn."""
        return json.dumps({"drawn": self._dice.drawn}).encode()

    def restore(self, state: bytes, trials: Iterable[History]) -> None:  # noqa: ARG002
        """Draw as much, and go on."""
        self._dice = Dice(self._seed, json.loads(state)["drawn"])


class GridSearch(_OpenLoop):
    """Every point of the grid, the last parameter changing fastest."""

    def __init__(self, space: Mapping[str, Parameter]) -> None:
        self._space = space
        self._walk = points(space)
        self._taken = 0
        self._next = next(self._walk, None)

    def is_finished(self) -> bool:
        """Whether every point was proposed."""
        return self._is_finished or self._next is None

    def suggest(self, trial: Trial) -> Params | None:  # noqa: ARG002  any trial
        """The next point."""
        if self.is_finished():
            return None
        point, self._next = self._next, next(self._walk, None)
        self._taken += 1
        return point

    def save(self) -> bytes:
        """How many points were proposed."""
        return json.dumps({"taken": self._taken}).encode()

    def restore(self, state: bytes, trials: Iterable[History]) -> None:  # noqa: ARG002
        """Go on behind them."""
        self.__init__(self._space)  # type: ignore[misc]  # the walk begins again
        for _ in range(json.loads(state)["taken"]):
            self._next = next(self._walk, None)
            self._taken += 1


def points(space: Mapping[str, Parameter]) -> Iterator[Params]:
    """Every point of a grid, one at a time: however large it is, none is made before its turn.

    Parameters that do not exist at a point make no copies of it.
    """
    order = in_order(space)
    walks = {name: values_of(space[name]) or [] for name in order}
    return _points_below(order, 0, {}, space, walks)


def _points_below(
    order: list[str],
    at: int,
    params: Params,
    space: Mapping[str, Parameter],
    walks: Mapping[str, Iterable[JsonValue]],
) -> Iterator[Params]:
    if at == len(order):
        yield dict(params)
        return
    name = order[at]
    if not exists(space[name], params):
        yield from _points_below(order, at + 1, params, space, walks)
        return
    for value in walks[name]:
        yield from _points_below(order, at + 1, {**params, name: value}, space, walks)
