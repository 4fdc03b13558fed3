"""What the processes of a pool in tests do; importable, since they are spawned."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from intendant.process.pool import Part


def note(folder: str, number: int) -> None:
    """Leave a file of this name."""
    Path(folder, str(number)).touch()


def squares(at_once: int) -> Part:
    """The square of each number, the later ones sooner."""

    async def answer(at: int) -> bytes:
        await asyncio.sleep(0.02 / (at + 1))
        return str(at * at).encode()

    return Part(answer, at_once)


def pids(folder: str) -> Part:
    """Where each number was answered, once there are two processes that have one."""

    async def answer(_: int) -> bytes:
        note(folder, os.getpid())
        while len([*os.scandir(folder)]) < 2:
            await asyncio.sleep(0.01)
        return f"{os.getpid()} {os.getpgid(0)}".encode()

    return Part(answer, at_once=1)


def large() -> Part:
    """More than a pipe holds, many at once."""

    async def answer(at: int) -> bytes:
        return bytes([at]) * 1_000_000

    return Part(answer, at_once=8)


def mortal() -> Part:
    """Dies at number 3."""

    async def answer(at: int) -> bytes:
        if at == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return b""

    return Part(answer, at_once=1)


def stuck(folder: str) -> Part:
    """Never answers; says when it has begun, by a file, and when it was cancelled."""

    async def answer(at: int) -> bytes:
        note(folder, at)
        try:
            await asyncio.Event().wait()
        finally:
            print("cancelled", flush=True)  # noqa: T201  the test reads it
        return b""

    return Part(answer, at_once=4)
