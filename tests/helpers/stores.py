"""A store with a clock to turn, short words for its runs' lives, and a check of its invariants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from intendant.protocol.records import EventRecord, RunRecord
from intendant.protocol.run_states import Outcome
from intendant.protocol.specs import Secrets, Submission
from intendant.store.base import AttemptEnd, Store
from intendant.store.rows import SELECT_EVENT, SELECT_RUN, event_record, replay, replayable
from intendant.store.sqlite import SqliteStore

TOKEN = "0" * 64


@dataclass
class ManualClock:
    """A clock that stands still until it is turned."""

    at: datetime = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> datetime:
        self.at += timedelta(seconds=seconds)
        return self.at


def submission(
    name: str | None = None,
    *,
    key: str | None = None,
    secrets: Secrets | None = None,
    argv: Sequence[str] = ("true",),
    **spec: object,
) -> Submission:
    """One run, of which only what matters is said."""
    return Submission.model_validate(
        {
            "spec": {"name": name, "workload": {"kind": "command", "argv": [*argv]}, **spec},
            "secrets": secrets or Secrets(),
            "submission_key": key,
        }
    )


@dataclass
class StoreCase:
    """An open store and what it told."""

    path: Path
    store: Store
    clock: ManualClock
    changes: list[RunRecord] = field(default_factory=list)

    async def add(self, name: str | None = None, **wanted: Any) -> int:
        """Submit one run."""
        [run_id] = await self.store.submit([submission(name, **wanted)], account="ada")
        return run_id

    async def grant(self, run_id: int) -> int:
        """Grant the run's next attempt."""
        attempt = (await self.store.run(run_id)).attempt + 1
        await self.store.grant(run_id, attempt, token_sha256=TOKEN)
        return attempt

    async def start(self, run_id: int) -> int:
        """Grant the run's next attempt and let it start."""
        attempt = await self.grant(run_id)
        await self.store.started(run_id, attempt, at=self.clock(), pid=4711)
        return attempt

    async def end(self, run_id: int, outcome: Outcome, **more: Any) -> RunRecord:
        """End the run's newest attempt."""
        attempt = (await self.store.run(run_id)).attempt
        return await self.store.ended(run_id, attempt, end=self.ending(outcome, **more))

    async def complete(self, run_id: int, outcome: Outcome, **more: Any) -> RunRecord:
        """Let the run's next attempt start and end."""
        await self.start(run_id)
        return await self.end(run_id, outcome, **more)

    def ending(self, outcome: Outcome, **more: Any) -> AttemptEnd:
        """An end at the clock's time."""
        known: dict[str, Any] = {
            "reason": None,
            "exit_code": None,
            "signal": None,
            "started_at": None,
            "finished_at": self.clock(),
        }
        return AttemptEnd(outcome=outcome, **(known | more))

    async def told(self, run_id: int) -> list[str]:
        """The names of the run's events."""
        return [event.event for event in await self.store.events(0, run_ids=[run_id])]


@asynccontextmanager
async def opened(
    folder: Path, *, busy_timeout_s: float = 5.0, kind: type[SqliteStore] = SqliteStore
) -> AsyncIterator[StoreCase]:
    """The store of this folder; at the end it is closed and its invariants are checked."""
    clock, changes = ManualClock(), list[RunRecord]()
    path = folder / "store.db"
    store = await kind.open(
        path,
        now=clock,
        on_change=lambda rows: changes.extend(row.record() for row in rows),
        busy_timeout_s=busy_timeout_s,
    )
    try:
        yield StoreCase(path, store, clock, changes)
    finally:
        await store.close()
    check_invariants(path)


def check_invariants(path: Path) -> None:
    """What holds in every store at any time, read from the file and nowhere else."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        events = [event_record(row) for row in connection.execute(f"{SELECT_EVENT} ORDER BY id")]
        assert [event.id for event in events] == [*range(1, len(events) + 1)]
        of_run: dict[int, list[EventRecord]] = defaultdict(list)
        for event in events:
            of_run[event.run_id].append(event)
        for row in rows(connection, SELECT_RUN):
            assert replay(of_run[row["id"]]) == replayable(row)
            assert row["open_dependencies"] == _open_dependencies(connection, row)
        assert _kept_counts(connection) == _counted_counts(connection)
        assert connection.pragma("integrity_check") == "ok"
    finally:
        connection.close()


def rows(connection: apsw.Connection, query: str, *values: str | int) -> list[dict[str, Any]]:
    """What a query finds, by column."""
    cursor = connection.execute(query, values)
    found = []
    for row in cursor:
        names = [name for name, _ in cursor.get_description()]
        found.append(dict(zip(names, row, strict=True)))
    return found


def _open_dependencies(connection: apsw.Connection, row: dict[str, Any]) -> int:
    """How many runs this one waits for; nobody counts any more once it has ended."""
    if row["state"] == "ended":
        return int(row["open_dependencies"])
    query = (
        "SELECT count(*) AS n FROM dependency JOIN run ON run.id = on_run_id "
        "WHERE run_id = ? AND state <> 'ended'"
    )
    return int(rows(connection, query, row["id"])[0]["n"])


def _kept_counts(connection: apsw.Connection) -> set[tuple[Any, ...]]:
    return {*connection.execute("SELECT queue, state, runs FROM run_count WHERE runs > 0")}


def _counted_counts(connection: apsw.Connection) -> set[tuple[Any, ...]]:
    return {*connection.execute("SELECT queue, state, count(*) FROM run GROUP BY queue, state")}
