"""What the machine itself can do: processes started, bytes put on disk."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

TRUE = "/bin/true"
BLOCK = b"\0" * 4096


def spawn_true() -> int:
    """Start a program that does nothing; its pid."""
    return os.posix_spawn(TRUE, [TRUE], {})


def spawned_per_s(count: int, *, at_once: int) -> float:
    """Programs that do nothing, started and reaped, so many at a time."""
    began = time.perf_counter()
    live = 0
    for _ in range(count):
        if live == at_once:
            os.waitpid(0, 0)  # any child of our own process group: a daemon has one of its own
            live -= 1
        spawn_true()
        live += 1
    for _ in range(live):
        os.waitpid(0, 0)
    return count / (time.perf_counter() - began)


def spawn_ms(count: int) -> Iterator[float]:
    """The time from the start of a program that does nothing to its end."""
    for _ in range(count):
        began = time.perf_counter()
        os.waitpid(spawn_true(), 0)
        yield 1000 * (time.perf_counter() - began)


def terminate_ms(count: int) -> Iterator[float]:
    """The time from SIGTERM to a program's end."""
    for _ in range(count):
        pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        began = time.perf_counter()
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        yield 1000 * (time.perf_counter() - began)


def kill_all_ms(count: int) -> float:
    """The time from SIGKILL to so many programs to the end of the last."""
    pids = [os.posix_spawn("/bin/sleep", ["sleep", "60"], {}) for _ in range(count)]
    began = time.perf_counter()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return 1000 * (time.perf_counter() - began)


def flushes_per_s(path: Path, count: int) -> float:
    """Blocks of 4 KiB appended to a file, each flushed to the disk before the next."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(count):
            os.write(descriptor, BLOCK)
            os.fdatasync(descriptor)
        return count / (time.perf_counter() - began)
    finally:
        os.close(descriptor)
