"""Group commit, a disk in trouble, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from intendant.errors import Busy, KeyConflict, StoreError
from intendant.protocol.run_states import Outcome, RunState
from intendant.store import writer
from intendant.store.rows import RunRow
from intendant.store.sqlite import SqliteStore
from tests.helpers.stores import ManualClock, StoreCase, check_invariants, opened, submission


@contextmanager
def commits_counted() -> Iterator[list[None]]:
    """Something for each commit of connections opened in here."""
    commits: list[None] = []

    def on_commit() -> bool:
        commits.append(None)
        return False

    def watch(connection: apsw.Connection) -> None:
        connection.set_commit_hook(on_commit)

    apsw.connection_hooks.append(watch)
    try:
        yield commits
    finally:
        apsw.connection_hooks.remove(watch)


@contextmanager
def pages_limited(pages: int) -> Iterator[None]:
    """Databases opened in here are full at this size."""

    def limit(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", pages)

    apsw.connection_hooks.append(limit)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(limit)


@contextmanager
def files_limited(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes (setrlimit(2): RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_requests_that_come_together_share_a_commit(tmp_path: Path) -> None:
    with commits_counted() as commits:
        async with opened(tmp_path) as case:
            commits.clear()

            ids = await asyncio.gather(*(case.add() for _ in range(500)))

            assert sorted(ids) == [*range(1, 501)]
            assert len(commits) <= 20


async def test_requests_that_come_one_by_one_wait_for_nobody(tmp_path: Path) -> None:
    with commits_counted() as commits:
        async with opened(tmp_path) as case:
            commits.clear()

            for _ in range(10):
                await case.add()

            assert len(commits) == 10


async def test_changes_are_told_in_order_before_anybody_is_answered(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        seen: list[int] = []

        async def submit() -> None:
            run_id = await case.add()
            assert run_id in [run.id for run in case.changes]
            seen.append(run_id)

        await asyncio.gather(*(submit() for _ in range(100)))

        assert [run.id for run in case.changes] == sorted(seen)


async def test_a_listener_that_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    troubles: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))

    def on_change(runs: list[RunRow]) -> None:
        raise ValueError(f"{len(runs)} runs are too many")

    store = await SqliteStore.open(tmp_path / "store.db", now=ManualClock(), on_change=on_change)
    assert await store.submit([submission()], account="ada") == [1]
    await store.close()

    assert [str(trouble["exception"]) for trouble in troubles] == ["1 runs are too many"]


async def test_a_cancelled_wait_does_not_take_the_work_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        waiting = asyncio.create_task(case.add())
        await asyncio.sleep(0)  # it has handed its request over
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        await case.add()

        assert (await case.store.counts())[RunState.QUEUED] == 2


async def test_closing_answers_everybody_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        waiting = [asyncio.create_task(case.add()) for _ in range(300)]
        await asyncio.sleep(0)  # they have handed their requests over

        await case.store.close()

        assert sorted([await task for task in waiting]) == [*range(1, 301)]


async def test_a_closed_store_says_so_and_closes_twice(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.store.close()

        with pytest.raises(StoreError, match="is closed"):
            await case.add()
        with pytest.raises(StoreError, match="is closed"):
            await case.store.run(1)


async def test_too_many_who_wait_are_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 10)
    async with opened(tmp_path) as case:
        results = await asyncio.gather(*(case.add() for _ in range(30)), return_exceptions=True)

        assert [type(result) for result in results] == [int] * 10 + [Busy] * 20
        assert await case.add() == 11


async def test_an_error_of_one_request_is_no_trouble_of_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        results = await asyncio.gather(
            case.add(),
            case.store.set_priority(2**70, 1),
            case.add("with a surrogate", argv=["true"], key="\ud800"),
            case.add(),
            return_exceptions=True,
        )

        assert [isinstance(result, int) for result in results] == [True, False, False, True]


async def fill(case: StoreCase) -> int:
    """Submit until the disk is full; how many runs were acknowledged."""
    large = submission(argv=["x" * 10_000])
    for acknowledged in range(1000):
        try:
            await case.store.submit([large], account="ada")
        except StoreError as error:
            if isinstance(error.__cause__, apsw.FullError | apsw.IOError):
                return acknowledged
            raise
    raise AssertionError("the disk is large")


async def test_a_full_database_refuses_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    with pages_limited(100):
        async with opened(tmp_path) as case:
            acknowledged = await fill(case)

            assert acknowledged > 1
            assert (await case.store.counts())[RunState.QUEUED] == acknowledged

    async with opened(tmp_path) as case:
        assert await case.add() == acknowledged + 1


async def test_service_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        with files_limited(500_000):
            acknowledged = await fill(case)
            with pytest.raises(StoreError):
                await fill_one(case)

        assert await case.add() == acknowledged + 1
        assert (await case.store.counts())[RunState.QUEUED] == acknowledged + 1


async def fill_one(case: StoreCase) -> None:
    await case.store.submit([submission(argv=["x" * 100_000])] * 5, account="ada")


async def test_a_full_disk_acknowledges_none_of_a_batch(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        large = submission(argv=["x" * 100_000])
        with files_limited(300_000):
            results = await asyncio.gather(
                *(case.store.submit([large], account="ada") for _ in range(20)),
                return_exceptions=True,
            )

        acknowledged = [result for result in results if not isinstance(result, BaseException)]
        assert any(isinstance(result, StoreError) for result in results)
        assert (await case.store.counts())[RunState.QUEUED] == len(acknowledged)
        assert len(case.changes) == len(acknowledged)


async def test_a_database_that_another_program_has_locked_fails_those_who_wait(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, busy_timeout_s=0.05) as case:
        await case.add()
        other = apsw.Connection(str(case.path))
        other.execute("BEGIN IMMEDIATE")

        results = await asyncio.gather(*(case.add() for _ in range(3)), return_exceptions=True)
        readable = await case.store.counts()
        other.execute("ROLLBACK")
        other.close()

        assert {type(result) for result in results} == {StoreError}
        assert "BusyError" in str(results[0])
        assert readable[RunState.QUEUED] == 1
        assert await case.add() == 2


async def test_the_loop_goes_on_while_the_disk_makes_others_wait(tmp_path: Path) -> None:
    async with opened(tmp_path, busy_timeout_s=5) as case:
        other = apsw.Connection(str(case.path))
        other.execute("BEGIN IMMEDIATE")

        waiting = asyncio.create_task(case.add())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert await case.store.last_event_id() == 0
        other.execute("ROLLBACK")
        other.close()

        assert await waiting == 1


async def test_a_database_that_was_taken_away_is_not_made_anew(tmp_path: Path) -> None:
    async with opened(tmp_path, busy_timeout_s=0.05) as case:
        await case.add()
        other = apsw.Connection(str(case.path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            await case.add()
        other.execute("ROLLBACK")
        other.close()
        hidden = case.path.rename(tmp_path / "hidden.db")

        with pytest.raises(StoreError, match="CantOpenError"):
            await case.add()

        assert not case.path.exists()
        hidden.rename(case.path)
        assert await case.add() == 2


async def test_one_refused_request_of_a_batch_leaves_no_trace(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add("a", key="k")
        await case.complete(run_id, Outcome.SUCCEEDED)
        events = await case.store.last_event_id()

        batch = [submission(), submission("b", key="k")]
        results = await asyncio.gather(
            *(case.store.submit(batch, account="ada") for _ in range(5)), return_exceptions=True
        )

        assert {type(result) for result in results} == {KeyConflict}
        assert await case.store.last_event_id() == events
        check_invariants(case.path)
