"""Requests to the service `stream`: answered in parts, for as long as there is something to say.

A stream ends with its client: the broker ends the worker's registration, the handler is cancelled.
Silent streams send a tick from time to time, which is how the broker learns that a client is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import structlog

from intendant.broker.worker import Request, Worker
from intendant.errors import InvalidRequest, RequestRefused, StoreError
from intendant.executor.access import Asker, admit
from intendant.executor.answers import fitting
from intendant.executor.desk import Desk
from intendant.executor.handlers import parse, refused
from intendant.executor.run_logs import on_log
from intendant.executor.selecting import NOT_ENDED, select, select_one, selection_of
from intendant.executor.system_log import SystemLogReader
from intendant.executor.ticking import changes, ticking
from intendant.process.file_changes import FileChanges
from intendant.process.waits import first_of
from intendant.protocol.messages import (
    STREAM_REQUEST,
    EventBatch,
    EventListRequest,
    EventListResponse,
    LogRequest,
    Message,
    RunsChanged,
    RunWaitRequest,
    RunWaitResponse,
    StepsChanged,
    StepWatchRequest,
    StepWatchResponse,
    StreamRequest,
    StreamTick,
    SystemLogBatch,
    SystemLogRequest,
    SystemLogResponse,
    encode,
)
from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.records import RunRecord
from intendant.protocol.run_states import RunState
from intendant.protocol.selectors import Selection, with_last
from intendant.protocol.step_records import StepInfo, cut_off
from intendant.protocol.step_states import StepState
from intendant.store.steps import (
    CHANGES_FILE,
    STEPS_FILE,
    read_changed_steps,
)

log = structlog.get_logger()

EVENTS_AT_ONCE = 500
IDLE_WORKERS = 2
LINES_AT_ONCE = 50
STEPS_AT_ONCE = 200
RUNS_AT_ONCE = 100
"""What is read in one go: others wait for the reader, too."""
RECENT_RUNS = 50
"""How many runs' governors are listened to at the same time."""


class StreamPool:
    """Workers for `stream`: two idle ones always ready, never more than `max_streams`."""

    def __init__(self, desk: Desk, tasks: asyncio.TaskGroup) -> None:
        self._desk = desk
        self._tasks = tasks
        self._idle = 0
        self.workers: set[asyncio.Task[None]] = set()

    def fill(self) -> None:
        """Have enough idle workers, as far as the bound allows."""
        limit = self._desk.parts.settings.max_streams
        while self._idle < IDLE_WORKERS and len(self.workers) < limit:
            self._idle += 1
            worker = self._tasks.create_task(self._work(), name="stream")
            self.workers.add(worker)
            worker.add_done_callback(self.workers.discard)

    async def _work(self) -> None:
        settings = self._desk.parts.settings
        worker = Worker(
            self._desk.parts.private_endpoint,
            b"stream",
            self._answer,
            heartbeat_s=settings.heartbeat_s,
            liveness=settings.liveness,
            cancel_when_lost=True,
        )
        await worker.run()

    async def _answer(self, request: Request) -> list[bytes]:
        self._idle -= 1
        self.fill()
        try:
            return [encode(await answer(self._desk, request))]
        finally:
            self._idle += 1


async def answer(desk: Desk, request: Request) -> Message:
    """The FINAL of one stream, its parts sent before. Never raises for what a client sent."""
    message: StreamRequest | None = None
    try:
        message = parse(STREAM_REQUEST, request.body)
        who = admit(message, request.caller)
        if message.selection and selection_of(message.selection).last:
            message = await _settled(desk, message, request, who)
        return await STREAMS[type(message)](desk, message, request, who)
    except (RequestRefused, StoreError) as error:
        if isinstance(error, RequestRefused):
            desk.audit.note(error, request.caller, message)
        return refused(error)


async def _settled(
    desk: Desk, message: StreamRequest, request: Request, who: Asker
) -> StreamRequest:
    """The message with an id for `last`, which the client is told: it may have to ask again."""
    last = await select_one(desk, ["last"], who)
    await request.partial(encode(StreamTick(last=last)))
    return message.model_copy(update={"selection": with_last(message.selection, last)})


async def on_run_wait(desk: Desk, message: RunWaitRequest, request: Request, who: Asker) -> Message:
    """Every run as it is, then each change (or end), until what was waited for has happened."""
    run_ids = await select(desk, message.selection, who)
    open_ids = set(run_ids)
    with desk.hub.subscribe(run_ids, ends_only=not message.changes) as subscription:
        changed: list[RunRecord] = []
        for at in range(0, len(run_ids), RUNS_AT_ONCE):
            changed += await desk.parts.store.named(run_ids[at : at + RUNS_AT_ONCE])
        while True:
            news = [run for run in changed if run.id in open_ids and _is_news(run, message)]
            open_ids -= {run.id for run in news if run.state is RunState.ENDED}
            while news:
                page, news = fitting(news)
                await request.partial(encode(RunsChanged(runs=[*map(who.shown, page)])))
            if not open_ids or (message.any and len(open_ids) < len(run_ids)):
                return RunWaitResponse(run_ids=run_ids)
            changed = await changes(desk, request, subscription)


def _is_news(run: RunRecord, message: RunWaitRequest) -> bool:
    return message.changes or run.state is RunState.ENDED


async def on_step_watch(
    desk: Desk, message: StepWatchRequest, request: Request, who: Asker
) -> Message:
    """Every step as it is, then each change, until the run has ended, and with it every step."""
    run_id = await select_one(desk, message.selection, who)
    run = await desk.parts.store.run(run_id)
    if not isinstance(run.spec.workload, PipelineSpec):
        raise InvalidRequest(f"run {run_id} is a {run.spec.workload.kind}: it has no steps")
    folder = desk.parts.spool.run_folder(run_id)
    unfinished: dict[str, StepInfo] = {}
    last_id = 0
    with desk.hub.subscribe([run_id]) as subscription:
        # Before its first attempt there is no folder, and afterwards it may be pruned.
        while not folder.is_dir() and run.state is not RunState.ENDED:
            await changes(desk, request, subscription)
            run = await desk.parts.store.run(run_id)
        with FileChanges(folder) if folder.is_dir() else nullcontext() as written:
            while True:
                run = await desk.parts.store.run(run_id)
                found, last_id = await asyncio.to_thread(
                    read_changed_steps, folder / STEPS_FILE, after_id=last_id
                )
                await _send_steps(request, found)
                _keep_unfinished(unfinished, found)
                if run.state is RunState.ENDED or written is None:
                    ends = [cut_off(step, at=run.finished_at) for step in unfinished.values()]
                    await _send_steps(request, ends)
                    return StepWatchResponse(run_id=run_id)
                async with ticking(desk, request):
                    await first_of(written.wait_written(CHANGES_FILE), subscription.wait_changes())


async def _send_steps(request: Request, steps: list[StepInfo]) -> None:
    for at in range(0, len(steps), STEPS_AT_ONCE):
        await request.partial(encode(StepsChanged(steps=steps[at : at + STEPS_AT_ONCE])))


def _keep_unfinished(unfinished: dict[str, StepInfo], found: list[StepInfo]) -> None:
    for step in found:
        if step.state is StepState.ENDED:
            unfinished.pop(step.name, None)
        else:
            unfinished[step.name] = step


async def on_event_list(
    desk: Desk, message: EventListRequest, request: Request, who: Asker
) -> Message:
    """Events in order; with `follow` for ever."""
    last_id = await desk.parts.store.last_event_id() if message.from_now else message.after_id
    run_ids = list(message.run_ids)
    if message.selection and not (selection := selection_of(message.selection)).all:
        run_ids += await desk.parts.store.logged(selection, owner=who.owner)
    with desk.hub.subscribe(None) as subscription:
        while True:
            newest_id = await desk.parts.store.last_event_id()
            events = await desk.parts.store.events(
                last_id, run_ids=run_ids, owner=who.owner, limit=EVENTS_AT_ONCE
            )
            if events:
                last_id = events[-1].id
                await request.partial(encode(EventBatch(events=events)))
            elif not message.follow:
                return EventListResponse(last_id=last_id)
            else:
                last_id = max(last_id, newest_id)  # those before it are not looked at again
                await changes(desk, request, subscription)


async def on_system_log(
    desk: Desk, message: SystemLogRequest, request: Request, _: Asker
) -> Message:
    """What daemon and governors have logged; with `follow` as they log it, for ever."""
    selection = selection_of(message.selection) if message.selection else None
    with (
        desk.hub.subscribe(None) as subscription,
        SystemLogReader(
            desk.parts.state_dir, desk.parts.spool, level=message.level, after=message.after
        ) as reader,
    ):
        while True:
            attempts = await _attempts_to_follow(desk, selection)
            only = None if selection is None else {run_id for run_id, _ in attempts}
            lines = await asyncio.to_thread(reader.read, attempts, only=only)
            for at in range(0, len(lines), LINES_AT_ONCE):
                batch = SystemLogBatch(lines=lines[at : at + LINES_AT_ONCE])
                await request.partial(encode(batch))
            if not message.follow:
                return SystemLogResponse()
            async with ticking(desk, request):
                await first_of(reader.wait_change(), subscription.wait_changes())


async def _attempts_to_follow(desk: Desk, selection: Selection | None) -> list[tuple[int, int]]:
    """The attempts whose governors are meant: all of the runs named, or the live and the recent."""
    store = desk.parts.store
    if selection is not None:
        run_ids = await store.select(selection, among_all=NOT_ENDED)
        runs = await store.named(run_ids[-RECENT_RUNS:])
        return [(run.id, attempt) for run in runs for attempt in range(1, run.attempt + 1)]
    recent, _ = await store.runs(limit=RECENT_RUNS)
    live = [(run_id, one.attempt) for run_id, one in desk.live.items()]
    return sorted({*live[-RECENT_RUNS:], *((run.id, run.attempt) for run in recent if run.attempt)})


Stream = Callable[[Desk, Any, Request, Asker], Awaitable[Message]]

STREAMS: dict[type[Message], Stream] = {
    RunWaitRequest: on_run_wait,
    StepWatchRequest: on_step_watch,
    EventListRequest: on_event_list,
    LogRequest: on_log,
    SystemLogRequest: on_system_log,
}
