"""What helper processes in tests do; importable, since they are spawned."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys


async def nothing() -> None:
    """End at once."""


async def leave_with(code: int) -> None:
    """End by SystemExit."""
    raise SystemExit(code)


async def fail() -> None:
    """End by an exception."""
    raise ValueError("a failure on purpose")


async def wait_for_end_of_file(channel: socket.socket) -> None:
    """Tell who we are, then live as long as the other end does."""
    facts = {
        "pid": os.getpid(),
        "sid": os.getsid(0),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "main": getattr(sys.modules["__main__"], "__file__", None),
    }
    channel.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(channel, json.dumps(facts).encode() + b"\n")
    await loop.sock_recv(channel, 1)
