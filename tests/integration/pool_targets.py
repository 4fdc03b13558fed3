"""What the processes of a pool in tests do; importable, since they are spawned."""

from __future__ import annotations

import asyncio
import os
import signal

from intendant.process.pool import Part


def squares(at_once: int) -> Part:
    """The square of each number, the later ones sooner."""

    async def answer(at: int) -> bytes:
        await asyncio.sleep(0.02 / (at + 1))
        return str(at * at).encode()

    return Part(answer, at_once)


def pids() -> Part:
    """Where each number was answered."""

    async def answer(_: int) -> bytes:
        await asyncio.sleep(0.05)
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


def stuck() -> Part:
    """Never answers, and says when it was cancelled."""

    async def answer(_: int) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            print("cancelled", flush=True)  # noqa: T201  the test reads it
        return b""

    return Part(answer, at_once=4)
