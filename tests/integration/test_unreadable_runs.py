"""A stored run that this version can't read is put aside: it stays, and keeps nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from intendant.cli import render
from intendant.errors import RunUnreadable
from intendant.executor.handlers import on_run_cancel, on_run_list
from intendant.executor.recover import recover
from intendant.protocol.messages import RunCancelRequest, RunListRequest, encode
from intendant.protocol.run_states import Outcome
from tests.helpers.stores import StoreCase, submission
from tests.helpers.supervised import CANCEL, Moment, supervised
from tests.integration.test_scheduler import ADA, scheduling, serving, until

SECRET = "canary-5171"
OF_ANOTHER_VERSION = f'{{"workload": {{"kind": "later", "env": "{SECRET}"}}}}'


@contextmanager
def unreadable(case: StoreCase, run_id: int) -> Iterator[None]:
    """Meanwhile the run is one that another version could have left."""
    connection = apsw.Connection(str(case.path))
    connection.set_busy_timeout(20_000)
    for trigger in ("run_submission_is_final", "run_ended_is_final"):
        connection.execute(f"DROP TRIGGER {trigger}")
    [(spec,)] = connection.execute("SELECT spec FROM run WHERE id = ?", (run_id,)).fetchall()
    change = "UPDATE run SET spec = ? WHERE id = ?"
    connection.execute(change, (OF_ANOTHER_VERSION, run_id))
    try:
        yield
    finally:
        connection.execute(change, (spec, run_id))
        connection.close()


async def test_who_asks_for_it_is_told_which_run_and_where_it_is_wrong(tmp_path: Path) -> None:
    async with supervised(tmp_path) as attempt:
        with (
            unreadable(attempt.case, attempt.run_id),
            pytest.raises(RunUnreadable, match=r"run 1 can't be read: its spec: workload") as told,
        ):
            await attempt.case.store.run(attempt.run_id)

    assert SECRET not in str(told.value)


async def test_a_page_of_runs_lists_it_among_the_others_and_says_where_it_is_wrong(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt:
        await attempt.case.add(name="other")
        with unreadable(attempt.case, attempt.run_id):
            page = await on_run_list(serving(attempt), RunListRequest(), ADA)

    other, odd = json.loads(encode(page))["runs"]
    assert (other["id"], other["name"], render.command(other)) == (2, "other", "true")
    assert (odd["id"], odd["kind"], odd["state"]) == (1, "command", "queued")
    problem = "workload: union_tag_invalid"
    assert odd["spec"] == {"workload": {"kind": "unreadable", "problem": problem}}
    assert render.command(odd) == f"unreadable: {problem}"
    assert SECRET not in str(odd)


async def test_it_is_not_pruned_and_keeps_no_other_run_from_it(tmp_path: Path) -> None:
    async with supervised(tmp_path) as attempt:
        case = attempt.case
        other = await case.add()
        for run_id in (attempt.run_id, other):
            await case.complete(run_id, Outcome.SUCCEEDED)
        with unreadable(case, attempt.run_id):
            ids = [attempt.run_id, other]
            assert await case.store.prune(ids, before=case.clock(), detail={}) == [other]

        assert (await case.store.run(attempt.run_id)).outcome is Outcome.SUCCEEDED


async def test_a_cancel_that_names_it_too_ends_nobody(tmp_path: Path) -> None:
    async with supervised(tmp_path) as attempt:
        other = await attempt.case.add()
        desk = serving(attempt)
        desk.live[attempt.run_id] = attempt.supervision

        async def cancel_both() -> None:
            with unreadable(attempt.case, other), pytest.raises(RunUnreadable):
                await on_run_cancel(desk, RunCancelRequest(selection=["1-2"]), ADA)
            assert (await attempt.case.store.run(attempt.run_id)).state == "starting"
            await attempt.cancel()

        attempt.moments.acts[Moment.LAUNCHING] = cancel_both
        attempt.launcher.hangs = True

        await attempt.launch()

        run = await attempt.case.store.run(attempt.run_id)
        assert (run.outcome, run.reason) == ("cancelled", CANCEL.reason)


async def test_queued_it_stays_queued_and_the_next_one_starts(tmp_path: Path) -> None:
    async with supervised(tmp_path, slots=1) as attempt:
        next_id = await attempt.case.add()
        desk = serving(attempt)
        with unreadable(attempt.case, attempt.run_id):
            async with scheduling(desk):
                await until(lambda: bool(attempt.launcher.born))

                assert [*desk.live] == [next_id]
        assert desk.put_aside == {attempt.run_id}
        assert (await attempt.case.store.run(attempt.run_id)).state == "queued"


async def test_live_it_is_left_alone_by_a_daemon_that_starts(tmp_path: Path) -> None:
    async with supervised(tmp_path) as attempt:
        await attempt.case.start(attempt.run_id)
        with unreadable(attempt.case, attempt.run_id):
            async with asyncio.timeout(60):
                assert await recover(serving(attempt)) == []

        assert (await attempt.case.store.run(attempt.run_id)).state == "running"


async def test_one_that_it_waits_for_is_put_aside_by_a_daemon_that_can_not_record_its_end(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt:
        desk, case = serving(attempt), attempt.case
        batch = [submission("first"), submission("then", after=["first"])]
        first, then = await case.store.submit(batch, account="ada")
        await case.grant(first)
        await case.store.request_stop([first], outcome=Outcome.CANCELLED, reason="cancelled")
        with unreadable(case, then):
            async with asyncio.timeout(60):
                assert await recover(desk) == []

        assert desk.put_aside == {first}
        assert (await case.store.run(first)).state == "stopping"
