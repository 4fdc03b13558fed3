"""What a dead governor left is looked for until it is certain that nothing is there."""

from __future__ import annotations

import asyncio
import errno

import pytest

from intendant.executor.remains import clear_remains
from intendant.store.spool import DamagedClaim


async def test_a_search_that_got_no_descriptor_is_not_over() -> None:
    searches = 0

    async def end_orphans() -> None:
        nonlocal searches
        searches += 1
        raise OSError(errno.EMFILE, "Too many open files")

    async def on_unkillable() -> None:
        return None

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await clear_remains(
                DamagedClaim("?"),
                likely_cgroup=None,
                end_orphans=end_orphans,
                on_unkillable=on_unkillable,
            )
    assert searches
