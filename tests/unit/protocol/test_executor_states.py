from __future__ import annotations

from itertools import product

import pytest

from intendant.errors import IllegalTransition
from intendant.protocol.executor_states import (
    TRANSITIONS,
    ExecutorEvent,
    ExecutorState,
    Policy,
    after,
)
from tests.unit.protocol.graphs import reachable, reading

MOVES = reading("""
    pristine     helpers_ready  initialized
    pristine     drain          draining
    pristine     stop           stopping
    pristine     leave          exited
    pristine     kill           killing
    initialized  recovered      running
    initialized  drain          draining
    initialized  stop           stopping
    initialized  leave          exited
    initialized  kill           killing
    running      drain          draining
    running      stop           stopping
    running      leave          exited
    running      kill           killing
    draining     drain          draining
    draining     stop           stopping
    draining     leave          exited
    draining     kill           killing
    draining     done           exited
    stopping     drain          stopping
    stopping     stop           stopping
    stopping     leave          exited
    stopping     kill           killing
    stopping     done           exited
    killing      drain          killing
    killing      stop           killing
    killing      leave          killing
    killing      kill           killing
    killing      done           exited
""")


@pytest.mark.parametrize(("state", "event"), list(product(ExecutorState, ExecutorEvent)))
def test_every_event_moves_the_executor_as_written_or_is_refused(
    state: ExecutorState, event: ExecutorEvent
) -> None:
    expected = MOVES.get((state, event))

    if expected is None:
        with pytest.raises(IllegalTransition, match=f"^{event} .* executor that is {state}$"):
            after(state, event)
    else:
        assert after(state, event) is ExecutorState(expected)


def test_every_state_has_a_row_and_every_event_a_use() -> None:
    assert set(TRANSITIONS) == set(ExecutorState)
    assert {event for moves in TRANSITIONS.values() for event in moves} == set(ExecutorEvent)


def test_every_state_is_reached_from_the_first() -> None:
    assert reachable(TRANSITIONS, ExecutorState.PRISTINE) == set(ExecutorState)


@pytest.mark.parametrize("state", ExecutorState)
def test_the_executor_can_exit_from_every_state(state: ExecutorState) -> None:
    assert ExecutorState.EXITED in reachable(TRANSITIONS, state)


def test_exited_is_final_and_nothing_else_is() -> None:
    assert [state for state, moves in TRANSITIONS.items() if not moves] == [ExecutorState.EXITED]


@pytest.mark.parametrize("state", [state for state in ExecutorState if state != "exited"])
@pytest.mark.parametrize("event", [ExecutorEvent.DRAIN, ExecutorEvent.STOP, ExecutorEvent.KILL])
def test_an_executor_that_lives_takes_every_order_to_end(
    state: ExecutorState, event: ExecutorEvent
) -> None:
    assert after(state, event) is not ExecutorState.RUNNING


@pytest.mark.parametrize("event", [ExecutorEvent.DRAIN, ExecutorEvent.STOP, ExecutorEvent.LEAVE])
def test_nothing_softens_a_kill(event: ExecutorEvent) -> None:
    assert after(ExecutorState.KILLING, event) is ExecutorState.KILLING


def test_each_policy_has_a_word_of_its_own() -> None:
    assert [str(policy) for policy in Policy] == ["stop", "drain", "leave", "now"]
