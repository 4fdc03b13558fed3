"""Searches that need nobody's samplers: grids, and values at random."""

from __future__ import annotations

import itertools
from typing import Any

from pydantic import TypeAdapter

from intendant.protocol.space import Parameter
from intendant.workloads.study.searchers import GridSearch, RandomSearch, points
from intendant.workloads.study.trials import Trial
from tests.unit.workloads.study.studies import SPACE


def space(of: dict[str, Any]) -> dict[str, Parameter]:
    return TypeAdapter(dict[str, Parameter]).validate_python(of)


def test_a_grid_has_every_point_once_the_last_parameter_changing_fastest() -> None:
    grid = space(
        {
            "a": {"type": "grid", "values": [1, 2]},
            "b": {"type": "choice", "values": ["x", "y"]},
            "c": {"type": "integer", "low": 0, "high": 4, "step": 2},
            "d": {"type": "fixed", "value": 9},
        }
    )
    expected = [
        {"a": a, "b": b, "c": c, "d": 9}
        for a, b, c in itertools.product([1, 2], ["x", "y"], [0, 2, 4])
    ]
    assert list(points(grid)) == expected


def test_parameters_that_do_not_exist_make_no_copies_of_a_point() -> None:
    grid = space(
        {
            "momentum": {"type": "grid", "values": [0, 1], "when": {"kind": "sgd"}},
            "kind": {"type": "grid", "values": ["sgd", "adam"]},
        }
    )
    assert list(points(grid)) == [
        {"kind": "sgd", "momentum": 0},
        {"kind": "sgd", "momentum": 1},
        {"kind": "adam"},
    ]


def test_a_grid_of_a_million_million_points_begins_at_once() -> None:
    huge = {f"p{at}": {"type": "integer", "low": 1, "high": 1000} for at in range(4)}
    search = GridSearch(space(huge))
    assert search.suggest(Trial(0, {})) == {"p0": 1, "p1": 1, "p2": 1, "p3": 1}
    assert not search.is_finished()


def test_a_grid_goes_on_where_it_was() -> None:
    grid = space({"a": {"type": "integer", "low": 1, "high": 5}})
    first, second = GridSearch(grid), GridSearch(grid)
    for number in range(3):
        first.suggest(Trial(number, {}))
    second.restore(first.save(), [])
    assert second.suggest(Trial(3, {})) == {"a": 4}
    second.suggest(Trial(4, {}))
    assert second.is_finished()


def test_values_at_random_stay_within_their_bounds() -> None:
    search = RandomSearch(space(SPACE), seed=3)
    for number in range(500):
        params: Any = search.suggest(Trial(number, {}))
        assert 1e-5 <= params["lr"] < 1
        assert params["layers"] in range(3, 20, 4)
        assert 1 <= params["width"] <= 1000
        assert params["rung"] <= 0.8
