"""Being asked to end: the governor closes a pipe, the function is interrupted where it stands.

The pipe's reading end is set to signal its owner (fcntl(2): O_ASYNC), so that no thread has to
watch it: a function may fork, and a sleep ends at once. SIGINT and SIGTERM stay the function's own.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

ASKED = 128 + signal.SIGTERM
"""Exit status of a callee that ended because it was asked to."""

T = TypeVar("T")


class Asking:
    """Turns end-of-file of the pipe into an interruption of whatever is being done."""

    def __init__(self, descriptor: int) -> None:
        self._interrupt: Callable[[], object] = _exit
        self._is_asked = False
        signal.signal(signal.SIGIO, lambda *_: self._on_asked())
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
        watch = select.poll()
        watch.register(descriptor, 0)  # POLLHUP always counts
        if watch.poll(0):  # before the signal was armed
            self._on_asked()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; being asked cancels it, once."""
        import asyncio

        async def run() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None  # noqa: S101  a coroutine of asyncio.run is in a task
            with self._interrupting(lambda: loop.call_soon_threadsafe(task.cancel)):
                return await coroutine

        try:
            return asyncio.run(run())
        except asyncio.CancelledError:
            if self._is_asked:
                _exit()
            raise

    @contextmanager
    def held_off(self) -> Iterator[None]:
        """Don't be interrupted in this block: what was to be done is done."""
        with self._interrupting(lambda: None):
            yield

    @contextmanager
    def _interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        before, self._interrupt = self._interrupt, interrupt
        try:
            yield
        finally:
            self._interrupt = before

    def _on_asked(self) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._interrupt()


def _exit() -> NoReturn:
    raise SystemExit(ASKED)
