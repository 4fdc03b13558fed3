"""The daemon's helper processes: a coroutine in a process of its own, awaited without polling.

The only module that knows aiomultiprocess, because some of it has to be kept out: its `Process`
brings up a manager process, waits by looking every 5 ms, and reports SystemExit as a failure.

A helper is spawned, not forked: the executor has a loop, threads and sockets. It gets what it needs
as arguments (sockets travel as descriptors), belongs to a session of its own, and has its parent's
end of no socket, so end of file on its own end means that the parent is gone.

A forked process is a plain function's, in a child of the forkserver.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing import process as processes
from multiprocessing.context import ForkServerProcess, SpawnProcess
from types import ModuleType
from typing import Any

import aiomultiprocess

from intendant.process.leaving import leave

_SPAWN = get_context("spawn")
_FORKSERVER = get_context("forkserver")
_TO_THE_TERMINAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class _AwaitedProcess(aiomultiprocess.Process):  # type: ignore[misc]  # untyped
    """A process whose end is awaited."""

    def __init__(self, process: SpawnProcess | ForkServerProcess) -> None:
        # Not super().__init__(): that starts a manager process.
        self.aio_process = process

    def start(self) -> None:
        """Start the process."""
        with _without_main_module():
            self.aio_process.start()

    async def join(self) -> int | None:
        """Return the exit code (negative: the signal) once the process is over."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        sentinel = os.dup(self.aio_process.sentinel)  # several may wait at once
        loop.add_reader(sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(sentinel)
            os.close(sentinel)
        return self.reap()

    def reap(self) -> int | None:
        """The exit code of a process that has ended, or is ending."""
        self.aio_process.join()  # the sentinel closes just before the process can be reaped
        return self.exitcode

    @property
    def pid(self) -> int | None:
        """The process's id; `None` before `start`."""
        return self.aio_process.pid

    @property
    def exitcode(self) -> int | None:
        """The exit code (negative: the signal); `None` while it runs."""
        return self.aio_process.exitcode


class HelperProcess(_AwaitedProcess):
    """`target(*args)`, a coroutine function of some importable module, in a process of its own.

    It is killed when this process exits without having ended it; it outlives only SIGKILL, and
    must then notice by a socket or pipe among its arguments.
    """

    def __init__(
        self, target: Callable[..., Awaitable[object]], *args: object, name: str | None = None
    ) -> None:
        super().__init__(_SPAWN.Process(target=_run, args=(target, args), name=name, daemon=True))

    def start(self) -> None:
        """Start the process. Signals that come before it can deal with them wait for it."""
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_THE_TERMINAL)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


class PoolProcess(_AwaitedProcess):
    """`target(*args)` as for a helper, but in the session and group of whoever started it."""

    def __init__(self, target: Callable[..., Awaitable[object]], *args: object) -> None:
        super().__init__(_SPAWN.Process(target=_run_in_group, args=(target, args), daemon=True))


class ForkedProcess(_AwaitedProcess):
    """`target(*args)`, an importable function, in a child of the forkserver.

    `start` brings up a forkserver if there is none, and returns when that has forked: it blocks.
    No signal is held back meanwhile: a forkserver keeps the mask it was born with, for ever and
    for all its children.
    """

    def __init__(self, target: Callable[..., object], *args: object) -> None:
        super().__init__(_FORKSERVER.Process(target=target, args=args))


def preload_forkserver(modules: Sequence[str]) -> None:
    """What a forkserver that starts from now on imports before it forks."""
    _FORKSERVER.set_forkserver_preload(list(modules))


def tracker_pid() -> int | None:
    """The resource tracker's process, a child that multiprocessing starts with the first helper."""
    tracker: Any = resource_tracker._resource_tracker
    pid: int | None = tracker._pid
    return pid


def end_tracker() -> None:
    """End the resource tracker and reap it, once no process of ours is left that needs it."""
    tracker: Any = resource_tracker._resource_tracker
    tracker._stop()


def let_go_of_resource_tracker() -> None:
    """Close our end of the tracker's pipe, so that it ends with the process that started it."""
    tracker: Any = resource_tracker._resource_tracker
    if tracker._fd is not None:
        os.close(tracker._fd)
        tracker._fd = None  # a tracker of our own is started if we ever need one


def _run(target: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    """The helper's side: its own session and signals first, then the coroutine."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _run_in_group(target, args)
    leave(0)


def _run_in_group(target: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    let_go_of_resource_tracker()
    processes.current_process().daemon = False  # or it could have no processes of its own
    asyncio.run(_awaited(target, args))


async def _awaited(target: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    await target(*args)


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide `__main__`: multiprocessing would import the parent's script again in the child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
