"""Runs that are forgotten: their rows first, then their folders (see `store.retention`)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime

import structlog

from intendant.executor.parts import Parts
from intendant.process.crashpoints import crash_point
from intendant.store.spool import Spool

log = structlog.get_logger()


async def forget(
    parts: Parts, run_ids: Sequence[int], *, before: datetime, account: str
) -> list[int]:
    """Remove what may go of these runs, rows and folders; the ids."""
    if not run_ids:
        return []
    gone = await parts.store.prune(run_ids, before=before, detail={"by": account})
    crash_point("executor.pruned")
    await asyncio.to_thread(_remove, parts.spool, gone)
    log.info("runs_pruned", count=len(gone), account=account)
    return gone


async def sweep(parts: Parts) -> None:
    """Remove the folders that no run owns: a run's row is there before its folder is."""
    found = await asyncio.to_thread(parts.spool.run_ids)
    stray = await parts.store.without_row(found)
    if stray:
        log.warning("stray_folders_removed", run_ids=stray)
        await asyncio.to_thread(_remove, parts.spool, stray)


def _remove(spool: Spool, run_ids: Collection[int]) -> None:
    for run_id in run_ids:
        try:
            spool.remove_run(run_id)
        except (OSError, NotImplementedError) as error:  # the next prune finds it again
            log.error("folder_not_removed", run_id=run_id, error=str(error))
