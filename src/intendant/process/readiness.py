"""Waiting until a descriptor can be read or written, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def wait_readable(descriptor: int) -> None:
    """Return once `descriptor` is readable. A loop takes one reader for each descriptor."""
    loop = asyncio.get_running_loop()
    await _wait(descriptor, loop.add_reader, loop.remove_reader)


async def wait_writable(descriptor: int) -> None:
    """Return once `descriptor` is writable."""
    loop = asyncio.get_running_loop()
    await _wait(descriptor, loop.add_writer, loop.remove_writer)


async def _wait(descriptor: int, add: Callable[..., None], remove: Callable[[int], Any]) -> None:
    ready = asyncio.get_running_loop().create_future()

    def on_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    add(descriptor, on_ready)
    try:
        await ready
    finally:
        remove(descriptor)
