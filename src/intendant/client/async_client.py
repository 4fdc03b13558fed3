"""The client of the daemon for programs with an event loop.

Any number of requests may be under way at once, over a few connections; each stream has one of its
own. Everything may be sent twice, so what is below sends again by itself when the broker was lost
and came back, and a stream goes on from its place.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from intendant.client import conversations as talk
from intendant.client import wire
from intendant.client.command import (
    RunOptions,
    Submission,
    Submitter,
    Work,
    submissions,
    submitted,
)
from intendant.client.conversations import Conversation, Reading
from intendant.client.endpoint import Address, is_local, require_life, resolve_address
from intendant.client.methods import Carried
from intendant.client.resuming import BEREFT, CUT_OFF, Resumption, gone
from intendant.client.run import Selection, Stream

if TYPE_CHECKING:
    from intendant.broker.client import ConnectionPool
    from intendant.client.futures import RunExecutor
    from intendant.client.shapes import Continuing, RunInfo

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 16
"""Requests that are under way at once; more wait for their turn."""


def asked(
    conversation: Callable[P, Conversation[T]], *, service: bytes = wire.EXECUTOR
) -> Carried[AsyncClient, P, Conversation[T], Coroutine[Any, Any, T]]:
    """A method that carries such a conversation to its end."""
    return Carried(
        conversation,
        lambda client, said: client.converse(said, service=service),
        gives="Coroutine[Any, Any, {}]",
    )


def streamed(
    reading: Callable[P, Reading[T]],
) -> Carried[AsyncClient, P, Reading[T], AsyncGenerator[T, None]]:
    """A method that reads such a stream."""
    return Carried(
        reading, lambda client, place: client.read(place), gives="AsyncGenerator[{}, None]"
    )


class AsyncClient:
    """Everything that can be asked of the daemon; `Client` without the waiting."""

    _pool: ConnectionPool | None = None

    def __init__(
        self,
        endpoint: str | Address | None = None,
        *,
        key_file: str | Path | None = None,
        server_key: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.address = resolve_address(
            os.environ, endpoint=endpoint, key_file=key_file, server_key=server_key
        )
        self.endpoint = self.address.endpoint
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; a later request makes new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __del__(self) -> None:
        if self._pool is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)

    def __repr__(self) -> str:
        return f"AsyncClient({self.endpoint!r})"

    # What each of these takes and gives is said in `conversations`.
    show = asked(talk.show)
    steps = asked(talk.steps)
    trials = asked(talk.trials)
    trial_add = asked(talk.trial_add)
    trial_stop = asked(talk.trial_stop)
    explain = asked(talk.explain)
    runs = asked(talk.runs)
    result = asked(talk.result)
    hold = asked(talk.hold)
    release = asked(talk.release)
    set_priority = asked(talk.set_priority)
    cancel = asked(talk.cancel)
    status = asked(talk.status)
    queues = asked(talk.queues)
    queue_set = asked(talk.queue_set)
    queue_pause = asked(talk.queue_pause)
    queue_resume = asked(talk.queue_resume)
    queue_remove = asked(talk.queue_remove)
    shutdown = asked(talk.shutdown)
    last_event_id = asked(talk.last_event_id, service=wire.STREAM)
    watch = streamed(talk.watch)
    watch_steps = streamed(talk.watch_steps)
    logs = streamed(talk.logs)
    events = streamed(talk.events)
    system_log = streamed(talk.system_log)

    async def submit(
        self,
        what: Work,
        *,
        key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
        **options: Unpack[RunOptions],
    ) -> AsyncRun:
        """Queue a run; it is on disk when this returns. The same `key` again gives the same run."""
        submitter = self.submitter()
        one = submitted(what, key=key, secret_env=secret_env, submitter=submitter, **options)
        [run] = await self._submit([one], submitter)
        return run

    async def submit_all(
        self,
        specs: Sequence[Mapping[str, object]],
        *,
        key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
    ) -> list[AsyncRun]:
        """Queue several runs, all or none; `after` names runs among them."""
        submitter = self.submitter()
        several = submissions(specs, key=key, secret_env=secret_env, submitter=submitter)
        return await self._submit(several, submitter)

    def executor(self, **options: Unpack[RunOptions]) -> RunExecutor:
        """A `concurrent.futures.Executor` whose calls are runs, for `loop.run_in_executor`.

        Like any other it waits at the end of its `with` block, and the loop with it.
        """
        from intendant.client.futures import RunExecutor

        return RunExecutor(self.address, options)

    async def run(self, run_id: int) -> AsyncRun:
        """The run with this id; `RunNotFound` if there is none."""
        return AsyncRun(self, run_id, (await self.show(run_id))["run"])

    async def wait(
        self, selection: Selection, *, any: bool = False, timeout_s: float | None = None
    ) -> list[RunInfo]:
        """The runs once all (or any) have ended, by id; `TimeoutError` if that takes longer."""
        ends = self.watch(selection, any=any, timeout_s=timeout_s)
        latest = {info["id"]: info async for info in ends}
        return [latest[run_id] for run_id in sorted(latest)]

    async def worth(self, info: RunInfo, *, is_own: bool) -> object:
        """What a run that has ended was worth, as `AsyncRun.result` gives it."""
        is_here = is_local(self.endpoint)
        return await self.converse(talk.worth(info, is_own=is_own, is_here=is_here))

    async def retry(
        self,
        selection: Selection,
        *,
        key: str | None = None,
        continuing: Continuing | None = None,
    ) -> list[AsyncRun]:
        """Queue ended runs anew: new runs with the same specs, in the order of the old ones.

        `continuing` ({} at least): pipelines keep the steps that they have done.
        """
        run_ids = await self.converse(talk.retry(selection, key=key, continuing=continuing))
        return [AsyncRun(self, run_id) for run_id in run_ids]

    async def prune(
        self, *, older_s: float, selection: Selection = ()
    ) -> AsyncGenerator[list[int], None]:
        """Forget runs that ended so long ago; the ids that are gone, a page at a time."""
        after_id: int | None = 0
        while after_id is not None:
            run_ids, after_id = await self.converse(
                talk.prune_page(older_s=older_s, selection=selection, after_id=after_id)
            )
            yield run_ids

    # --- what carries it -------------------------------------------------------------------------

    def submitter(self) -> Submitter | None:
        """What a run inherits from this process; nothing where the daemon is elsewhere."""
        return Submitter.this_process() if is_local(self.endpoint) else None

    async def converse(self, conversation: Conversation[T], *, service: bytes = wire.EXECUTOR) -> T:
        """Carry a conversation to its end; each of its requests has the client's time-out."""
        try:
            body = next(conversation)
            while True:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._connections().request(service, body)
                body = conversation.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        except BEREFT as error:
            raise gone(self.endpoint) from error

    async def read(self, reading: Reading[T]) -> AsyncGenerator[T, None]:
        """What a stream gives; one that was cut off goes on at its place.

        So it does when it was read too slowly, or when the daemon ends and another one comes.
        """
        limit = reading.limit
        resumption = Resumption(reading, self.endpoint, asyncio.get_running_loop().time)
        while True:
            try:
                async with aclosing(self._read_once(reading)) as parts:
                    while True:
                        async with asyncio.timeout_at(resumption.deadline):
                            one = await anext(parts)
                        resumption.went_on()
                        yield one
            except StopAsyncIteration:
                return
            except CUT_OFF as error:
                await asyncio.sleep(resumption.pause_s(error))
            except TimeoutError as error:
                if limit is None:
                    raise
                raise limit.passed() from error

    async def _read_once(self, reading: Reading[T]) -> AsyncGenerator[T, None]:
        """What a stream gives, over a connection of its own."""
        from intendant.broker.client import Connection

        require_life(self.endpoint)
        connection = Connection(self.endpoint, keys=self.address.keys)
        try:
            async with aclosing(connection.stream(wire.STREAM, reading.request)) as answers:
                async for is_final, answer in answers:
                    if is_final:
                        wire.response(answer, reading.final)
                        return
                    for one in reading.take(answer):
                        yield one
        finally:
            connection.close()

    async def _submit(
        self, several: list[Submission], submitter: Submitter | None
    ) -> list[AsyncRun]:
        run_ids = await self.converse(talk.submit(several, submitter))
        return [AsyncRun(self, run_id, is_own=True) for run_id in run_ids]

    def _connections(self) -> ConnectionPool:
        if self._pool is None:
            from intendant.broker.client import ConnectionPool

            require_life(self.endpoint)
            self._pool = ConnectionPool(self.endpoint, keys=self.address.keys, size=CONNECTIONS)
        return self._pool


class AsyncRun:
    """One run: its id, and what the daemon said about it last. `Run` without the waiting."""

    def __init__(
        self,
        client: AsyncClient,
        run_id: int,
        info: RunInfo | None = None,
        *,
        is_own: bool = False,
    ) -> None:
        self.id = run_id
        self._client = client
        self._info = info
        self._is_own = is_own

    def __repr__(self) -> str:
        return f"AsyncRun({self.id})"

    async def info(self) -> RunInfo:
        """What the daemon said last; it is asked the first time."""
        return self._info or await self.refresh()

    async def refresh(self) -> RunInfo:
        """Ask the daemon again."""
        self._info = (await self._client.show(self.id))["run"]
        return self._info

    async def wait(self, timeout_s: float | None = None) -> RunInfo:
        """The run once it has ended, however; `TimeoutError` if that takes longer."""
        [self._info] = await self._client.wait(self.id, timeout_s=timeout_s)
        return self._info

    async def result(self, timeout_s: float | None = None) -> object:
        """Wait, then give what the run was worth, as `Run.result` does."""
        return await self._client.worth(await self.wait(timeout_s), is_own=self._is_own)

    def logs(
        self, *, follow: bool = False, stream: Stream = "stdout", attempt: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of its output, in pieces as they come."""
        return self._client.logs(self.id, follow=follow, stream=stream, attempt=attempt)

    async def cancel(
        self, reason: str | None = None, *, now: bool = False, grace_s: float | None = None
    ) -> bool:
        """End the run; whether there was anything left to end."""
        change = await self._client.cancel(self.id, reason=reason, now=now, grace_s=grace_s)
        return self.id in change["changed"]
