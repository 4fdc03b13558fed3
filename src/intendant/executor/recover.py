"""At the start: what became of the attempts that an earlier daemon left.

The spool is read before anybody is judged (`ending.py` says in which order); what remains are
claims: of another boot, of a live governor, of a dead one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from intendant.errors import RunUnreadable
from intendant.executor.desk import Desk
from intendant.executor.ending import Claim, Ending, Over, loss
from intendant.executor.stop import stop_of
from intendant.executor.supervise import Supervision
from intendant.process.identity import boot_id, open_pidfd
from intendant.process.pidfd import Pidfd
from intendant.protocol.records import RESTORED, ClaimRecord, ExitRecord, TombstoneRecord
from intendant.store.base import LiveAttempt
from intendant.store.insist import insist

log = structlog.get_logger()

_BY = "recovery: not claimed"


@dataclass(frozen=True, slots=True)
class Inherited:
    """An attempt that is not over, the supervision that holds its slot, and what that will do."""

    supervision: Supervision
    life: Coroutine[Any, Any, None]


async def recover(desk: Desk) -> list[Inherited]:
    """Record every attempt that is over; the others, their tokens known to the broker.

    All are judged at once, so that they share the flushes to the disk.
    """
    live = await insist("recovery", desk.parts.store.live)
    async with asyncio.TaskGroup() as tasks:
        judged = [tasks.create_task(_judge(desk, each)) for each in live]
    found = [task.result() for task in judged]
    return [inherited for inherited in found if inherited is not None]


async def _judge(desk: Desk, live: LiveAttempt) -> Inherited | None:
    try:
        return await _inherit(desk, live)
    except RunUnreadable as error:
        desk.put_run_aside(live.run.id, error)
        return None


async def _inherit(desk: Desk, live: LiveAttempt) -> Inherited | None:
    """Judge the attempt now; if its folder can't be read or written, as soon as it can.

    The daemon serves meanwhile: it is one run's trouble.
    """
    supervision = _supervision(desk, live)
    try:
        found = await _look(desk, live)
    except OSError as error:
        log.error("fate_unknown", run_id=live.run.id, attempt=live.run.attempt, error=str(error))
        return Inherited(supervision, _judge_later(desk, live, supervision))
    life = await _concluded(desk, live, *found, supervision)
    return None if life is None else Inherited(supervision, life)


async def _judge_later(desk: Desk, live: LiveAttempt, supervision: Supervision) -> None:
    look, insist = partial(_look, desk, live), desk.parts.troubles.insist
    found = await insist("fate", look, run_id=live.run.id, can_be_left=True)
    life = await _concluded(desk, live, *found, supervision)
    if life is not None:
        await life


async def _look(desk: Desk, live: LiveAttempt) -> tuple[Over | Claim, Pidfd | None]:
    """What the attempt has come to, and its governor if that lives; `OSError` as `Ending.look`."""
    found = await _ending(desk, live).look(by=_BY)
    if isinstance(found, ClaimRecord) and found.boot_id == boot_id():
        return found, _governor(desk, live, found)
    return found, None


async def _concluded(
    desk: Desk,
    live: LiveAttempt,
    found: Over | Claim,
    pidfd: Pidfd | None,
    supervision: Supervision,
) -> Coroutine[Any, Any, None] | None:
    """Record what is over; of anything else what is to be done with it.

    A governor that lives is adopted; else its slot is held until what it left is gone.
    """
    ending = _ending(desk, live)
    if isinstance(found, ExitRecord | TombstoneRecord):
        await ending.conclude(found, stop_of(live), daemon_lost=True)
        return None
    if isinstance(found, ClaimRecord) and found.boot_id != boot_id():
        reason = "restored" if found.boot_id == RESTORED else "host_rebooted"
        lost = loss(stop_of(live), is_certain=True, reason=reason, daemon_lost=True)
        await ending.record(lost)
        return None
    if isinstance(found, ClaimRecord) and pidfd is not None:
        supervision.expect()
        log.info("governor_adopted", run_id=live.run.id, attempt=live.run.attempt, pid=found.pid)
        return supervision.adopt(live, found, pidfd)
    return supervision.bury(live, found)


def _supervision(desk: Desk, live: LiveAttempt) -> Supervision:
    run = live.run
    return Supervision(
        desk.parts,
        run_id=run.id,
        attempt=run.attempt,
        queue=run.queue,
        holds_slot=run.spec.holds_slot,
        token_sha256=live.token_sha256,
    )


def _governor(desk: Desk, live: LiveAttempt, claim: ClaimRecord) -> Pidfd | None:
    """The claim's maker, if it lives: it holds the lock, and is who it was."""
    if not desk.parts.spool.attempt(live.run.id, live.run.attempt).is_claim_locked():
        return None
    descriptor = open_pidfd(claim.pid, claim.start_time)
    return None if descriptor is None else Pidfd(descriptor)


def _ending(desk: Desk, live: LiveAttempt) -> Ending:
    run = live.run
    return Ending(desk.parts, run_id=run.id, attempt=run.attempt, token_sha256=live.token_sha256)
