"""The client of the daemon for programs without an event loop.

Requests share one connection; each stream (`wait`, `logs`) has one of its own, so that a program
can go on asking while it reads. A client belongs to one thread. Everything may be sent twice,
so the connection below sends again by itself when the broker was lost and came back.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Protocol, Self, TypeVar, Unpack

from intendant.client import conversations as talk
from intendant.client import wire
from intendant.client.conversations import Conversation, Reading
from intendant.client.endpoint import Address, is_local, require_life, resolve_address
from intendant.client.methods import Carried
from intendant.client.resuming import BEREFT, CUT_OFF, Resumption, gone
from intendant.client.run import Run, Selection
from intendant.errors import Unreachable

if TYPE_CHECKING:
    from intendant.client.command import RunOptions, Submission, Submitter, Work
    from intendant.client.futures import RunExecutor
    from intendant.client.shapes import Continuing, RunInfo

P = ParamSpec("P")
T = TypeVar("T")


class Connection(Protocol):
    """What carries requests to the daemon; `broker.sync_client.SyncConnection` is one."""

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]: ...

    def stream(
        self, service: bytes, body: Callable[[], list[bytes]], *, timeout_s: float | None
    ) -> Iterator[tuple[bool, list[bytes]]]: ...

    def close(self) -> None: ...


def connect(address: Address) -> Connection:
    """A connection to a daemon that lives; `Unreachable` at once if none does."""
    require_life(address.endpoint)
    from intendant.broker.sync_client import SyncConnection

    return SyncConnection(address.endpoint, keys=address.keys)


def asked(
    conversation: Callable[P, Conversation[T]], *, service: bytes = wire.EXECUTOR
) -> Carried[Client, P, Conversation[T], T]:
    """A method that carries such a conversation to its end."""
    return Carried(
        conversation, lambda client, said: client._converse(said, service=service), gives="{}"
    )


def streamed(reading: Callable[P, Reading[T]]) -> Carried[Client, P, Reading[T], Iterator[T]]:
    """A method that reads such a stream."""
    return Carried(reading, lambda client, place: client._read(place), gives="Iterator[{}]")


class Client:
    """Everything that can be asked of the daemon.

    What is not named is looked up as the command line does; `tcp://` takes a key of one's own
    (`key_file`) and the daemon's public one (`server_key`).
    """

    _connection: Connection | None = None

    def __init__(
        self,
        endpoint: str | Address | None = None,
        *,
        key_file: str | Path | None = None,
        server_key: str | None = None,
        timeout_s: float = 30.0,
        connect: Callable[[Address], Connection] = connect,
    ) -> None:
        self.address = resolve_address(
            os.environ, endpoint=endpoint, key_file=key_file, server_key=server_key
        )
        self.endpoint = self.address.endpoint
        self._timeout_s = timeout_s
        self._connect = connect

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; a later request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        if self._connection is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
            self.close()

    def __repr__(self) -> str:
        return f"Client({self.endpoint!r})"

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

    def submit(
        self,
        what: Work,
        *,
        key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Queue a run; it is on disk when this returns. The same `key` again gives the same run."""
        from intendant.client.command import submitted

        submitter = self._submitter()
        one = submitted(what, key=key, secret_env=secret_env, submitter=submitter, **options)
        [run] = self._submit([one], submitter)
        return run

    def submit_all(
        self,
        specs: Sequence[Mapping[str, object]],
        *,
        key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
    ) -> list[Run]:
        """Queue several runs, all or none; `after` names runs among them."""
        from intendant.client.command import submissions

        submitter = self._submitter()
        several = submissions(specs, key=key, secret_env=secret_env, submitter=submitter)
        return self._submit(several, submitter)

    def executor(self, **options: Unpack[RunOptions]) -> RunExecutor:
        """A `concurrent.futures.Executor` whose calls are runs with these options."""
        from intendant.client.futures import RunExecutor

        return RunExecutor(self.address, options)

    def run(self, run_id: int) -> Run:
        """The run with this id; `RunNotFound` if there is none."""
        return Run(self, run_id, self.show(run_id)["run"])

    def wait(
        self, selection: Selection, *, any: bool = False, timeout_s: float | None = None
    ) -> list[RunInfo]:
        """The runs once all (or any) have ended, by id; `TimeoutError` if that takes longer."""
        latest = {info["id"]: info for info in self.watch(selection, any=any, timeout_s=timeout_s)}
        return [latest[run_id] for run_id in sorted(latest)]

    def worth(self, info: RunInfo, *, is_own: bool) -> object:
        """What a run that has ended was worth, as `Run.result` gives it."""
        is_here = is_local(self.endpoint)
        return self._converse(talk.worth(info, is_own=is_own, is_here=is_here))

    def retry(
        self,
        selection: Selection,
        *,
        key: str | None = None,
        continuing: Continuing | None = None,
    ) -> list[Run]:
        """Queue ended runs anew: new runs with the same specs, in the order of the old ones.

        `continuing` ({} at least): pipelines keep the steps that they have done.
        """
        run_ids = self._converse(talk.retry(selection, key=key, continuing=continuing))
        return [Run(self, run_id) for run_id in run_ids]

    def prune(self, *, older_s: float, selection: Selection = ()) -> Iterator[list[int]]:
        """Forget runs that ended so long ago; the ids that are gone, a page at a time."""
        after_id: int | None = 0
        while after_id is not None:
            run_ids, after_id = self._converse(
                talk.prune_page(older_s=older_s, selection=selection, after_id=after_id)
            )
            yield run_ids

    def _submitter(self) -> Submitter | None:
        from intendant.client.command import Submitter

        return Submitter.this_process() if is_local(self.endpoint) else None

    def _submit(self, several: list[Submission], submitter: Submitter | None) -> list[Run]:
        run_ids = self._converse(talk.submit(several, submitter))
        return [Run(self, run_id, is_own=True) for run_id in run_ids]

    def _converse(self, conversation: Conversation[T], *, service: bytes = wire.EXECUTOR) -> T:
        """Carry a conversation to its end, over the one connection for requests."""
        try:
            body = next(conversation)
            while True:
                if self._connection is None:
                    self._connection = self._connect(self.address)
                answer = self._connection.request(service, body, timeout_s=self._timeout_s)
                body = conversation.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        except BEREFT as error:
            raise gone(self.endpoint) from error

    def _read(self, reading: Reading[T]) -> Iterator[T]:
        """What a stream gives; one that was cut off goes on at its place.

        So it does when it was read too slowly, or when the daemon ends and another one comes.
        """
        limit = reading.limit
        resumption = Resumption(reading, self.endpoint)
        while True:
            try:
                with closing(self._read_once(reading, resumption.deadline)) as parts:
                    for one in parts:
                        resumption.went_on()
                        yield one
            except CUT_OFF as error:
                time.sleep(resumption.pause_s(error))
            except TimeoutError as error:
                if limit is None:
                    raise
                raise limit.passed() from error
            else:
                return

    def _read_once(self, reading: Reading[T], deadline: float | None) -> Generator[T, None, None]:
        """What a stream gives, over a connection of its own; `TimeoutError` at the deadline.

        A daemon that has not answered by then was not asked for long enough to be called away.
        """
        with closing(self._connect(self.address)) as connection:
            left_s = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            answers = connection.stream(wire.STREAM, reading.request, timeout_s=left_s)
            try:
                for is_final, answer in answers:
                    if is_final:
                        wire.response(answer, reading.final)
                        return
                    yield from reading.take(answer)
            except Unreachable as error:
                if deadline is None or time.monotonic() < deadline:
                    raise
                raise TimeoutError from error
