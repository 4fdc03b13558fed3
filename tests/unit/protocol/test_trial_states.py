"""The life of a trial as a table."""

from __future__ import annotations

import pytest

from intendant.errors import IllegalTransition
from intendant.protocol.trial_states import TRANSITIONS, TrialEvent, TrialState, after


def test_every_state_has_a_row_and_is_reachable() -> None:
    assert set(TRANSITIONS) == set(TrialState)
    reached = {TrialState.PENDING}
    for _ in TrialState:
        reached |= {to for state in reached for to in TRANSITIONS[state].values()}
    assert reached == set(TrialState)


def test_every_state_can_end_and_ended_is_final() -> None:
    for state in TrialState:
        assert state is TrialState.ENDED or TrialEvent.ENDED in TRANSITIONS[state]
    assert TRANSITIONS[TrialState.ENDED] == {}


@pytest.mark.parametrize("state", TrialState)
@pytest.mark.parametrize("event", TrialEvent)
def test_whatever_is_not_in_the_table_is_an_error(state: TrialState, event: TrialEvent) -> None:
    if event in TRANSITIONS[state]:
        assert after(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition):
            after(state, event)
