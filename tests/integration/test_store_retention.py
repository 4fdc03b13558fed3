"""Runs that are forgotten, against a real database."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from intendant.errors import KeyConflict, RunNotFound
from intendant.protocol.environment import encode_environment
from intendant.protocol.run_states import Outcome
from intendant.protocol.selectors import parse_selection
from intendant.protocol.specs import Secrets
from intendant.store import retention
from tests.helpers.stores import StoreCase, opened, rows, submission


async def ended(case: StoreCase, **wanted: Any) -> int:
    run_id = await case.add(**wanted)
    await case.complete(run_id, Outcome.SUCCEEDED)
    return run_id


async def prune(case: StoreCase, before: datetime, *selectors: str) -> list[int]:
    """All pages together."""
    selection = parse_selection(list(selectors)) if selectors else None
    gone: list[int] = []
    after_id: int | None = 0
    while after_id is not None:
        page = await case.store.prunable(selection, before=before, after_id=after_id)
        gone += await case.store.prune(page.run_ids, before=before, detail={"by": "ada"})
        after_id = page.next_after_id
    return gone


def kept(case: StoreCase, table: str) -> int:
    connection = apsw.Connection(str(case.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(rows(connection, f"SELECT count(*) AS n FROM {table}")[0]["n"])
    finally:
        connection.close()


async def test_old_runs_go_with_all_their_rows_and_the_events_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        secrets = Secrets(environment=encode_environment({b"A": b"1"}))
        old = await ended(case, secrets=secrets)
        then = case.clock()
        case.clock.advance(3600)
        young = await ended(case)

        assert await prune(case, then, f"{young}-99") == []
        assert await prune(case, then) == [old]

        with pytest.raises(RunNotFound):
            await case.store.run(old)
        assert (await case.told(old))[-2:] == ["tree_empty", "pruned"]
        await prune(case, case.clock())
        assert [kept(case, table) for table in ("attempt", "secret", "environment")] == [0, 0, 0]
        assert await case.add() == young + 1


async def test_what_never_was_is_refused_and_what_is_gone_already_is_not(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id, later = await ended(case), case.clock()
        for strange in ("9999", f"{run_id},9999", "7-9"):
            with pytest.raises(RunNotFound, match=r"no run (9999|in 7-9)"):
                await prune(case, later, strange)

        assert await prune(case, later, f"{run_id},1-7") == [run_id]
        assert await prune(case, later, f"{run_id},1-7") == []
        again = partial(case.store.prunable, parse_selection(["1"]), before=later, after_id=0)
        assert (await again(owner="ada")).run_ids == []
        with pytest.raises(RunNotFound):
            await again(owner="eve")


async def test_what_has_not_ended_or_not_long_enough_ago_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.add()
        await case.start(await case.add())
        await ended(case)

        assert await prune(case, case.clock.at.replace(year=2029)) == []
        assert len((await case.store.runs())[0]) == 3


async def test_what_an_unfinished_run_depends_on_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        runs = [submission("build"), submission("test", after=["build"])]
        build, test = await case.store.submit(runs, account="ada")
        await case.complete(build, Outcome.SUCCEEDED)

        assert await prune(case, case.clock()) == []
        named = await case.store.prune([build, test], before=case.clock(), detail={})
        assert named == []
        assert [one.run_id for one in await case.store.candidates({"default": 9})] == [test]

        await case.complete(test, Outcome.SUCCEEDED)
        assert await prune(case, case.clock()) == [build, test]


async def test_the_key_of_a_pruned_run_stands_for_a_new_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        old = await ended(case, key="nightly")
        with pytest.raises(KeyConflict):
            await case.add("another", key="nightly")
        await prune(case, case.clock())

        new = await case.add("another", key="nightly")

        assert new == old + 1
        assert await case.add("another", key="nightly") == new
        assert await case.store.retry([await ended(case)], account="ada", key="k") == [new + 2]
        [again] = await case.store.retry([new + 1], account="ada", key="k")
        await case.complete(again, Outcome.SUCCEEDED)
        assert await prune(case, case.clock(), str(again)) == [again]
        assert await case.store.retry([new + 1], account="ada", key="k") == [again + 1]


async def test_an_environment_that_another_run_has_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        secrets = Secrets(environment=encode_environment({b"A": b"1"}))
        old, other = await ended(case, secrets=secrets), await case.add(secrets=secrets)

        await prune(case, case.clock(), str(old))

        await case.grant(other)
        assert (await case.store.grant_info(other)).secrets == secrets


async def test_pages_go_on_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    async with opened(tmp_path) as case:
        ids = [await ended(case) for _ in range(5)]
        await case.add()

        page = await case.store.prunable(None, before=case.clock(), after_id=0)

        assert (page.run_ids, page.next_after_id) == (ids[:2], ids[1])
        assert await prune(case, case.clock(), "last", "1-2", "4") == [1, 2, 4]


async def test_a_run_that_is_named_twice_is_pruned_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await ended(case)

        first = await case.store.prune([run_id, run_id], before=case.clock(), detail={})
        second = await case.store.prune([run_id], before=case.clock(), detail={})

        assert (first, second) == ([run_id], [])
        assert (await case.told(run_id)).count("pruned") == 1


async def test_ids_without_a_run_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add()

        assert await case.store.without_row([run_id, 98, 99]) == [98, 99]
        assert await case.store.without_row([]) == []


async def test_the_log_still_knows_a_pruned_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await ended(case)
        await prune(case, case.clock())

        assert await case.store.logged(parse_selection([str(run_id), "1-9"])) == [run_id]
        with pytest.raises(RunNotFound, match=r"no run 7$"):
            await case.store.logged(parse_selection(["7"]))
        with pytest.raises(RunNotFound, match="no run in 7-9"):
            await case.store.logged(parse_selection(["7-9"]))
