"""The stream of a log: what a run or a step has written, with `follow` as it is written."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from intendant.broker.worker import Request
from intendant.errors import InvalidRequest
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.executor.hub import Subscription
from intendant.executor.selecting import select_one
from intendant.executor.ticking import changes, ticking
from intendant.process.file_changes import FileChanges
from intendant.process.waits import first_of
from intendant.protocol.messages import LogChunk, LogRequest, LogResponse, Message, encode
from intendant.protocol.run_states import RunState
from intendant.protocol.step_states import StepState
from intendant.store.steps import STEPS_FILE, read_step, step_folder

CHUNK_BYTES = 64 * 1024


async def on_log(desk: Desk, message: LogRequest, request: Request, who: Asker) -> Message:
    """The bytes of a log; with `follow` as they are written, from attempt to attempt."""
    if message.step is not None:
        return await _on_step_log(desk, message, message.step, request, who)
    goes_on = message.follow and (message.attempt is None or message.and_later)
    run_id = await select_one(desk, message.selection, who)
    with desk.hub.subscribe([run_id]) as subscription:
        run = await desk.parts.store.run(run_id)
        attempt = message.attempt or run.attempt
        offset = message.offset
        while True:
            is_there = 1 <= attempt <= run.attempt
            if is_there:
                reader = _LogReader(desk, message, request, run_id=run_id, attempt=attempt)
                offset = await reader.send(offset, subscription)
                run = await desk.parts.store.run(run_id)
            if goes_on and run.attempt > attempt:
                attempt, offset = attempt + 1, 0
            elif run.state is RunState.ENDED or not message.follow or (is_there and not goes_on):
                break
            else:
                await changes(desk, request, subscription)
                run = await desk.parts.store.run(run_id)
    if message.attempt is not None and not is_there:
        raise InvalidRequest(f"run {run_id} has no attempt {attempt}")
    return LogResponse(attempt=max(attempt, 1), size=offset)


async def _on_step_log(
    desk: Desk, message: LogRequest, step: str, request: Request, who: Asker
) -> Message:
    """The same of a step: its attempts are counted for themselves."""
    run_id = await select_one(desk, message.selection, who)
    reader = _StepReader(desk, message, step, request, run_id)
    folder = desk.parts.spool.run_folder(run_id)
    with desk.hub.subscribe([run_id]) as subscription:
        while message.follow and not folder.is_dir() and not await _has_ended(desk, run_id):
            await changes(desk, request, subscription)
        if not (message.follow and folder.is_dir()):
            await reader.send_news()
        else:
            with FileChanges(folder) as written:
                while not await reader.send_news(written):
                    async with ticking(desk, request):
                        await first_of(written.wait_change(), subscription.wait_changes())
    return LogResponse(attempt=max(reader.attempt, 1), size=reader.offset)


class _StepReader:
    """Sends the log of one step of a pipeline."""

    def __init__(
        self, desk: Desk, message: LogRequest, step: str, request: Request, run_id: int
    ) -> None:
        self._desk = desk
        self._message = message
        self._step = step
        self._request = request
        self._run_id = run_id
        self._folder = desk.parts.spool.run_folder(run_id)
        self._goes_on = message.follow and (message.attempt is None or message.and_later)
        self.attempt = message.attempt or 0
        self.offset = message.offset

    async def send_news(self, written: FileChanges | None = None) -> bool:
        """Send what there is and was not sent; whether that is all that will come.

        `written` then hears of the file too.
        """
        while True:
            # Asked before the file is read: what is written later is no longer this attempt's.
            has_ended = await _has_ended(self._desk, self._run_id)
            info = await asyncio.to_thread(read_step, self._folder / STEPS_FILE, self._step)
            if info is None:
                if has_ended or written is None:
                    raise InvalidRequest(f"run {self._run_id} has no step {self._step!r}")
                return False
            self.attempt = self.attempt or info.attempt
            is_there = self.attempt <= info.attempt
            if not (is_there or self._goes_on):
                raise InvalidRequest(
                    f"step {self._step!r} of run {self._run_id} has no attempt {self.attempt}"
                )
            if is_there:
                await self._send_attempt(written)
            if not (self._goes_on and info.attempt > self.attempt):
                break
            self.attempt, self.offset = self.attempt + 1, 0
        is_over = is_there and (info.attempt > self.attempt or info.state is not StepState.RUNNING)
        has_ended = has_ended or info.state is StepState.ENDED
        return has_ended or (is_over and not self._goes_on)

    async def _send_attempt(self, written: FileChanges | None) -> None:
        path = step_folder(self._folder, self._step, self.attempt) / f"{self._message.stream}.log"
        if written is not None:
            with suppress(FileNotFoundError):
                written.watch_folder(path.parent)
        self.offset = await _send(self._request, path, self.attempt, self.offset)


async def _has_ended(desk: Desk, run_id: int) -> bool:
    return (await desk.parts.store.run(run_id)).state is RunState.ENDED


async def _send(request: Request, path: Path, attempt: int, offset: int) -> int:
    """Send from `offset` to the end of the file; where that was."""
    while data := await asyncio.to_thread(_read, path, offset):
        chunk = LogChunk(attempt=max(attempt, 1), offset=offset, size=len(data))
        await request.partial(encode(chunk), data)
        offset += len(data)
    return offset


class _LogReader:
    """Sends one attempt's log."""

    def __init__(
        self, desk: Desk, message: LogRequest, request: Request, *, run_id: int, attempt: int
    ) -> None:
        self._desk = desk
        self._request = request
        self._follow = message.follow
        self._run_id = run_id
        self._attempt = attempt
        self._path = desk.parts.spool.attempt(run_id, attempt).log(message.stream)

    async def send(self, offset: int, subscription: Subscription) -> int:
        """Send from `offset` to the end, with `follow` to the attempt's end; where that was."""
        if not self._follow:
            return await self._send_available(offset)
        if not self._path.parent.is_dir():
            raise InvalidRequest(f"the logs of run {self._run_id} are no longer kept")
        with FileChanges(self._path.parent) as changes:
            while True:
                # Asked before the file is read: what is written later is no longer this attempt's.
                is_over = await self._is_over()
                offset = await self._send_available(offset)
                if is_over:
                    return offset
                async with ticking(self._desk, self._request):
                    await first_of(changes.wait_change(), subscription.wait_changes())

    async def _send_available(self, offset: int) -> int:
        return await _send(self._request, self._path, self._attempt, offset)

    async def _is_over(self) -> bool:
        run = await self._desk.parts.store.run(self._run_id)
        if run.state in (RunState.ENDED, RunState.QUEUED, RunState.HELD):
            return True
        return run.attempt > self._attempt


def _read(path: Path, offset: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        size = os.fstat(descriptor).st_size  # pread(2) refuses what no file could reach
        return os.pread(descriptor, CHUNK_BYTES, offset) if offset < size else b""
    finally:
        os.close(descriptor)
