"""Requests about queues: the handlers that `handlers` lists."""

from __future__ import annotations

from collections.abc import Awaitable

from intendant.errors import InvalidRequest, StoreError
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.protocol.messages import (
    Message,
    QueueListRequest,
    QueueListResponse,
    QueuePauseRequest,
    QueueRemoveRequest,
    QueueResponse,
    QueueResumeRequest,
    QueueSetRequest,
)
from intendant.protocol.records import QueueRecord


async def on_queue_list(desk: Desk, _request: QueueListRequest, _: Asker) -> Message:
    """Every queue."""
    return QueueListResponse(queues=await desk.parts.store.queues())


async def on_queue_set(desk: Desk, request: QueueSetRequest, _: Asker) -> Message:
    """Make a queue or change its slots."""
    return await _changed(desk, desk.parts.store.queue_set(request.name, slots=request.slots))


async def on_queue_pause(desk: Desk, request: QueuePauseRequest, _: Asker) -> Message:
    """Start nothing more from a queue."""
    return await _changed(desk, desk.parts.store.queue_pause(request.name, True))


async def on_queue_resume(desk: Desk, request: QueueResumeRequest, _: Asker) -> Message:
    """Start runs from a queue again."""
    return await _changed(desk, desk.parts.store.queue_pause(request.name, False))


async def on_queue_remove(desk: Desk, request: QueueRemoveRequest, _: Asker) -> Message:
    """Remove a queue that nobody needs."""
    if request.name in desk.parts.settings.queues:
        raise InvalidRequest(
            f"queue {request.name} is in the settings, which would make it again: "
            "expected one that is not there any more"
        )
    try:
        queue = await desk.parts.store.queue_remove(request.name)
    except StoreError:
        desk.doubt_queues()
        raise
    desk.forget_queue(request.name)
    return QueueResponse(queue=queue)


async def _changed(desk: Desk, change: Awaitable[QueueRecord]) -> Message:
    """The queue as it is now. A change that failed may be on disk all the same."""
    try:
        queue = await change
    except StoreError:
        desk.doubt_queues()
        raise
    desk.note_queue(queue)
    return QueueResponse(queue=queue)
