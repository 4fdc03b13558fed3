"""Which ends are kept for the commands that are to be told, and that each comes once."""

from __future__ import annotations

from pathlib import Path

from intendant.protocol.run_states import Outcome, RunNote
from tests.helpers.stores import StoreCase, opened

COMMAND = ["notify", "me"]


async def taken(case: StoreCase) -> list[int]:
    """The runs whose ends are waiting, which then wait no more."""
    found = []
    while (record := await case.store.take_end()) is not None:
        found.append(record.id)
    return found


async def test_the_end_of_a_run_with_a_command_comes_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(on_end=COMMAND)
        ended = await case.complete(run_id, Outcome.FAILED)

        assert await case.store.take_end() == ended
        assert await case.store.take_end() is None


async def test_nothing_is_kept_of_a_run_without_a_command(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        await case.complete(await case.add(), Outcome.SUCCEEDED)

        assert await taken(case) == []


async def test_every_end_is_kept_while_that_is_wanted(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        before, meanwhile, later = [await case.add() for _ in range(3)]
        await case.complete(before, Outcome.SUCCEEDED)
        await case.store.want_ends(of_all=True)
        await case.store.want_ends(of_all=True)
        await case.complete(meanwhile, Outcome.SUCCEEDED)
        await case.store.want_ends(of_all=False)
        await case.complete(later, Outcome.SUCCEEDED)

        assert await taken(case) == [meanwhile]


async def test_ends_come_in_their_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        first, second = [await case.add(on_end=COMMAND) for _ in range(2)]
        await case.complete(second, Outcome.SUCCEEDED)
        await case.complete(first, Outcome.SUCCEEDED)

        assert await taken(case) == [second, first]


async def test_a_run_that_is_tried_again_has_not_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(on_end=COMMAND, retry={"attempts": 1, "backoff_s": 0})
        await case.complete(run_id, Outcome.FAILED)
        assert await taken(case) == []

        await case.complete(run_id, Outcome.FAILED)
        assert await taken(case) == [run_id]


async def test_runs_that_never_start_end_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        cancelled = await case.add(on_end=COMMAND)
        await case.store.request_stop([cancelled], outcome=Outcome.CANCELLED, reason="cancelled")

        assert await taken(case) == [cancelled]


async def test_what_is_noted_of_an_ended_run_is_no_second_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        run_id = await case.add(on_end=COMMAND)
        await case.complete(run_id, Outcome.SUCCEEDED)
        await taken(case)
        await case.store.note(run_id, 1, event=RunNote.UNKILLABLE, detail={})
        await case.end(run_id, Outcome.FAILED)

        assert await taken(case) == []


async def test_ends_that_wait_are_on_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as case:
        waiting, told = [await case.add(on_end=COMMAND) for _ in range(2)]
        await case.complete(told, Outcome.SUCCEEDED)
        await taken(case)
        await case.complete(waiting, Outcome.SUCCEEDED)

    async with opened(tmp_path) as case:
        assert await taken(case) == [waiting]
