"""Slots are granted under the bounds that are in force at the grant."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from intendant.executor.desk import Desk
from intendant.executor.hub import Hub
from intendant.executor.lifecycle import Lifecycle
from intendant.executor.parts import utc_now
from intendant.executor.scheduler import Scheduler
from intendant.protocol.executor_states import ExecutorEvent
from intendant.protocol.records import QueueRecord
from intendant.store.base import Candidate
from intendant.store.sqlite import SqliteStore
from tests.helpers.supervised import supervised


class SlowStore(SqliteStore):
    """Its answer to who may start waits until it `may_answer`."""

    was_asked: asyncio.Event
    may_answer: asyncio.Event
    has_chosen: asyncio.Event

    async def candidates(self, *args: Any, **kwargs: Any) -> list[Candidate]:
        found = await super().candidates(*args, **kwargs)
        self.was_asked.set()
        await self.may_answer.wait()
        return found

    async def next_eligible_at(self) -> datetime | None:
        self.has_chosen.set()
        return None


def queue(slots: int = 1, *, paused: bool = False) -> QueueRecord:
    return QueueRecord(name="default", slots=slots, paused=paused, queued=1, live=0)


@pytest.mark.parametrize(
    ("changed", "starts"), [(queue(), True), (queue(paused=True), False), (queue(0), False)]
)
async def test_a_queue_that_closes_while_its_next_run_is_looked_up_starts_none(
    tmp_path: Path, changed: QueueRecord, starts: bool
) -> None:
    async with supervised(tmp_path, kind=SlowStore, slots=1) as attempt:
        store = attempt.parts.store
        assert isinstance(store, SlowStore)
        store.was_asked, store.may_answer, store.has_chosen = (asyncio.Event() for _ in range(3))
        lifecycle = Lifecycle()
        lifecycle.on(ExecutorEvent.HELPERS_READY)
        lifecycle.on(ExecutorEvent.RECOVERED)
        desk = Desk(attempt.parts, Hub(), lifecycle, tmp_path, utc_now())
        desk.note_queue(queue())
        async with asyncio.TaskGroup() as tasks:
            scheduler = Scheduler(desk, tasks)
            scheduling = tasks.create_task(scheduler.run())
            await store.was_asked.wait()
            desk.note_queue(changed)
            store.may_answer.set()
            await store.has_chosen.wait()

            has_started = [*desk.live]
            for task in (scheduling, *scheduler.lives):
                task.cancel()

        assert has_started == ([attempt.run_id] if starts else [])
