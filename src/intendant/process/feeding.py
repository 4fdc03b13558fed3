"""Writing into a pipe whose reader may take its time."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress

ROOM_BYTES = 1024 * 1024
"""Up to this anybody may ask for (pipe(7))."""


def feed(writer: int, data: bytes) -> None:
    """Write all of it and close the descriptor: at once what there is room for, the rest from the
    event loop, as the reader takes it. A reader that has gone gets nothing.
    """
    if len(data) > os.sysconf("SC_PAGESIZE"):
        with suppress(OSError, AttributeError):  # it is as large as it is
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, ROOM_BYTES)
    os.set_blocking(writer, False)
    rest = _written(writer, memoryview(data))
    if rest:
        _feed_on(writer, rest)
    else:
        os.close(writer)


def _feed_on(writer: int, rest: memoryview) -> None:
    loop = asyncio.get_running_loop()

    def go_on() -> None:
        nonlocal rest
        rest = _written(writer, rest)
        if not rest:
            loop.remove_writer(writer)
            os.close(writer)

    loop.add_writer(writer, go_on)


def _written(writer: int, rest: memoryview) -> memoryview:
    """What is left of it then."""
    try:
        return rest[os.write(writer, rest) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]
