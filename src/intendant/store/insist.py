"""Doing what must be done before a run can go on, however long the disk won't have it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from intendant.errors import Busy, RunUnreadable, StoreError

log = structlog.get_logger()

T = TypeVar("T")

_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 10.0


def _say_nothing(_: Exception) -> None:
    return None


async def insist(
    what: str,
    act: Callable[[], Awaitable[T]],
    *,
    on_error: Callable[[Exception], None] = _say_nothing,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """What `act` gives, tried again and again while the disk refuses, ever more slowly.

    The run keeps its state and its slot until then; nothing is lost, and nothing is claimed.
    `pause` may end it with an error of its own; a run that is `RunUnreadable` stays so.
    """
    delay_s = _RETRY_FIRST_S
    while True:
        try:
            return await act()
        except RunUnreadable:
            raise
        except (StoreError, Busy, OSError) as error:
            log.error("not_recorded", what=what, error=str(error), retry_in_s=delay_s)
            on_error(error)
        await pause(delay_s)
        delay_s = min(2 * delay_s, _RETRY_MAX_S)
