"""The one thread that writes: many requests, one commit, then their answers.

Requests wait in a queue. The thread takes what is there, up to a bound, and makes it one
transaction with a savepoint for each request; while it commits, the next batch gathers. So a
lone request waits for nobody and a thousand share a flush to disk. A request that fails takes
only itself back; when the disk fails, all of the batch fail, nothing is acknowledged, and the
next batch begins with a new connection.

A commit that was reported failed may be on disk all the same. The next one settles that, and tells
of the runs that were in doubt; whoever insists asks again, and gets the answer that was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from intendant.errors import Busy, RunNotFound, RunUnreadable, StoreError
from intendant.process.crashpoints import crash_point
from intendant.process.diskpoints import disk_point
from intendant.store.database import close_quietly, database_errors, store_error
from intendant.store.rows import RunRow
from intendant.store.transaction import Transaction

MAX_BATCH = 256
MAX_WAITING = 20_000
"""Requests that may wait for the disk; one more is told to come back later."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

Changes = list[RunRow]

_DISK_ERRORS = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.InternalError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)
"""What says that the connection can't be relied on; other errors are a single request's."""


@dataclass(slots=True)
class _Request:
    """Something to do in a transaction, and whoever waits for it."""

    work: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    result: Any = field(default=None, init=False)
    error: Exception | None = field(default=None, init=False)

    def answer(self) -> None:
        """Tell whoever waits, unless they left."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Writer:
    """Owns the writing connection and the thread around it; used from one event loop."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        reconnect: Callable[[], apsw.Connection],
        now: Callable[[], datetime],
        on_change: Callable[[Changes], None],
    ) -> None:
        self._connection: apsw.Connection | None = connection
        self._reconnect = reconnect
        self._now = now
        self._on_change = on_change
        self._path = Path(connection.filename)
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._doubtful: set[int] = set()
        """Runs that a commit which was reported failed would have changed."""
        self._waiting = 0
        self._closed: asyncio.Future[None] | None = None
        self._thread = Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    async def write(
        self, work: Callable[Concatenate[Transaction, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Do `work` in a transaction; its result comes back when that is on disk.

        Cancelling the wait does not take the work back.
        """
        if self._closed is not None:
            raise StoreError(f"{self._path} is closed")
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{self._waiting} requests wait for the disk")
        future: asyncio.Future[_T] = self._loop.create_future()
        self._waiting += 1
        self._requests.put(_Request(lambda tx: work(tx, *args, **kwargs), future))
        return await future

    async def close(self) -> None:
        """Answer what was asked, then let the connection and the thread go."""
        if self._closed is None:
            self._closed = self._loop.create_future()
            self._requests.put(None)
        await asyncio.shield(self._closed)
        self._thread.join()

    def _serve(self) -> None:
        for batch in iter(self._next_batch, []):
            changes = self._run(batch)
            self._call_in_loop(self._hand_over, batch, changes)
        self._disconnect()
        self._call_in_loop(self._on_closed)

    def _next_batch(self) -> list[_Request]:
        """At least one request, or none at all once the writer is to end."""
        batch = []
        request = self._requests.get()
        while request is not None:
            batch.append(request)
            if len(batch) == MAX_BATCH:
                return batch
            try:
                request = self._requests.get_nowait()
            except Empty:
                return batch
        if batch:
            self._requests.put(None)  # the end comes after these
        return batch

    def _run(self, batch: list[_Request]) -> Changes:
        try:
            with database_errors(self._path):
                self._connection = self._connection or self._reconnect()
                return self._commit(self._connection, batch)
        except Exception as error:  # noqa: BLE001 - those who wait are told
            self._disconnect()
            for request in batch:
                request.error = StoreError(str(error))
                request.error.__cause__ = error.__cause__ or error
            return []

    def _commit(self, connection: apsw.Connection, batch: list[_Request]) -> Changes:
        connection.execute("BEGIN IMMEDIATE")
        changes = self._changes_in_doubt(connection)
        for request in batch:
            changes += self._attempt(connection, request)
        crash_point("writer.before_commit")
        disk_point(needs_room=True)
        try:
            connection.execute("COMMIT")
        except apsw.Error:
            self._doubtful.update(run.id for run in changes)
            raise
        self._doubtful.clear()
        crash_point("writer.committed")
        return changes

    def _changes_in_doubt(self, connection: apsw.Connection) -> Changes:
        """The runs that may have changed without anybody being told, as they are now."""
        transaction = Transaction(connection, self._now)
        found = []
        for run_id in sorted(self._doubtful):
            with suppress(RunNotFound, RunUnreadable):
                found.append(transaction.run(run_id))
        return found

    def _attempt(self, connection: apsw.Connection, request: _Request) -> Changes:
        """Do one request's work, or all of it undone and its error kept."""
        connection.execute("SAVEPOINT request")
        transaction = Transaction(connection, self._now)
        try:
            request.result = request.work(transaction)
            changes = transaction.touched()
        except _DISK_ERRORS:
            raise
        except Exception as error:
            if not connection.in_transaction:  # SQLite has undone the whole batch
                raise
            connection.execute("ROLLBACK TO request; RELEASE request")
            request.error = self._seen(error)
            return []
        connection.execute("RELEASE request")
        return changes

    def _seen(self, error: Exception) -> Exception:
        return store_error(self._path, error) if isinstance(error, apsw.Error) else error

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)

    def _call_in_loop(self, callback: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *args)

    def _hand_over(self, batch: list[_Request], changes: Changes) -> None:
        self._waiting -= len(batch)
        try:
            if changes:
                self._on_change(changes)
        finally:
            for request in batch:
                request.answer()

    def _on_closed(self) -> None:
        if self._closed is not None:
            self._closed.set_result(None)
