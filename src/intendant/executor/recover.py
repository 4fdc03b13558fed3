"""At the start: what became of the attempts that an earlier daemon left.

The spool is read before anybody is judged, and the first match decides: exit record, tombstone,
nothing (a tombstone is linked), another boot, a live governor, what is left of a dead one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from intendant.errors import IllegalTransition
from intendant.executor.desk import Desk
from intendant.executor.parts import insist, utc_now
from intendant.executor.remains import clear_cgroup
from intendant.executor.supervise import Supervision, end_of, loss, stop_of
from intendant.process.identity import boot_id, open_pidfd
from intendant.process.pidfd import Pidfd
from intendant.protocol.records import ClaimRecord, TombstoneRecord
from intendant.store.base import AttemptEnd, LiveAttempt
from intendant.store.spool import DamagedClaim

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Inherited:
    """An attempt that is not over, the supervision that holds its slot, and what that will do."""

    supervision: Supervision
    life: Coroutine[Any, Any, None]


async def recover(desk: Desk) -> list[Inherited]:
    """Record every attempt that is over; the others, their tokens known to the broker."""
    found = [await insist("recovery", partial(_judge, desk, live)) for live in await _live(desk)]
    return [inherited for inherited in found if inherited is not None]


async def _live(desk: Desk) -> list[LiveAttempt]:
    return await desk.parts.store.live()


async def _judge(desk: Desk, live: LiveAttempt) -> Inherited | None:
    parts, run_id, attempt = desk.parts, live.run.id, live.run.attempt
    folder = parts.spool.attempt(run_id, attempt)
    record = await asyncio.to_thread(folder.read_exit)
    if record is not None and record.token_sha256 == live.token_sha256:
        await _record(desk, live, end_of(record))
        await _clear_cgroup(desk, live)
        return None
    claim = await asyncio.to_thread(_read_or_entomb, desk, live)
    if isinstance(claim, TombstoneRecord):
        await _burn(desk, live, claim)
        await _clear_cgroup(desk, live)
        return None
    if isinstance(claim, DamagedClaim):
        return _bury(desk, live, claim)
    if claim.boot_id != boot_id():
        stop = stop_of(live)
        end = loss(stop, is_certain=True, reason="host_rebooted", daemon_lost=True)
        await _record(desk, live, end)
        return None
    if folder.is_claim_locked() and (pidfd := open_pidfd(claim.pid, claim.start_time)) is not None:
        return _adopt(desk, live, claim, Pidfd(pidfd))
    return _bury(desk, live, claim)


async def _burn(desk: Desk, live: LiveAttempt, tombstone: TombstoneRecord) -> None:
    """The attempt never started; if the row knows better, its claim was taken away."""
    run = live.run
    try:
        await desk.parts.store.tombstoned(run.id, run.attempt, reason=tombstone.by)
    except IllegalTransition:
        await _record(desk, live, loss(stop_of(live), is_certain=False, reason="claim_missing"))


def _read_or_entomb(desk: Desk, live: LiveAttempt) -> ClaimRecord | TombstoneRecord | DamagedClaim:
    """What stands at the claim's name; a tombstone of ours where nothing did."""
    spool, run = desk.parts.spool, live.run
    if (claim := spool.attempt(run.id, run.attempt).read_claim()) is not None:
        return claim
    folder = spool.make_attempt(run.id, run.attempt)
    folder.entomb(by="recovery: not claimed", at=utc_now())
    claim = folder.read_claim()
    assert claim is not None  # noqa: S101 either link(2) of ours succeeded, or EEXIST says why not
    return claim


def _adopt(desk: Desk, live: LiveAttempt, claim: ClaimRecord, pidfd: Pidfd) -> Inherited:
    run = live.run
    log.info("governor_adopted", run_id=run.id, attempt=run.attempt, pid=claim.pid)
    supervision = _supervision(desk, live)
    supervision.expect(live.token_sha256)
    return Inherited(supervision, supervision.adopt(live, claim, pidfd))


def _bury(desk: Desk, live: LiveAttempt, claim: ClaimRecord | DamagedClaim) -> Inherited:
    """The governor is dead, its record missing: a slot is held until what it left is gone."""
    supervision = _supervision(desk, live)
    return Inherited(supervision, supervision.bury(live, claim))


def _supervision(desk: Desk, live: LiveAttempt) -> Supervision:
    run = live.run
    return Supervision(desk.parts, run_id=run.id, attempt=run.attempt, queue=run.queue)


async def _clear_cgroup(desk: Desk, live: LiveAttempt) -> None:
    """Its governor may have died before it could; in another place it is not looked for."""
    run = live.run
    await clear_cgroup(desk.parts.cgroup_of(run.id, run.attempt, live.token_sha256))


async def _record(desk: Desk, live: LiveAttempt, end: AttemptEnd) -> None:
    await desk.parts.store.ended(live.run.id, live.run.attempt, end=end)
    log.info("attempt_recovered", run_id=live.run.id, attempt=live.run.attempt, outcome=end.outcome)
