"""Calls spread over real processes."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import psutil
import pytest

from intendant.errors import HelperLost
from intendant.process.pool import Pool
from tests.helpers.waiting import wait_for
from tests.integration import pool_targets


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


async def answers(pool: Pool, count: int) -> list[bytes]:
    """Every answer, in order."""
    found = [b""] * count

    def take(at: int, answer: bytes) -> None:
        assert found[at] == b"", "answered twice"
        found[at] = answer

    async with pool:
        await pool.answer(count, take)
    return found


@pytest.mark.parametrize(("processes", "at_once"), [(1, 1), (2, 1), (2, 16)])
async def test_every_number_is_answered_once(processes: int, at_once: int) -> None:
    found = await answers(Pool(pool_targets.squares, at_once, processes=processes), 20)
    assert found == [str(at * at).encode() for at in range(20)]


async def test_all_processes_work_in_the_callers_group(tmp_path: Path) -> None:
    found = await answers(Pool(pool_targets.pids, str(tmp_path), processes=2), 6)
    workers, groups = zip(*(answer.split() for answer in found), strict=True)
    assert len(set(workers)) == 2
    assert set(groups) == {str(os.getpgid(0)).encode()}


async def test_answers_larger_than_a_pipe_block_nobody() -> None:
    found = await answers(Pool(pool_targets.large, processes=2), 16)
    assert [len(answer) for answer in found] == [1_000_000] * 16


async def test_a_process_that_dies_is_said_and_nothing_is_left() -> None:
    before = len(children())
    with pytest.raises(HelperLost, match="was ended by signal 9"):
        await answers(Pool(pool_targets.mortal, processes=2), 10)
    assert len(children()) <= before


async def test_what_the_taker_raises_ends_it() -> None:
    def refuse(at: int, answer: bytes) -> None:
        raise KeyError(at, answer)

    async with Pool(pool_targets.squares, 1, processes=2) as pool:
        with pytest.raises(KeyError):
            await pool.answer(50, refuse)


async def test_a_pool_that_is_left_cancels_what_is_under_way(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with Pool(pool_targets.stuck, str(tmp_path), processes=1) as pool:
        answering = asyncio.create_task(pool.answer(4, lambda *_: None))
        begun = partial(wait_for, "all have begun", lambda: len([*tmp_path.iterdir()]) == 4)
        await asyncio.to_thread(begun)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
    assert capfd.readouterr().out.count("cancelled") == 4


async def test_no_process_outlives_its_pool() -> None:
    before = {child.pid for child in children()}
    await answers(Pool(pool_targets.squares, 1, processes=2), 2)
    assert {child.pid for child in children()} <= before
