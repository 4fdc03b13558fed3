"""The end of an attempt, on its way from the spool to the store.

What is found decides, whether a daemon has watched the governor die or finds its folder at the
start; the first match counts: exit record, tombstone, nothing (a tombstone is linked), claim. What
has to be recorded is tried again while the disk won't have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, TypeVar

import structlog
from pydantic import JsonValue

from intendant.errors import IllegalTransition
from intendant.executor.parts import Parts, utc_now
from intendant.executor.remains import clear_cgroup, clear_remains
from intendant.executor.stop import DAEMON_STOPPING, Stop
from intendant.process.crashpoints import crash_point
from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome, RunNote
from intendant.store.base import AttemptEnd
from intendant.store.spool import DamagedClaim

log = structlog.get_logger()

T = TypeVar("T")

Claim: TypeAlias = ClaimRecord | DamagedClaim
"""The attempt may have started."""
Over: TypeAlias = ExitRecord | TombstoneRecord
"""The attempt is over, and its folder says how."""

_DAEMON_ENDED = (DAEMON_STOPPING, "daemon_lost")
"""Reasons in an exit record that speak of a daemon's end, whether or not that was recorded."""


class Ending:
    """How one attempt ends: found, and recorded once."""

    def __init__(self, parts: Parts, *, run_id: int, attempt: int, token_sha256: str) -> None:
        self._parts = parts
        self._run_id = run_id
        self._attempt = attempt
        self._token_sha256 = token_sha256
        self._log = log.bind(run_id=run_id, attempt=attempt)
        self._recorded = asyncio.Event()

    async def wait_recorded(self) -> None:
        """Return once the end is on disk."""
        await self._recorded.wait()

    # --- what is found ---------------------------------------------------------------------------

    async def find(self, *, by: str) -> Over | Claim:
        """What the attempt has come to; where nothing says, it is given up (`by`) here and now."""
        act = partial(asyncio.to_thread, self._find, by)
        return await self._insist("fate", act, can_be_left=True)

    async def look(self, *, by: str) -> Over | Claim:
        """The same, tried once; `OSError` if the folder can't be read or written."""
        return await asyncio.to_thread(self._find, by)

    async def give_up(self, *, by: str, can_be_left: bool = False) -> bool:
        """Whether the attempt is burnt now; False where a claim was first."""
        act = partial(asyncio.to_thread, self._claim_or_tombstone, by)
        found = await self._insist("tombstone", act, can_be_left=can_be_left)
        return isinstance(found, TombstoneRecord)

    def _find(self, by: str) -> Over | Claim:
        record = self._parts.spool.attempt(self._run_id, self._attempt).read_exit()
        if record is not None and record.token_sha256 == self._token_sha256:
            return record
        return self._claim_or_tombstone(by)

    def _claim_or_tombstone(self, by: str) -> TombstoneRecord | Claim:
        spool = self._parts.spool
        if (claim := spool.attempt(self._run_id, self._attempt).read_claim()) is not None:
            return claim
        folder = spool.make_attempt(self._run_id, self._attempt)
        folder.entomb(by=by, at=utc_now())
        claim = folder.read_claim()
        assert claim is not None  # noqa: S101 link(2) has succeeded, or EEXIST says why not
        return claim

    # --- what is recorded ------------------------------------------------------------------------

    async def conclude(self, found: Over, stop: Stop | None, *, daemon_lost: bool = False) -> None:
        """Record what the folder says of an attempt that is over, and remove its cgroup."""
        if isinstance(found, ExitRecord):
            await self.record(end_of(found))
        else:
            await self.burn(found.by, stop, daemon_lost=daemon_lost)
        await self.clear_cgroup()

    async def record(self, end: AttemptEnd) -> None:
        """Record the end; then, and only then, it has one."""
        store = self._parts.store
        act = partial(store.ended, self._run_id, self._attempt, end=end)
        await self._insist("end", act, can_be_left=True)
        crash_point("executor.ended")
        self._recorded.set()
        self._log.info("attempt_ended", outcome=end.outcome, reason=end.reason)

    async def burn(self, reason: str, stop: Stop | None, *, daemon_lost: bool = False) -> None:
        """Record that it never started; if the row knows better, its claim was taken away.

        `daemon_lost`, or a stop by the daemon: that says nothing of whether it could be launched.
        """
        is_daemons = daemon_lost or (stop is not None and stop.is_by_daemon)
        store = self._parts.store
        if stop is not None and stop.outcome is Outcome.CANCELLED:  # a disk may have refused it
            wish = partial(
                store.request_stop, [self._run_id], outcome=stop.outcome, reason=stop.reason
            )
            await self._insist("stop", wish, can_be_left=True)
        try:
            await self._insist(
                "tombstone",
                partial(
                    store.tombstoned,
                    self._run_id,
                    self._attempt,
                    reason=reason,
                    daemon_lost=is_daemons,
                ),
                can_be_left=True,
            )
        except IllegalTransition:
            await self.record(loss(stop, is_certain=False, reason="claim_missing"))
            return
        self._recorded.set()
        self._log.info("attempt_burnt", reason=reason)

    async def lose(
        self,
        claim: Claim,
        stop: Stop | None,
        *,
        end_orphans: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Its governor is dead and left no word: what is left of the tree goes first.

        `end_orphans`: ends what came to us, if this daemon launched the governor.
        """
        reason = "governor_lost" if isinstance(claim, ClaimRecord) else "claim_unreadable"
        self._log.error(reason, claim=claim)
        cgroup = self._parts.cgroup_of(self._run_id, self._attempt, self._token_sha256)
        is_certain = await clear_remains(
            claim,
            likely_cgroup=cgroup,
            end_orphans=end_orphans,
            on_unkillable=lambda: self._insist("note", partial(self.note, RunNote.UNKILLABLE)),
        )
        await self.record(loss(stop, is_certain=is_certain, reason=reason))

    async def note(self, event: RunNote, **detail: JsonValue) -> None:
        """Append something to the run's events that changes no state."""
        await self._parts.store.note(self._run_id, self._attempt, event=event, detail=detail)

    async def _insist(
        self, what: str, act: Callable[[], Awaitable[T]], *, can_be_left: bool = False
    ) -> T:
        """Until it is done. It can be left where no governor lives, or it has told of its end."""
        troubles = self._parts.troubles
        return await troubles.insist(what, act, run_id=self._run_id, can_be_left=can_be_left)

    async def clear_cgroup(self) -> None:
        """Remove its group, if there is one: a governor that died could not."""
        await clear_cgroup(self._parts.cgroup_of(self._run_id, self._attempt, self._token_sha256))


def end_of(record: ExitRecord) -> AttemptEnd:
    """An exit record, as the store takes it."""
    return AttemptEnd(
        outcome=record.outcome,
        reason=record.reason,
        exit_code=record.exit_code,
        signal=record.signal,
        started_at=record.started_at,
        finished_at=record.finished_at,
        steps=record.steps,
        daemon_lost=record.outcome is Outcome.INTERRUPTED
        and (record.reason or "").partition(":")[0] in _DAEMON_ENDED,
    )


def loss(
    stop: Stop | None,
    *,
    is_certain: bool,
    reason: str = "governor_lost",
    daemon_lost: bool = False,
) -> AttemptEnd:
    """The end of an attempt whose governor left no word of it: unknown is never success."""
    return AttemptEnd(
        outcome=Outcome.INTERRUPTED if stop is None else stop.outcome,
        reason=(reason if stop is None else stop.reason)
        + ("" if is_certain else "; tree_unverified"),
        exit_code=None,
        signal=None,
        started_at=None,
        finished_at=utc_now(),
        daemon_lost=daemon_lost,
    )
