"""The store in one SQLite file: one thread writes, one reads, the event loop never waits for disk.

`transaction`, `submit`, `attempts`, `control` and `dependents` say what a change is; `queries`
what can be asked; `writer` and `reader` when it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from intendant.protocol.pipelines import ContinueOrder
from intendant.protocol.records import (
    AttemptRecord,
    EventRecord,
    QueueRecord,
    RunRecord,
    UnreadableRun,
)
from intendant.protocol.run_states import Outcome, RunNote, RunState
from intendant.protocol.selectors import Selection
from intendant.protocol.specs import Submission
from intendant.store import attempts, circumstances, control, on_end, queries, retention, submit
from intendant.store.base import (
    AttemptEnd,
    Candidate,
    Changed,
    Circumstances,
    Grant,
    LiveAttempt,
    PrunePage,
)
from intendant.store.database import BUSY_TIMEOUT_S, open_reader, open_writer, prepare
from intendant.store.reader import Reader
from intendant.store.rows import RunRow
from intendant.store.writer import Writer


class SqliteStore:
    """`base.Store` over SQLite; see there for what the methods promise."""

    def __init__(self, writer: Writer, reader: Reader, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._reader = reader
        self._now = now

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        now: Callable[[], datetime],
        on_change: Callable[[list[RunRow]], None],
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> SqliteStore:
        """The store in `path`, made or brought up to date if need be; `StoreError` if it can't be.

        `now` gives aware times and is called in the writer's thread. `on_change` is called in the
        event loop after each commit, before anybody learns of it: with the rows of the runs that
        it changed or whose log it added to, in the order of the changes.
        """
        connection = await asyncio.to_thread(prepare, path, busy_timeout_s=busy_timeout_s)
        writer = Writer(
            connection,
            reconnect=partial(open_writer, path, busy_timeout_s=busy_timeout_s),
            now=now,
            on_change=on_change,
        )
        reader = Reader(path, partial(open_reader, path, busy_timeout_s=busy_timeout_s))
        return cls(writer, reader, now)

    async def close(self) -> None:
        """Finish what was asked for, then let the database go."""
        await self._reader.close()
        await self._writer.close()

    # --- changes ---------------------------------------------------------------------------------

    async def submit(
        self,
        runs: Sequence[Submission],
        *,
        account: str,
        environment: str | None = None,
        limit: int | None = None,
        for_parents: bool = False,
    ) -> list[int]:
        """Queue all of them or none; a known key with the same spec gives the known id."""
        return await self._writer.write(
            submit.submit, runs, account=account, environment=environment, limit=limit,
            for_parents=for_parents,
        )  # fmt: skip

    async def retry(
        self,
        run_ids: Sequence[int],
        *,
        account: str,
        key: str | None = None,
        limit: int | None = None,
        continuing: ContinueOrder | None = None,
        nothing_done: Collection[int] = (),
    ) -> list[int]:
        """Queue ended runs anew, all or none: new runs that name the old ones."""
        return await self._writer.write(
            submit.retry, run_ids, account=account, key=key, limit=limit, continuing=continuing,
            nothing_done=nothing_done,
        )  # fmt: skip

    async def grant(self, run_id: int, attempt: int, *, token_sha256: str) -> Grant:
        """Record the intent to launch the run's next attempt."""
        return await self._writer.write(attempts.grant, run_id, attempt, token_sha256=token_sha256)

    async def started(self, run_id: int, attempt: int, *, at: datetime, pid: int) -> RunRecord:
        """Record that the workload runs; old news change nothing."""
        row = await self._writer.write(attempts.started, run_id, attempt, at=at, pid=pid)
        return row.record()

    async def ended(self, run_id: int, attempt: int, *, end: AttemptEnd) -> RunRecord:
        """Record the end, then retry or end the run; a second end changes nothing."""
        row = await self._writer.write(attempts.ended, run_id, attempt, end=end)
        return row.record()

    async def tombstoned(
        self, run_id: int, attempt: int, *, reason: str, daemon_lost: bool = False
    ) -> RunRecord:
        """Record that the attempt never started and never will."""
        row = await self._writer.write(
            attempts.tombstoned, run_id, attempt, reason=reason, daemon_lost=daemon_lost
        )
        return row.record()

    async def request_stop(
        self,
        run_ids: Sequence[int],
        *,
        outcome: Outcome,
        reason: str,
        only_waiting: bool = False,
    ) -> Changed:
        """Record who wants the runs to end: a person (cancelled) or the daemon (interrupted)."""
        return await self._writer.write(
            control.request_stop,
            run_ids,
            outcome=outcome,
            reason=reason,
            only_waiting=only_waiting,
        )

    async def hold(self, run_ids: Sequence[int], *, lenient: bool = False) -> Changed:
        """Keep queued runs from starting; `lenient`: leave alone what is no longer queued."""
        return await self._writer.write(control.hold, run_ids, lenient=lenient)

    async def release(self, run_ids: Sequence[int], *, lenient: bool = False) -> Changed:
        """Let held runs start; `lenient`: leave alone what is no longer held."""
        return await self._writer.write(control.release, run_ids, lenient=lenient)

    async def set_priority(self, run_id: int, priority: int) -> Changed:
        """Move the run in its queue."""
        return await self._writer.write(control.set_priority, run_id, priority)

    async def note(
        self, run_id: int, attempt: int, *, event: RunNote, detail: dict[str, JsonValue]
    ) -> None:
        """Append an event that changes nothing."""
        await self._writer.write(control.note, run_id, attempt, event=event, detail=detail)

    async def prune(
        self, run_ids: Sequence[int], *, before: datetime, detail: dict[str, JsonValue]
    ) -> list[int]:
        """Forget those of the runs that ended before then and are not waited for; their ids."""
        return await self._writer.write(retention.prune, run_ids, before=before, detail=detail)

    async def want_ends(self, *, of_all: bool) -> None:
        """From now on keep the ends of all runs for `take_end`, or of those with `on_end` only."""
        await self._writer.write(on_end.want_ends, of_all=of_all)

    async def take_end(self) -> RunRecord | None:
        """Of the runs that have ended since, the one that has waited longest; each comes once."""
        return await self._writer.write(on_end.take_end)

    async def queue_set(self, name: str, *, slots: int | None) -> QueueRecord:
        """Make a queue, or change its slots; `None`: as many as the daemon has."""
        return await self._writer.write(control.queue_set, name, slots=slots)

    async def queue_pause(self, name: str, paused: bool) -> QueueRecord:
        """Pause or resume a queue."""
        return await self._writer.write(control.queue_pause, name, paused)

    async def queue_remove(self, name: str) -> QueueRecord:
        """Remove a queue that has no runs and is not needed; the queue as it was."""
        return await self._writer.write(control.queue_remove, name)

    # --- questions -------------------------------------------------------------------------------

    async def queues(self) -> list[QueueRecord]:
        """Every queue, by name."""
        return await self._reader.read(queries.queue_records)

    async def run(self, run_id: int) -> RunRecord:
        """One run, or `RunNotFound`."""
        return await self._reader.read(queries.run, run_id)

    async def named(self, run_ids: Sequence[int]) -> list[RunRecord]:
        """These runs, as `run` gives them."""
        return await self._reader.read(queries.named, run_ids)

    async def runs(
        self,
        *,
        states: Collection[RunState] = (),
        outcomes: Collection[Outcome] = (),
        queue: str | None = None,
        selection: Selection | None = None,
        limit: int = 100,
        before_id: int | None = None,
        owner: str | None = None,
    ) -> tuple[list[RunRecord | UnreadableRun], bool]:
        """A page, newest first, and whether there are more; an empty filter means any."""
        return await self._reader.read(
            queries.runs,
            states=states,
            outcomes=outcomes,
            queue=queue,
            selection=selection,
            limit=limit,
            before_id=before_id,
            owner=owner,
        )

    async def select(
        self,
        selection: Selection,
        *,
        among_all: Collection[RunState] | None = None,
        owner: str | None = None,
    ) -> list[int]:
        """The ids that a selection means, ascending; `all` is every run in the given states."""
        return await self._reader.read(queries.select, selection, among_all=among_all, owner=owner)

    async def attempts(self, run_id: int) -> list[AttemptRecord]:
        """The run's attempts, oldest first."""
        return await self._reader.read(queries.attempts, run_id)

    async def circumstances(self, run_id: int, *, queues: Collection[str]) -> Circumstances:
        """What is known of why the run is where it is; `queues` are those that may start runs."""
        return await self._reader.read(
            circumstances.circumstances, run_id, queues=queues, now=self._now()
        )

    async def candidates(
        self,
        limits: Mapping[str, int],
        *,
        exclude: Collection[int] = (),
        parents: int | None = None,
        of: Collection[int] | None = None,
    ) -> list[Candidate]:
        """For each queue named up to so many runs that may start now, best first over all."""
        now = self._now()
        if of is not None:
            return await self._reader.read(
                queries.children, limits, of=of, exclude=exclude, now=now
            )
        return await self._reader.read(
            queries.candidates, limits, exclude=exclude, parents=parents, now=now
        )

    async def next_eligible_at(self) -> datetime | None:
        """When the next back-off ends."""
        return await self._reader.read(queries.next_eligible_at, now=self._now())

    async def live(self) -> list[LiveAttempt]:
        """Every run that has an attempt, by id; who can't be read is left out, and logged."""
        return await self._reader.read(queries.live)

    async def grant_info(self, run_id: int) -> Grant:
        """What a live run's start request needs, once more."""
        return await self._reader.read(queries.grant_info, run_id)

    async def counts(self, *, owner: str | None = None) -> dict[RunState, int]:
        """How many runs are in each state; an owner's alone."""
        return await self._reader.read(queries.counts, owner)

    async def events(
        self,
        after_id: int,
        *,
        run_ids: Collection[int] = (),
        owner: str | None = None,
        limit: int = 1000,
    ) -> list[EventRecord]:
        """Events after one, oldest first; no ids mean every run."""
        return await self._reader.read(
            queries.events, after_id, run_ids=run_ids, owner=owner, limit=limit
        )

    async def logged(self, selection: Selection, *, owner: str | None = None) -> list[int]:
        """The ids of a selection that the log knows, pruned runs among them."""
        return await self._reader.read(queries.logged, selection, owner=owner)

    async def prunable(
        self,
        selection: Selection | None,
        *,
        before: datetime,
        after_id: int,
        owner: str | None = None,
    ) -> PrunePage:
        """The next runs of a selection that `prune` would take."""
        return await self._reader.read(
            retention.prunable, selection, before=before, after_id=after_id, owner=owner
        )

    async def without_row(self, run_ids: Collection[int]) -> list[int]:
        """Those of the ids that no run has."""
        return await self._reader.read(retention.without_row, run_ids)

    async def last_run_id(self) -> int:
        """The highest id that a run ever had, pruned or not; 0 before the first."""
        return await self._reader.read(queries.last_run_id)

    async def last_event_id(self) -> int:
        """The id of the newest event; 0 before the first."""
        return await self._reader.read(queries.last_event_id)
