"""Slots are granted under the bounds that are in force at the grant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from intendant.errors import StoreError
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.executor.handlers import on_run_cancel
from intendant.executor.hub import Hub
from intendant.executor.lifecycle import Lifecycle
from intendant.executor.parts import utc_now
from intendant.executor.queues import on_queue_pause
from intendant.executor.scheduler import Scheduler
from intendant.protocol.executor_states import ExecutorEvent
from intendant.protocol.messages import QueuePauseRequest, RunCancelRequest
from intendant.protocol.records import QueueRecord
from intendant.protocol.roles import Caller, Role
from intendant.store.base import Candidate
from intendant.store.sqlite import SqliteStore
from tests.helpers.doubt import commits_in_doubt
from tests.helpers.supervised import Moment, Supervised, supervised

ADA = Asker(Caller("ada", Role.ADMIN))


class SlowStore(SqliteStore):
    """Its answers to one question wait until it `may_answer`."""

    was_asked: asyncio.Event
    may_answer: asyncio.Event

    @staticmethod
    def of(attempt: Supervised) -> SlowStore:
        """The store of `attempt`, which answers nothing from now on."""
        store = attempt.parts.store
        assert isinstance(store, SlowStore)
        store.was_asked, store.may_answer = asyncio.Event(), asyncio.Event()
        return store

    async def _until_it_may(self) -> None:
        self.was_asked.set()
        await self.may_answer.wait()


class SlowCandidates(SlowStore):
    """Who may start is what it is slow to say."""

    async def candidates(self, *args: Any, **kwargs: Any) -> list[Candidate]:
        found = await super().candidates(*args, **kwargs)
        await self._until_it_may()
        return found


class SlowQueues(SlowStore):
    """How the queues are is what it is slow to say."""

    async def queues(self) -> list[QueueRecord]:
        found = await super().queues()
        await self._until_it_may()
        return found


class TellingScheduler(Scheduler):
    """Tells when it has looked once."""

    has_looked: asyncio.Event

    async def _fill_slots(self) -> None:
        await super()._fill_slots()
        self.has_looked.set()


def queue(slots: int = 1, *, paused: bool = False) -> QueueRecord:
    return QueueRecord(name="default", slots=slots, paused=paused, queued=1, live=0)


def serving(attempt: Supervised) -> Desk:
    """The desk of a daemon that serves, with one queue."""
    lifecycle = Lifecycle()
    lifecycle.on(ExecutorEvent.HELPERS_READY)
    lifecycle.on(ExecutorEvent.RECOVERED)
    desk = Desk(attempt.parts, Hub(), lifecycle, attempt.parts.state_dir, utc_now())
    desk.note_queue(queue())
    return desk


@pytest.mark.parametrize(
    ("changed", "starts"), [(queue(), True), (queue(paused=True), False), (queue(0), False)]
)
async def test_a_queue_that_closes_while_its_next_run_is_looked_up_starts_none(
    tmp_path: Path, changed: QueueRecord, starts: bool
) -> None:
    async with supervised(tmp_path, kind=SlowCandidates, slots=1) as attempt:
        store = SlowStore.of(attempt)
        desk = serving(attempt)
        async with asyncio.TaskGroup() as tasks:
            scheduler = TellingScheduler(desk, tasks)
            scheduler.has_looked = asyncio.Event()
            scheduling = tasks.create_task(scheduler.run())
            await store.was_asked.wait()
            desk.note_queue(changed)
            store.may_answer.set()
            await scheduler.has_looked.wait()

            has_started = [*desk.live]
            for task in (scheduling, *scheduler.lives):
                task.cancel()

        assert has_started == ([attempt.run_id] if starts else [])


@asynccontextmanager
async def scheduling(desk: Desk) -> AsyncIterator[None]:
    """A scheduler at work."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        scheduler = Scheduler(desk, tasks)
        running = tasks.create_task(scheduler.run())
        yield
        for task in (running, *scheduler.lives):
            task.cancel()


async def until(look: Callable[[], bool]) -> None:
    """Wait for a condition; whoever enters `scheduling` bounds it."""
    while not look():
        await asyncio.sleep(0.01)


async def test_a_queue_whose_pause_is_on_disk_though_that_was_reported_failed_starts_nothing(
    tmp_path: Path,
) -> None:
    with commits_in_doubt() as doubt:
        async with supervised(tmp_path, slots=1) as attempt:
            desk = serving(attempt)
            doubt.commits = 1
            with pytest.raises(StoreError):
                await on_queue_pause(
                    desk, QueuePauseRequest(name="default"), Asker(Caller("ada", Role.ADMIN))
                )
            assert not desk.queues["default"].paused

            async with scheduling(desk):
                await until(lambda: desk.queues["default"].paused)

            assert (await desk.parts.store.run(attempt.run_id)).state == "queued"
            assert attempt.launcher.born == []


async def test_a_queue_that_is_resumed_while_the_queues_are_looked_at_again_is_not_paused(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path, kind=SlowQueues, slots=1) as attempt:
        store = SlowStore.of(attempt)
        desk = serving(attempt)
        await store.queue_pause("default", True)
        desk.doubt_queues()

        async with scheduling(desk):
            await store.was_asked.wait()
            desk.note_queue(await store.queue_pause("default", False))
            store.may_answer.set()
            await until(lambda: bool(attempt.launcher.born))

        assert not desk.queues["default"].paused


async def test_a_pause_that_only_the_store_knows_of_is_learnt_from_the_first_refused_grant(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path, slots=1) as attempt:
        desk = serving(attempt)
        await desk.parts.store.queue_pause("default", True)

        async with scheduling(desk):
            desk.schedule_wanted.set()
            await until(lambda: desk.queues["default"].paused)
            await until(lambda: not desk.live)

        assert attempt.launcher.born == []


async def test_a_run_whose_cancel_is_on_disk_though_that_was_reported_failed_is_cancelled(
    tmp_path: Path,
) -> None:
    with commits_in_doubt() as doubt:
        async with supervised(tmp_path) as attempt, asyncio.TaskGroup() as tasks:
            desk = serving(attempt)
            desk.live[attempt.run_id] = attempt.supervision
            following = tasks.create_task(desk.follow_stops())
            attempt.launcher.hangs = True

            async def cancel_in_vain() -> None:
                doubt.commits = 1
                with pytest.raises(StoreError):
                    await on_run_cancel(desk, RunCancelRequest(selection=["1"]), ADA)

            attempt.moments.acts[Moment.LAUNCHING] = cancel_in_vain
            await attempt.launch()
            following.cancel()

            run = await attempt.case.store.run(attempt.run_id)
            assert (run.state, run.outcome) == ("ended", "cancelled")
