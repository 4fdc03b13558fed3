"""Troubles are shown while they last, and not waited for without end by a daemon that ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from intendant.errors import StoreError
from intendant.executor.troubles import Troubles, in_a_line

THEN = datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_trouble_is_shown_while_it_lasts() -> None:
    troubles = Troubles(lambda: THEN)
    tries = 0
    is_shown = asyncio.Event()

    async def act() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            asyncio.get_running_loop().call_soon(is_shown.set)
            raise StoreError("the disk is full")
        return "done"

    async with asyncio.TaskGroup() as tasks:
        done = tasks.create_task(troubles.insist("end", act, run_id=7, can_be_left=True))
        await is_shown.wait()
        text = "1 run can't go on: its end can't be recorded (the disk is full)"
        assert in_a_line(troubles.all()) == text
        assert troubles.of(8) is None
        troubles.hurry()  # it need not wait for its turn any more

    assert done.result() == "done"
    assert in_a_line(troubles.all()) is None
