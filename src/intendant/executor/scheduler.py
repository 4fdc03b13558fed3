"""Grants slots: woken by every change that may let a run start, and by the end of a back-off."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from intendant.errors import Busy, NotGranted, StoreError
from intendant.executor.desk import Desk
from intendant.executor.parts import utc_now
from intendant.executor.recover import Inherited
from intendant.executor.schedule import choose
from intendant.executor.supervise import Supervision
from intendant.protocol.executor_states import ExecutorState
from intendant.store.base import Candidate

log = structlog.get_logger()

_TROUBLE_S = 1.0
"""Pause after the disk refused an intent."""


@dataclass(frozen=True, slots=True)
class _Room:
    """What is free: by queue, over all, and for runs that only wait."""

    limits: Mapping[str, int]
    free: int
    parents: int


class Scheduler:
    """Starts what may start. Starts never wait for each other: each attempt is a task."""

    def __init__(self, desk: Desk, tasks: asyncio.TaskGroup) -> None:
        self._desk = desk
        self._tasks = tasks
        self._timer: asyncio.TimerHandle | None = None
        self.lives: set[asyncio.Task[None]] = set()
        """The attempts that live."""

    async def run(self) -> None:
        """Schedule until cancelled."""
        desk = self._desk
        while True:
            await desk.schedule_wanted.wait()
            desk.schedule_wanted.clear()
            if not self._may_start:
                continue
            try:
                await self._settle_queues()
                await self._fill_slots()
            except (StoreError, Busy) as error:
                log.error("not_scheduled", error=str(error))
                self._wake_in(_TROUBLE_S)

    @property
    def _may_start(self) -> bool:
        """Draining, the daemon starts the runs of steps alone: what it waits for needs them."""
        state = self._desk.lifecycle.state
        return state in (ExecutorState.RUNNING, ExecutorState.DRAINING)

    async def _settle_queues(self) -> None:
        """Look at the queues again, if they may not be as they are remembered."""
        desk = self._desk
        if not desk.queues_doubtful:
            return
        desk.queues_doubtful, changes = False, desk.queue_changes
        try:
            records = await desk.parts.store.queues()
        except StoreError:
            desk.queues_doubtful = True
            raise
        if desk.queue_changes != changes:  # one has changed meanwhile, and this may be older
            desk.doubt_queues()
            return
        for name in desk.queues.keys() - {record.name for record in records}:
            desk.forget_queue(name)
        for record in records:
            desk.note_queue(record)

    async def _fill_slots(self) -> None:
        desk, store = self._desk, self._desk.parts.store
        room = self._room()
        if not room.limits:
            return
        state = desk.lifecycle.state
        candidates = await store.candidates(
            room.limits,
            exclude=desk.live.keys() | desk.put_aside,
            parents=room.parents,
            of=[*desk.live] if state is ExecutorState.DRAINING else None,
        )
        if desk.lifecycle.state is not state:
            desk.schedule_wanted.set()
            return
        room = self._room()  # a queue may have been paused meanwhile, or made smaller
        for candidate in choose(candidates, room.limits, free=room.free, parents=room.parents):
            self._grant(candidate)
        if not self._room().limits:
            return  # whoever leaves makes room, and has the scheduler look again
        if (at := await store.next_eligible_at()) is not None:
            self._wake_in(max((at - utc_now()).total_seconds(), 0.0))

    def _room(self) -> _Room:
        """What could start now."""
        desk, settings = self._desk, self._desk.parts.settings
        return _Room(
            limits=desk.free_slots(),
            free=settings.slots - desk.live_by_queue().total(),
            parents=max(settings.max_parents - len(desk.parents()), 0),
        )

    def _grant(self, candidate: Candidate) -> None:
        """Take a slot for the candidate's next attempt; its start token is known here alone."""
        token = secrets.token_hex(16)
        supervision = Supervision(
            self._desk.parts,
            run_id=candidate.run_id,
            attempt=candidate.attempt + 1,
            queue=candidate.queue,
            holds_slot=not candidate.only_waits,
            token_sha256=hashlib.sha256(token.encode()).hexdigest(),
        )
        self._begin(supervision, self._launch(supervision, token))

    def resume(self, inherited: Inherited) -> None:
        """Hold the slot of an attempt that an earlier daemon started."""
        self._begin(inherited.supervision, inherited.life)

    def _begin(self, supervision: Supervision, life: Coroutine[Any, Any, None]) -> None:
        self._desk.live[supervision.run_id] = supervision
        task = self._tasks.create_task(
            self._desk.hold_slot(supervision, life),
            name=f"run-{supervision.run_id}.{supervision.attempt}",
        )
        self.lives.add(task)
        task.add_done_callback(self.lives.discard)

    async def _launch(self, supervision: Supervision, token: str) -> None:
        try:
            if not await supervision.launch(token):
                self._desk.doubt_queues()  # one may be paused, unknown to us
        except NotGranted as error:
            log.error("not_granted", run_id=supervision.run_id, error=str(error))
            troubles = self._desk.parts.troubles
            with troubles.shown("start", error, run_id=supervision.run_id):
                await asyncio.sleep(_TROUBLE_S)

    def _wake_in(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self._desk.schedule_wanted.set)
