"""JSON arguments made into what a function asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intendant.errors import InvalidRequest
from intendant.workloads.arguments import bind

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTheChecker


@dataclass
class Point:
    x: int
    y: float = 0.5


def plain(a: int, b: str = "b") -> object:
    return a, b


def rich(when: date, where: Path, at: Point | None = None) -> object:
    return when, where, at


def several(*counts: int, **names: list[str]) -> object:
    return counts, names


def bare(a, b=2):  # type: ignore[no-untyped-def]  # that is the case
    return a, b


def unresolved(a: OnlyForTheChecker) -> object:
    return a


def loose(a: Any, b: object) -> object:
    return a, b


class Class:
    def __init__(self, size: int) -> None:
        self.size = size

    @staticmethod
    def static(size: int) -> int:
        return size


class Opaque:
    """No JSON makes one."""


def strange(a: Opaque) -> object:
    return a


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (plain, [1], ((1,), {})),
        (plain, {"a": 1, "b": "x"}, ((1, "x"), {})),
        (plain, ["1"], ((1,), {})),
        (rich, ["2026-03-14", "/srv"], ((date(2026, 3, 14), Path("/srv")), {})),
        (rich, {"when": "2026-03-14", "where": ".", "at": {"x": 3}},
         ((date(2026, 3, 14), Path(), Point(3)), {})),
        (several, [1, "2"], ((1, 2), {})),
        (several, {"red": ["a"]}, ((), {"red": ["a"]})),
        (bare, [{"any": None}, [1]], (({"any": None}, [1]), {})),
        (unresolved, ["1.5"], (("1.5",), {})),
        (loose, [1, "2"], ((1, "2"), {})),
        (Class, [3], ((3,), {})),
        (Class.static, {"size": 3}, ((3,), {})),
        (max, [1, 2], ((1, 2), {})),
    ],
)  # fmt: skip
def test_arguments_become_what_the_annotations_ask_for(
    function: Callable[..., object], given: Any, expected: object
) -> None:
    assert bind(function, given) == expected


@pytest.mark.parametrize(
    ("function", "given", "complaint"),
    [
        (plain, ["x"], "a: found 'x', expected a whole number"),
        (plain, {"a": 1, "b": 2}, "b: found 2, expected text"),
        (plain, [], "missing a required argument: 'a'"),
        (plain, [1, "b", 3], "too many positional arguments"),
        (plain, {"a": 1, "c": 2}, "got an unexpected keyword argument 'c'"),
        (rich, ["2026-03-14", "/srv", {"x": "y"}], "at.x: found 'y', expected a whole number"),
        (several, [1, "two"], "counts[1]: found 'two', expected a whole number"),
        (strange, [1], "a: found 1, expected an instance of Opaque"),
    ],
)
def test_the_parameter_that_does_not_fit_is_named(
    function: Callable[..., object], given: Any, complaint: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        bind(function, given)
    assert str(refused.value) == complaint
