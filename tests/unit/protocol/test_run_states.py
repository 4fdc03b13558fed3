from __future__ import annotations

from itertools import product

import pytest

from intendant.errors import IllegalTransition
from intendant.protocol.run_states import LIVE, TRANSITIONS, RunEvent, RunNote, RunState, after
from tests.unit.protocol.graphs import reachable, reading

MOVES = reading("""
    held      released           queued
    held      stop_requested     ended
    held      dependency_failed  ended
    queued    slot_granted       starting
    queued    held               held
    queued    stop_requested     ended
    queued    dependency_failed  ended
    starting  started            running
    starting  stop_requested     stopping
    starting  tombstoned         queued
    starting  retry_granted      queued
    starting  tree_empty         ended
    running   stop_requested     stopping
    running   retry_granted      queued
    running   tree_empty         ended
    stopping  started            stopping
    stopping  stop_requested     stopping
    stopping  tombstoned         queued
    stopping  retry_granted      queued
    stopping  tree_empty         ended
""")


@pytest.mark.parametrize(("state", "event"), list(product(RunState, RunEvent)))
def test_every_event_moves_a_run_as_written_or_is_refused(state: RunState, event: RunEvent) -> None:
    expected = MOVES.get((state, event))

    if expected is None:
        with pytest.raises(IllegalTransition, match=f"^{event}: found a run that is {state}, "):
            after(state, event)
    else:
        assert after(state, event) is RunState(expected)


def test_every_state_has_a_row_and_every_event_a_use() -> None:
    assert set(TRANSITIONS) == set(RunState)
    assert {event for moves in TRANSITIONS.values() for event in moves} == set(RunEvent)


def test_every_state_is_reached_by_a_run_that_was_submitted() -> None:
    assert reachable(TRANSITIONS, RunState.QUEUED) == set(RunState)
    assert reachable(TRANSITIONS, RunState.HELD) == set(RunState)


@pytest.mark.parametrize("state", RunState)
def test_a_run_can_end_from_every_state(state: RunState) -> None:
    assert RunState.ENDED in reachable(TRANSITIONS, state)


def test_ended_is_final_and_nothing_else_is() -> None:
    assert [state for state, moves in TRANSITIONS.items() if not moves] == [RunState.ENDED]


def test_a_slot_is_taken_from_the_grant_to_the_end_of_the_attempt() -> None:
    idle = {RunState.HELD, RunState.QUEUED, RunState.ENDED}
    entrances = {
        (state, event)
        for state, moves in TRANSITIONS.items()
        for event, target in moves.items()
        if state in idle and target in LIVE
    }

    assert set(RunState) - idle == LIVE
    assert entrances == {(RunState.QUEUED, RunEvent.SLOT_GRANTED)}


def test_an_event_and_a_note_are_never_called_the_same() -> None:
    assert {str(event) for event in RunEvent}.isdisjoint(str(note) for note in RunNote)
