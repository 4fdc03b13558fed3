"""A commit that is on disk though it was reported failed: done once, and told to everybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.errors import StoreError
from intendant.protocol.run_states import Outcome, RunState
from tests.helpers.doubt import commits_in_doubt
from tests.helpers.stores import TOKEN, opened, submission


async def test_the_next_commit_tells_of_the_runs_that_were_in_doubt(tmp_path: Path) -> None:
    with commits_in_doubt() as doubt:
        async with opened(tmp_path) as case:
            doubt.commits = 1
            with pytest.raises(StoreError, match="disk I/O error"):
                await case.store.submit([submission(key="k")], account="ada")
            assert (await case.store.counts())[RunState.QUEUED] == 1
            assert case.changes == []

            assert await case.store.submit([submission(key="k")], account="ada") == [1]

            assert [(run.id, run.state) for run in case.changes] == [(1, "queued")]
            await case.add()
            assert [run.id for run in case.changes] == [1, 2]  # once is enough


async def test_runs_in_doubt_that_never_came_to_be_are_not_told_of(tmp_path: Path) -> None:
    with commits_in_doubt() as doubt:
        async with opened(tmp_path) as case:
            run_id = await case.add()
            await case.complete(run_id, Outcome.SUCCEEDED)
            doubt.commits = 1
            with pytest.raises(StoreError):
                await case.store.prune([run_id], before=case.clock.advance(10), detail={})
            case.changes.clear()

            second = await case.add()

            assert [run.id for run in case.changes] == [second]


async def test_an_end_in_doubt_is_told_when_it_is_recorded_again(tmp_path: Path) -> None:
    with commits_in_doubt() as doubt:
        async with opened(tmp_path) as case:
            run_id = await case.add()
            await case.start(run_id)
            case.changes.clear()
            doubt.commits = 1
            with pytest.raises(StoreError):
                await case.end(run_id, Outcome.FAILED, exit_code=3)

            await case.end(run_id, Outcome.FAILED, exit_code=3)

            assert [(run.state, run.exit_code) for run in case.changes] == [("ended", 3)]
            assert (await case.told(run_id)).count("tree_empty") == 1


async def test_a_grant_in_doubt_is_the_same_grant_when_it_is_asked_for_again(
    tmp_path: Path,
) -> None:
    with commits_in_doubt() as doubt:
        async with opened(tmp_path) as case:
            run_id = await case.add()
            doubt.commits = 1
            with pytest.raises(StoreError):
                await case.store.grant(run_id, 1, token_sha256=TOKEN)

            grant = await case.store.grant(run_id, 1, token_sha256=TOKEN)

            assert (grant.run.state, grant.run.attempt) == ("starting", 1)
            assert (await case.told(run_id)).count("slot_granted") == 1
