"""Doing what must be done before a run can go on, however long the disk won't have it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from intendant.errors import Busy, StoreError

log = structlog.get_logger()

T = TypeVar("T")

_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 10.0


async def insist(what: str, act: Callable[[], Awaitable[T]]) -> T:
    """What `act` gives, tried again and again while the disk refuses, ever more slowly.

    The run keeps its state and its slot until then; nothing is lost, and nothing is claimed.
    """
    delay_s = _RETRY_FIRST_S
    while True:
        try:
            return await act()
        except (StoreError, Busy, OSError) as error:
            log.error("not_recorded", what=what, error=str(error), retry_in_s=delay_s)
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, _RETRY_MAX_S)
