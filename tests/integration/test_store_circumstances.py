"""What a real database knows of why a run is where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.errors import RunNotFound
from intendant.protocol.run_states import Outcome, RunNote, RunState
from tests.helpers.stores import StoreCase, opened, submission


async def ahead(case: StoreCase, run_id: int, *queues: str) -> dict[str, int]:
    return dict((await case.store.circumstances(run_id, queues=queues)).ahead)


async def test_better_runs_are_counted_by_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.store.queue_set("gpu", slots=1)
        first, second = await case.add(), await case.add()
        await case.add(priority=5)
        await case.add(priority=-5)
        await case.add(priority=9, hold=True)
        await case.add(queue="gpu", priority=1)

        assert await ahead(case, second, "default", "gpu") == {"default": 2, "gpu": 1}
        assert await ahead(case, first, "default") == {"default": 1}


async def test_runs_in_back_off_come_first_only_once_it_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first = await case.add(retry={"attempts": 3, "backoff_s": 60})
        second = await case.add()
        await case.complete(first, Outcome.FAILED, reason="exit_code: 1")

        found = await case.store.circumstances(first, queues=["default"])
        assert found.not_before is not None
        assert (found.not_before - case.clock()).total_seconds() == 60
        assert found.last_attempt is not None
        assert found.last_attempt.reason == "exit_code: 1"
        assert await ahead(case, second, "default") == {"default": 0}

        case.clock.advance(60)
        assert await ahead(case, second, "default") == {"default": 1}


async def test_open_dependencies_are_named_with_their_states(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        runs = [submission("a"), submission("b"), submission("c", after=["a", "b"])]
        a, b, c = await case.store.submit(runs, account="ada")
        await case.start(b)

        found = await case.store.circumstances(c, queues=[])
        assert found.waits_for == [(a, RunState.QUEUED), (b, RunState.RUNNING)]

        await case.end(b, Outcome.FAILED)
        found = await case.store.circumstances(c, queues=[])
        assert (found.waits_for, found.blamed) == ([], b)


async def test_since_is_when_the_run_came_into_its_state(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        submitted = case.clock()
        case.clock.advance(10)
        await case.store.set_priority(run_id, 3)
        assert (await case.store.circumstances(run_id, queues=[])).since == submitted

        at = case.clock.advance(10)
        await case.start(run_id)
        case.clock.advance(10)
        await case.store.note(run_id, 1, event=RunNote.DISCONNECTED, detail={})
        found = await case.store.circumstances(run_id, queues=["default"])

        assert found.since == at
        assert found.notes == {RunNote.DISCONNECTED: case.clock()}
        assert found.ahead == {}


async def test_notes_are_those_of_the_newest_attempt(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(retry={"attempts": 1, "backoff_s": 0})
        await case.start(run_id)
        await case.store.note(run_id, 1, event=RunNote.UNKILLABLE, detail={})
        await case.end(run_id, Outcome.FAILED)
        await case.start(run_id)

        assert (await case.store.circumstances(run_id, queues=[])).notes == {}


async def test_who_stopped_it_is_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()
        await case.start(run_id)
        await case.store.request_stop([run_id], outcome=Outcome.CANCELLED, reason="by ada")

        assert (await case.store.circumstances(run_id, queues=[])).stop_reason == "by ada"


async def test_a_run_that_is_not_there_has_no_circumstances(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        with pytest.raises(RunNotFound, match="no run 17"):
            await case.store.circumstances(17, queues=[])
