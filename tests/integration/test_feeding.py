"""Pipes that are written into by an event loop, which waits for no reader."""

from __future__ import annotations

import asyncio
import os

import pytest

from intendant.process.feeding import ROOM_BYTES, feed

MUCH = bytes(range(256)) * (4 * ROOM_BYTES // 256)


async def test_what_a_pipe_has_no_room_for_follows_as_it_is_read_and_then_it_ends() -> None:
    reader, writer = os.pipe()
    feed(writer, MUCH)
    with os.fdopen(reader, "rb") as file:
        assert await asyncio.to_thread(file.read) == MUCH


async def test_a_reader_that_has_gone_gets_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    feed(writer, MUCH)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)
