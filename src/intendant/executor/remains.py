"""What a dead governor left behind: killed, and seen to be gone, before its attempt is judged."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from intendant.process.cgroup import Cgroup
from intendant.process.descendants import descendants, signal_each
from intendant.process.identity import session_members, start_time
from intendant.protocol.records import ClaimRecord
from intendant.store.spool import DamagedClaim

log = structlog.get_logger()

KILL_WAIT_S = 3.0
_RETRY_MAX_S = 60.0


async def clear_remains(
    claim: ClaimRecord | DamagedClaim,
    *,
    likely_cgroup: Cgroup | None,
    end_orphans: Callable[[], Awaitable[None]] | None,
    on_unkillable: Callable[[], Awaitable[None]],
) -> bool:
    """Kill all that is left of the attempt; whether it is certain that nothing is.

    `likely_cgroup`: where its tree would be, if its claim can't say. `end_orphans`: ends what came
    to us, if this daemon launched the governor. Without it and without a cgroup only the governor's
    session can be searched, and what left that session can't be found.
    """
    cgroup = _cgroup_of(claim, likely_cgroup)
    wait_s = KILL_WAIT_S
    loop = asyncio.get_running_loop()
    while True:
        deadline = loop.time() + wait_s
        try:
            async with asyncio.timeout_at(deadline):
                return await _clear(claim, cgroup, end_orphans)
        except OSError as error:  # the time is up; or no descriptor is to be had, which may pass
            log.error("tree_unkillable", claim=claim, error=str(error))
        await asyncio.sleep(deadline - loop.time())
        if wait_s == KILL_WAIT_S:
            await on_unkillable()
        wait_s = min(2 * wait_s, _RETRY_MAX_S)


async def clear_cgroup(cgroup: Cgroup | None) -> None:
    """Remove the group of an attempt that is over, which its governor could not do if it died.

    Whoever is in it yet was waiting to become a workload that will never be.
    """
    if cgroup is None or not cgroup.path.exists():
        return
    cgroup.kill()
    try:
        async with asyncio.timeout(KILL_WAIT_S):
            await cgroup.wait_empty()
    except TimeoutError:
        log.warning("cgroup_not_empty", cgroup=str(cgroup.path))
    cgroup.remove()


def _cgroup_of(claim: ClaimRecord | DamagedClaim, likely: Cgroup | None) -> Cgroup | None:
    """Where the tree was kept, if it was kept in a cgroup."""
    if isinstance(claim, DamagedClaim):
        return likely if likely is not None and likely.path.exists() else None
    return None if claim.cgroup is None else Cgroup(Path(claim.cgroup))


async def _clear(
    claim: ClaimRecord | DamagedClaim,
    cgroup: Cgroup | None,
    end_orphans: Callable[[], Awaitable[None]] | None,
) -> bool:
    if cgroup is not None:
        cgroup.kill()
        await cgroup.wait_empty()
        cgroup.remove()
        return True
    if end_orphans is not None:
        await end_orphans()
        return True
    if isinstance(claim, ClaimRecord):
        await _clear_session(claim)
    return False


async def _clear_session(claim: ClaimRecord) -> None:
    """End everybody in the session that the governor led, unless its number is another's now."""
    if start_time(claim.pid) not in (None, claim.start_time):
        return
    while members := session_members(claim.pid):
        found = {pid: started for pid in members if (started := start_time(pid)) is not None}
        for pid in list(found):
            found |= descendants(pid)
        signal_each(found, signal.SIGKILL)
        # Not our children: nothing tells of their end, and the bound is the caller's.
        await asyncio.sleep(0.01)
