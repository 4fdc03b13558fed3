"""Garbage is collected again after much was made at once."""

from __future__ import annotations

import gc

import pytest

from intendant.protocol.bulk import MANY, uncollected


def test_collection_stops_meanwhile_and_goes_on_whatever_happens() -> None:
    with uncollected():
        with pytest.raises(ValueError, match="wrong"), uncollected():
            raise ValueError("wrong")
        assert not gc.isenabled(), "the outer one goes on"
    assert gc.isenabled()


def test_of_several_at_once_the_last_one_out_has_collection_go_on() -> None:
    with uncollected():
        second = uncollected()
        second.__enter__()
    assert not gc.isenabled(), "the second is still inside"
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_what_came_into_being_is_not_looked_through_when_it_goes_on() -> None:
    collections: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        collections.append(phase)

    gc.callbacks.append(note)
    try:
        with uncollected():
            many: list[list[int]] = [[] for _ in range(2 * MANY)]
        others: list[list[int]] = [[] for _ in range(10)]
    finally:
        gc.callbacks.remove(note)
    assert collections == []
    assert is_tracked(many[0])
    assert is_tracked(others[0])


def test_what_was_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        with uncollected():
            many: list[list[int]] = [[] for _ in range(2 * MANY)]
        assert not is_tracked(many[0])
    finally:
        gc.unfreeze()


def is_tracked(thing: object) -> bool:
    """Whether the collector looks through it, now or later."""
    return id(thing) in {id(each) for each in gc.get_objects()}
