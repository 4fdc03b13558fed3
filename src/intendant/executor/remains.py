"""What a dead governor left behind: killed, and seen to be gone, before its attempt is judged."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from intendant.process.cgroup import Cgroup
from intendant.process.children import Children
from intendant.process.identity import session_members, start_time
from intendant.process.tree import descendants, signal_each
from intendant.protocol.records import ClaimRecord
from intendant.store.spool import DamagedClaim

log = structlog.get_logger()

KILL_WAIT_S = 3.0
_RETRY_MAX_S = 60.0


async def clear_remains(
    claim: ClaimRecord | DamagedClaim,
    *,
    children: Children | None,
    on_unkillable: Callable[[], Awaitable[None]],
) -> bool:
    """Kill all that is left of the attempt; whether it is certain that nothing is.

    `children`: ours, if this daemon launched the governor, so that its orphans came to us. Without
    them and without a cgroup only the governor's session can be searched, and what left that
    session can't be found.
    """
    wait_s = KILL_WAIT_S
    while True:
        try:
            async with asyncio.timeout(wait_s):
                return await _clear(claim, children)
        except TimeoutError:
            log.error("tree_unkillable", claim=claim)
        if wait_s == KILL_WAIT_S:
            await on_unkillable()
        wait_s = min(2 * wait_s, _RETRY_MAX_S)


async def clear_cgroup(cgroup: Cgroup | None) -> None:
    """Remove the group of an attempt that is over, which its governor could not do if it died.

    Whoever is in it yet was waiting to become a workload that will never be.
    """
    if cgroup is None or not await asyncio.to_thread(cgroup.path.exists):
        return
    cgroup.kill()
    try:
        async with asyncio.timeout(KILL_WAIT_S):
            await cgroup.wait_empty()
    except TimeoutError:
        log.warning("cgroup_not_empty", cgroup=str(cgroup.path))
    cgroup.remove()


async def _clear(claim: ClaimRecord | DamagedClaim, children: Children | None) -> bool:
    has_cgroup = isinstance(claim, ClaimRecord) and claim.cgroup is not None
    if isinstance(claim, ClaimRecord) and claim.cgroup is not None:
        cgroup = Cgroup(Path(claim.cgroup))
        cgroup.kill()
        await cgroup.wait_empty()
        cgroup.remove()
    if children is not None:
        await children.end_orphans()
        return True
    if isinstance(claim, ClaimRecord) and not has_cgroup:
        await _clear_session(claim)
    return has_cgroup


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
