"""Many calls at once, spread over processes.

The parent hands out numbers; what a number means each process knows from the start. So nothing
large ever goes to a process, and neither side can block the other for good: a process may have to
wait until its answer is read, the parent never until a number is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeAlias

from intendant.errors import HelperLost
from intendant.process.aio import PoolProcess, end_tracker
from intendant.process.readiness import wait_readable

LEAVES_S = 5.0
"""How long a process may take to go once it has nothing more to do."""

Link: TypeAlias = "Connection[Any, Any]"


@dataclass(frozen=True, slots=True)
class Part:
    """What each process of a pool does: answer a number, so many `at_once`."""

    answer: Callable[[int], Awaitable[bytes]]
    at_once: int


class Pool:
    """Processes in which `prepare(*args)` has made a `Part`; leaving the block ends them.

    They stay in the caller's process group. `prepare` must be importable, its arguments picklable:
    the processes are spawned.
    """

    def __init__(self, prepare: Callable[..., Part], *args: object, processes: int) -> None:
        self._members = [_Member(prepare, args) for _ in range(processes)]

    async def __aenter__(self) -> Self:
        for member in self._members:
            member.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(member.end() for member in self._members))
        end_tracker()

    async def answer(self, count: int, take: Callable[[int, bytes], None]) -> None:
        """Hand every number below `count` out, and each answer to `take` as it comes.

        What `take` raises is raised here; `HelperLost` when a process died before its last answer.
        """
        todo = deque(range(count))
        tasks = [asyncio.ensure_future(member.work(todo, take)) for member in self._members]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Member:
    """One process, seen from the parent."""

    def __init__(self, prepare: Callable[..., Part], args: tuple[object, ...]) -> None:
        self._link, self._far_end = Pipe()
        self._process = PoolProcess(_serve, self._far_end, prepare, args)

    def start(self) -> None:
        self._process.start()
        self._far_end.close()

    async def work(self, todo: deque[int], take: Callable[[int, bytes], None]) -> None:
        """Keep the process busy until there is nothing left to do and all is answered."""
        at_once: int = await self._receive()
        open_count = 0
        while True:
            while todo and open_count < at_once:
                self._send(todo.popleft())
                open_count += 1
            if not open_count:
                return
            at, answer = await self._receive()
            open_count -= 1
            take(at, answer)

    async def end(self) -> None:
        """Let it go; it sees the end of the link, and is killed if that does not help."""
        self._link.close()
        if self._process.pid is None:
            return
        try:
            async with asyncio.timeout(LEAVES_S):
                await self._process.join()
        except TimeoutError:
            self._process.kill()
            await self._process.join()

    def _send(self, at: int) -> None:
        with suppress(BrokenPipeError):  # it is gone, as reading its answer will show
            self._link.send(at)

    async def _receive(self) -> Any:
        await wait_readable(self._link.fileno())
        try:
            return self._link.recv()
        except (EOFError, ConnectionResetError):
            status = await self._process.join()
            raise HelperLost(f"process {self._process.pid} {_ended(status)}") from None


def _ended(status: int | None) -> str:
    if status is None or status >= 0:
        return f"exited with {status}"
    return f"was ended by signal {-status}"


async def _serve(link: Link, prepare: Callable[..., Part], args: tuple[object, ...]) -> None:
    """The process's side: until the parent closes the link, or is gone."""
    part = prepare(*args)
    answering: list[asyncio.Task[None]] = []
    with suppress(BrokenPipeError, ConnectionResetError):
        link.send(part.at_once)
        async with asyncio.TaskGroup() as tasks:
            while (at := await _next(link)) is not None:
                answering = [task for task in answering if not task.done()]
                answering.append(tasks.create_task(_reply(link, part, at)))
            for task in answering:
                task.cancel()


async def _next(link: Link) -> int | None:
    await wait_readable(link.fileno())
    try:
        at: int = link.recv()
    except (EOFError, ConnectionResetError):
        return None
    return at


async def _reply(link: Link, part: Part, at: int) -> None:
    answer = await part.answer(at)
    with suppress(BrokenPipeError):
        link.send((at, answer))
