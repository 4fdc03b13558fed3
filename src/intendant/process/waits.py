"""Waiting for the first of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_of(*waits: Coroutine[Any, Any, Any], limit_s: float | None = None) -> list[bool]:
    """Which of the waits are over, once one is or the limit has passed; the rest is cancelled.

    What a wait returns is dropped: it must be something that can be asked for afterwards. What one
    raises is raised here.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        is_over = [task.done() for task in tasks]
        for task in tasks:
            if task.done():
                task.result()
        return is_over
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def settled(future: asyncio.Future[Any]) -> None:
    """Return once the future has a result, without taking it and without ending it."""
    await asyncio.wait([future])


async def finished(act: Coroutine[Any, Any, Any], *, patience_s: float) -> None:
    """Carry `act` out. A cancel meanwhile waits for its end, but no longer than this."""
    task = asyncio.ensure_future(act)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=patience_s)
        raise
    finally:
        task.cancel()


def heed_cancel(error: BaseException) -> None:
    """Go on with a cancellation that `error`, raised on the way out, has taken the place of."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
