"""The one thread that reads, on a connection that can do nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from intendant.errors import StoreError
from intendant.store.cells import Execute
from intendant.store.database import close_quietly, database_errors

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Reader:
    """Owns the reading connection; opened at the first query, and again after a trouble."""

    def __init__(self, path: Path, connect: Callable[[], apsw.Connection]) -> None:
        self._path = path
        self._connect = connect
        self._connection: apsw.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._is_closed = False

    async def read(
        self, query: Callable[Concatenate[Execute, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The answer of `query`, all of it from one moment; it sees every change acknowledged."""
        if self._is_closed:
            raise StoreError(f"{self._path} is closed")

        def answer() -> _T:
            return self._in_snapshot(lambda execute: query(execute, *args, **kwargs))

        return await asyncio.get_running_loop().run_in_executor(self._thread, answer)

    async def close(self) -> None:
        """Let the connection and the thread go."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
            self._thread.shutdown(wait=False)

    def _in_snapshot(self, query: Callable[[Execute], _T]) -> _T:
        try:
            with database_errors(self._path):
                self._connection = self._connection or self._connect()
                return _read(self._connection, query)
        except StoreError:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)


def _read(connection: apsw.Connection, query: Callable[[Execute], _T]) -> _T:
    connection.execute("BEGIN")
    try:
        return query(connection.execute)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
