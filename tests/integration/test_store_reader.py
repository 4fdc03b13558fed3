"""The thread that reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw
import pytest

from intendant.errors import RunNotFound, StoreError
from intendant.store.cells import Execute
from intendant.store.database import open_reader, prepare
from intendant.store.reader import Reader


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[Reader, apsw.Connection]]:
    """A reader, and a connection that writes to the same database."""
    path = folder / "store.db"
    connection = prepare(path, busy_timeout_s=1)
    reader = Reader(path, partial(open_reader, path, busy_timeout_s=1))
    try:
        yield reader, connection
    finally:
        await reader.close()
        connection.close()


def queues(execute: Execute) -> int:
    return len(execute("SELECT name FROM queue").fetchall())


async def test_an_answer_is_of_one_moment(tmp_path: Path) -> None:
    async with both(tmp_path) as (reader, connection):

        def ask_twice(execute: Execute) -> tuple[int, int]:
            before = queues(execute)
            connection.execute("INSERT INTO queue (name) VALUES ('gpu')")
            return before, queues(execute)

        assert await reader.read(ask_twice) == (1, 1)
        assert await reader.read(queues) == 2


async def test_a_refusal_goes_to_the_one_who_asked(tmp_path: Path) -> None:
    async with both(tmp_path) as (reader, _):

        def refuse(execute: Execute) -> None:
            raise RunNotFound(f"no run among {queues(execute)} queues")

        with pytest.raises(RunNotFound, match="no run among 1 queues"):
            await reader.read(refuse)
        assert await reader.read(queues) == 1


async def test_a_trouble_is_told_and_the_next_question_is_answered(tmp_path: Path) -> None:
    async with both(tmp_path) as (reader, _):

        def fail(execute: Execute) -> None:
            execute("SELECT name FROM nowhere")

        with pytest.raises(StoreError, match="no such table: nowhere"):
            await reader.read(fail)
        assert await reader.read(queues) == 1
