"""Waiting in a stream: silent ones send a tick, which is how the broker learns of lost clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from intendant.broker.worker import Request
from intendant.executor.desk import Desk
from intendant.executor.hub import Subscription
from intendant.protocol.messages import StreamTick, encode
from intendant.protocol.records import RunRecord


async def changes(desk: Desk, request: Request, subscription: Subscription) -> list[RunRecord]:
    """Wait for the next changes, ticking."""
    while True:
        try:
            async with asyncio.timeout(desk.parts.settings.heartbeat_s):
                return await subscription.wait_changes()
        except TimeoutError:
            await request.partial(encode(StreamTick()))


@asynccontextmanager
async def ticking(desk: Desk, request: Request) -> AsyncIterator[None]:
    """Send ticks while the block waits."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(desk.parts.settings.heartbeat_s)
            await request.partial(encode(StreamTick()))

    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()
