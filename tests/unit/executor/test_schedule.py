from __future__ import annotations

from collections.abc import Mapping

import pytest

from intendant.executor.schedule import QueueState, choose, free_slots, may_let_start
from intendant.protocol.run_states import RunState
from intendant.store.base import Candidate
from tests.helpers.rows import a_row

DEFAULT = QueueState("default", slots=None, paused=False)
GPU = QueueState("gpu", slots=2, paused=False)
PAUSED = QueueState("night", slots=None, paused=True)


@pytest.mark.parametrize(
    ("live", "slots", "free"),
    [
        pytest.param({}, 4, {"default": 4, "gpu": 2}, id="nothing runs"),
        pytest.param({"default": 1}, 4, {"default": 3, "gpu": 2}, id="one runs"),
        pytest.param(
            {"default": 3}, 4, {"default": 1, "gpu": 1}, id="the daemon's bound is nearer"
        ),
        pytest.param({"gpu": 2}, 4, {"default": 2}, id="a full queue is left out"),
        pytest.param({"default": 4}, 4, {}, id="a full daemon"),
        pytest.param({"default": 6}, 4, {}, id="more run than the bound allows by now"),
        pytest.param({"gpu": 3}, 8, {"default": 5}, id="a queue made smaller than what runs"),
        pytest.param({"night": 1}, 4, {"default": 3, "gpu": 2}, id="a paused queue holds slots"),
    ],
)
def test_what_is_free_depends_on_the_daemon_the_queue_and_what_runs(
    live: Mapping[str, int], slots: int, free: Mapping[str, int]
) -> None:
    assert free_slots([DEFAULT, GPU, PAUSED], live, slots=slots) == free


def test_a_higher_priority_starts_first_and_among_equals_the_older() -> None:
    waiting = [a_run(1), a_run(2, priority=5), a_run(3, priority=-1), a_run(4, priority=5)]

    assert ids(choose(waiting, {"default": 9}, free=9)) == [2, 4, 1, 3]


def test_no_more_start_than_there_are_slots() -> None:
    assert ids(choose([a_run(1), a_run(2), a_run(3)], {"default": 9}, free=2)) == [1, 2]


def test_a_full_queue_does_not_hold_up_the_others() -> None:
    waiting = [a_run(1, queue="gpu", priority=9), a_run(2, queue="gpu", priority=9), a_run(3)]

    assert ids(choose(waiting, {"gpu": 1, "default": 4}, free=4)) == [1, 3]


def test_queues_share_the_slots_by_priority_alone() -> None:
    waiting = [a_run(1), a_run(2, queue="gpu", priority=1), a_run(3)]

    assert ids(choose(waiting, {"default": 2, "gpu": 2}, free=2)) == [2, 1]


def test_runs_that_only_wait_take_no_slot_and_have_a_bound_of_their_own() -> None:
    waiting = [a_run(1, only_waits=True), a_run(2), a_run(3, only_waits=True), a_run(4)]

    assert ids(choose(waiting, {"default": 1}, free=1, parents=1)) == [1, 2]
    assert ids(choose(waiting, {"default": 2}, free=2, parents=0)) == [2, 4]


def test_a_queue_without_a_limit_starts_nothing() -> None:
    assert choose([a_run(1, queue="night")], {"default": 4}, free=4) == []


def test_nothing_starts_without_a_slot() -> None:
    assert choose([a_run(1)], {"default": 4}, free=0) == []


@pytest.mark.parametrize("state", RunState)
def test_an_end_may_let_any_run_start_and_a_queued_run_only_where_something_is_free(
    state: RunState,
) -> None:
    row = a_row(state=state)

    assert may_let_start([row], lambda: {"gpu": 1}) is (state is RunState.ENDED)
    lets_start = state in (RunState.QUEUED, RunState.ENDED)
    assert may_let_start([row], lambda: {row.queue: 1}) is lets_start
    assert may_let_start([row, a_row(2, RunState.ENDED)], dict)


def a_run(
    run_id: int, *, queue: str = "default", priority: int = 0, only_waits: bool = False
) -> Candidate:
    return Candidate(run_id, attempt=0, queue=queue, priority=priority, only_waits=only_waits)


def ids(chosen: list[Candidate]) -> list[int]:
    return [candidate.run_id for candidate in chosen]
