"""Runs that are forgotten: their rows first, then their folders (see `store.retention`).

To take rows away takes room on disk as well. Where there is none, a reserve is given up, and what
the runs have written goes first, but for the proofs of their ends: whatever happens then, what the
rows say stays true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import structlog

from intendant.errors import RunNotFound, RunUnreadable, StoreError
from intendant.executor.parts import Parts
from intendant.process.crashpoints import crash_point
from intendant.store.database import is_full

log = structlog.get_logger()

FEW = 50
"""How many runs are forgotten at once where there is little room: each takes some in the log."""


async def forget(
    parts: Parts, run_ids: Sequence[int], *, before: datetime, account: str
) -> list[int]:
    """Remove what may go of these runs, rows and folders; the ids."""
    if not run_ids:
        return []
    try:
        return await _forget(parts, run_ids, before=before, account=account)
    except StoreError as error:
        if not is_full(error):
            raise
        log.warning("pruned_without_room", count=len(run_ids), error=str(error))
    parts.reserve.give_up()
    try:
        return await _forget_with_little_room(parts, run_ids, before=before, account=account)
    finally:
        parts.reserve.lay()


async def _forget_with_little_room(
    parts: Parts, run_ids: Sequence[int], *, before: datetime, account: str
) -> list[int]:
    run_ids = [run_id for run_id in run_ids if await _is_readable(parts, run_id)]
    await asyncio.to_thread(_for_each, parts.spool.empty_run, run_ids)
    gone: list[int] = []
    try:
        for at in range(0, len(run_ids), FEW):
            gone += await _forget(parts, run_ids[at : at + FEW], before=before, account=account)
    except StoreError as error:
        raise StoreError(
            f"{error}; the output of {len(run_ids)} runs is removed, {len(gone)} of them are "
            "forgotten: prune again once there is more room"
        ) from error
    return gone


async def _is_readable(parts: Parts, run_id: int) -> bool:
    """Whether the run is there, and can be read; nothing is done with another."""
    try:
        await parts.store.run(run_id)
    except (RunNotFound, RunUnreadable):
        return False
    return True


async def _forget(
    parts: Parts, run_ids: Sequence[int], *, before: datetime, account: str
) -> list[int]:
    gone = await parts.store.prune(run_ids, before=before, detail={"by": account})
    crash_point("executor.pruned")
    await asyncio.to_thread(_for_each, parts.spool.remove_run, gone)
    log.info("runs_pruned", count=len(gone), account=account)
    return gone


async def sweep(parts: Parts) -> None:
    """Remove the folders that no run owns: a run's row is there before its folder is."""
    found = await asyncio.to_thread(parts.spool.run_ids)
    stray = await parts.store.without_row(found)
    if stray:
        log.warning("stray_folders_removed", run_ids=stray)
        await asyncio.to_thread(_for_each, parts.spool.remove_run, stray)


def _for_each(remove: Callable[[int], None], run_ids: Collection[int]) -> None:
    for run_id in run_ids:
        try:
            remove(run_id)
        except (OSError, NotImplementedError, RecursionError) as error:  # found again by the next
            log.error("folder_not_removed", run_id=run_id, error=str(error))
