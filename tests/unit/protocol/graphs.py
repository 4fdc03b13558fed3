"""State tables as graphs, for the tests of both of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def reading(table: str) -> dict[tuple[str, str], str]:
    """Lines of `state event next-state` as a mapping."""
    rows = [line.split() for line in table.split("\n") if line.strip()]
    return {(state, event): target for state, event, target in rows}


def reachable(transitions: Mapping[S, Mapping[E, S]], start: S) -> set[S]:
    """The states that events can lead to from `start`, itself included."""
    found, frontier = {start}, [start]
    while frontier:
        new = set(transitions[frontier.pop()].values()) - found
        found |= new
        frontier += new
    return found
